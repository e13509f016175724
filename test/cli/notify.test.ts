import assert from "node:assert/strict";
import { test } from "node:test";
import { assertEnded, secret } from "../support/clean-output.ts";
import { lockwarden, place } from "../support/lockwarden.ts";
import { header, mailServer, smtpError } from "../support/mail-server.ts";
import { stuckRule } from "../support/stuck-login.ts";

function config(channels: string): string {
  return `targets: [{name: app, url: "postgres://lockwarden@127.0.0.1:9/app"}]\n${stuckRule}\nchannels: [${channels}]`;
}

const emailOn = (port: number, more = "") =>
  `{name: oncall, type: email, smtp: "smtp://127.0.0.1:${port}", starttls: never, from: l@example.org, to: [dba@example.org]${more}}`;

const notifyTest = (file: string, ...words: string[]) => lockwarden(["notify", "test", "--config", file, ...words]);

test("notify test sends one mail that says that it is a test, and says that it was delivered", async (t) => {
  const mail = await mailServer(t);
  const here = await place(config(emailOn(mail.port)));
  assertEnded(await notifyTest(here.config, "oncall"), {
    code: 0,
    out: /^oncall: delivered by email to dba@example\.org\n$/,
  });
  const [only, second] = mail.mails;
  assert.equal(second, undefined);
  assert.ok(only !== undefined);
  assert.match(header(only, "Subject") ?? "", /^\[lockwarden sample\] resolved: TEST, nothing happened: /);
  const body = only.text.replaceAll(/=\r\n/g, "");
  for (const title of ["STUCK", "BLOCKED (1)", "DONE", "NOW"]) assert.ok(body.includes(`\r\n${title}\r\n`), title);
  assert.match(body, /sample_user/);
  assert.ok(!body.includes("unknown"), body);
});

test("what the mail server says is told without a secret, with 1: to be tried again, or refused for good", async (t) => {
  const busy = await mailServer(t, {
    onRcptTo: (_address, _session, done) => done(smtpError(451, "come back later")),
  });
  const never = await mailServer(t, {
    onRcptTo: (_address, _session, done) => done(smtpError(550, "no such user")),
  });
  const closed = await mailServer(t);
  await closed.close();
  const locked = await mailServer(t, { authOptional: false, allowInsecureAuth: true });
  for (const [channel, said] of [
    [
      emailOn(busy.port),
      /^oncall: not delivered by email to dba@example\.org, and the daemon would try again: .*come back later.*\n$/,
    ],
    [
      emailOn(never.port),
      /^oncall: refused for good by email to dba@example\.org, and .* give this notice up: .*no such user.*\n$/,
    ],
    [emailOn(closed.port), /^oncall: not delivered .*ECONNREFUSED.*\n$/],
    [emailOn(locked.port, `, user: me, password: ${secret}`), /^oncall: not delivered .*Invalid login.*\n$/],
  ] as const) {
    const here = await place(config(channel));
    assertEnded(await notifyTest(here.config, "oncall"), { code: 1, out: said });
    const json = await notifyTest(here.config, "oncall", "--json");
    assert.match(json.out, /^\{"channel":"oncall","type":"email","kind":"(?:retry|dropped)",.*"error":"/);
  }
});

test("the log channel writes its line where people look", async () => {
  const here = await place(config("{name: here, type: log}"));
  assertEnded(await notifyTest(here.config, "here"), {
    code: 0,
    out: /^here: delivered by log\n$/,
    err: /info .*\[lockwarden sample\] resolved: TEST, nothing happened/,
  });
});

test("an unknown channel is wrong usage, and those that there are are named", async () => {
  const here = await place(config("{name: here, type: log}, {name: there, type: log}"));
  const unknown = await notifyTest(here.config, "nowhere");
  assertEnded(unknown, { code: 2, err: /^lockwarden notify: expected one of here, there, got "nowhere"\n$/ });
  const none = await place(config(""));
  assertEnded(await notifyTest(none.config, "x"), {
    code: 2,
    err: /^lockwarden notify: expected a channel, but \S+ has none, got "x"\n$/,
  });
  const what = await lockwarden(["notify", "try", "here", "--config", here.config]);
  assertEnded(what, {
    code: 2,
    err: /^lockwarden notify: expected test, got "try": lockwarden notify test CHANNEL\n$/,
  });
});
