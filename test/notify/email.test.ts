import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { EmailConfig } from "../../src/config/schema.ts";
import type { Delivery } from "../../src/notify/channel.ts";
import { email } from "../../src/notify/email.ts";
import { certificate, header, mailServer, smtpError } from "../support/mail-server.ts";
import { act, evidence, notice, session } from "../support/notice-samples.ts";
import { tempFolder } from "../support/temp-folder.ts";

const patient = AbortSignal.timeout(120_000);

function config(change: Partial<EmailConfig> & { port?: number } = {}): EmailConfig {
  const { port, ...rest } = change;
  const base = {
    name: "oncall",
    type: "email",
    from: "Lockwarden <lockwarden@example.org>",
    to: ["dba@example.org"],
  } as const;
  return { ...base, to: [...base.to], starttls: "never", smtp: `smtp://127.0.0.1:${port ?? 1}`, ...rest };
}

function deliver(change: Parameters<typeof config>[0], told = notice(), timeoutMs?: number): Promise<Delivery> {
  return email(config(change), timeoutMs).deliver(told, patient);
}

function errorOf(delivery: Delivery, kind: "retry" | "dropped"): string {
  assert.equal(delivery.kind, kind);
  return "error" in delivery ? delivery.error : "";
}

test("a notice arrives as plain text that machines know as automatic", async (t) => {
  const server = await mailServer(t);
  assert.deepEqual(await deliver({ port: server.port, to: ["a@example.org", "b@example.org"] }), { kind: "delivered" });
  const [mail] = server.mails;
  assert.ok(mail !== undefined);
  assert.deepEqual(mail.to, ["a@example.org", "b@example.org"]);
  assert.match(mail.text, /WHAT TO DO/);
  assert.equal(header(mail, "Subject"), "[lockwarden app] resolved: terminated 4711 (stuck-login), 2 sessions freed");
  assert.equal(header(mail, "Auto-Submitted"), "auto-generated");
  assert.equal(header(mail, "Date"), "Sun, 01 Mar 2026 03:03:13 +0000");
  assert.match(header(mail, "Content-Type") ?? "", /^text\/plain; charset=utf-8/);
  assert.match(header(mail, "From") ?? "", /^Lockwarden <lockwarden@example\.org>$/);
});

test("the mails of one incident make one thread, and a repeated mail keeps its id", async (t) => {
  const server = await mailServer(t);
  const channel = email(config({ port: server.port }));
  for (const told of [
    notice({ id: "1", phase: "opened" }),
    notice({ id: "2" }),
    notice({ id: "2" }),
    notice({ id: "3", incident: "other" }),
  ]) {
    assert.equal((await channel.deliver(told, patient)).kind, "delivered");
  }
  const ids = server.mails.map((mail) => header(mail, "Message-ID"));
  const threads = server.mails.map((mail) => header(mail, "References"));
  assert.match(ids[0] ?? "", /^<[0-9a-f]{32}\.notice@example\.org>$/);
  assert.equal(new Set(ids).size, 3);
  assert.equal(ids[1], ids[2]);
  assert.equal(threads[0], threads[1]);
  assert.notEqual(threads[0], threads[3]);
});

test("hostile names break no header", async (t) => {
  const server = await mailServer(t);
  const evil = "x\r\nBcc: all@example.org\r\n\r\nforged body \u202e\u001b[2J ž ";
  const told = notice({
    text: `terminated ${evil.repeat(200)}`,
    target: evil,
    incident: evil,
    id: evil,
    decision: act({ evidence: evidence({ victim: session({ user: evil, application: evil }) }) }),
  });
  assert.equal((await deliver({ port: server.port }, told)).kind, "delivered");
  const [mail] = server.mails;
  assert.ok(mail !== undefined);
  assert.deepEqual(mail.to, ["dba@example.org"]);
  assert.equal(header(mail, "Bcc"), null);
  assert.match(header(mail, "Subject") ?? "", /=\?UTF-8\?/);
  assert.ok((header(mail, "Subject") ?? "").length < 1_000);
});

test("STARTTLS is used with the configured authority, account and password file", async (t) => {
  const folder = await tempFolder(t);
  const made = await certificate(t, folder);
  if (made === null) return;
  const server = await mailServer(t, { key: made.key, cert: made.cert, authOptional: false });
  const password_file = join(folder, "password");
  const account = { port: server.port, starttls: "required", user: "warden", password_file } as const;
  assert.match(errorOf(await deliver(account), "retry"), /cannot read password_file: ENOENT/);
  await writeFile(password_file, "secret word\n");
  assert.match(errorOf(await deliver(account), "retry"), /self-signed certificate.*check ca_file/);
  const channel = email(config({ ...account, ca_file: made.file }));
  assert.deepEqual(await channel.deliver(notice(), patient), { kind: "delivered" });
  assert.equal(server.mails[0]?.user, "warden");
  assert.equal(server.mails[0]?.secure, true);
  // The same channel sees the new password at once.
  await writeFile(password_file, "wrong");
  assert.match(
    errorOf(await channel.deliver(notice(), patient), "retry"),
    /Invalid login.*check user and password_file/,
  );
});

test("TLS from the start, and STARTTLS where it is not required, work", async (t) => {
  const made = await certificate(t, await tempFolder(t));
  if (made === null) return;
  const tls = { key: made.key, cert: made.cert };
  const secure = await mailServer(t, { ...tls, secure: true });
  const smtps = `smtps://127.0.0.1:${secure.port}`;
  assert.match(errorOf(await deliver({ smtp: smtps }), "retry"), /self-signed certificate/);
  assert.deepEqual(await deliver({ smtp: smtps, ca_file: made.file }), { kind: "delivered" });
  const plain = await mailServer(t, tls);
  assert.deepEqual(await deliver({ port: plain.port, starttls: "opportunistic" }), { kind: "delivered" });
  assert.equal(plain.mails[0]?.secure, true);
  assert.deepEqual(await deliver({ port: plain.port, starttls: "never" }), { kind: "delivered" });
  assert.equal(plain.mails[1]?.secure, false);
});

test("a server without STARTTLS gets nothing when it is required, and all the same when it is not", async (t) => {
  const server = await mailServer(t);
  const error = errorOf(await deliver({ port: server.port, starttls: "required" }), "retry");
  assert.match(error, /does not do STARTTLS, and starttls: required.*it said: 5\d\d /);
  assert.equal(server.mails.length, 0);
  assert.deepEqual(await deliver({ port: server.port, starttls: "opportunistic" }), { kind: "delivered" });
});

test("a server that offers STARTTLS and then refuses it gets the mail in the clear only where that will do", async (t) => {
  const replies: readonly (readonly [RegExp, string])[] = [
    [/^EHLO/, "250-here\r\n250 STARTTLS"],
    [/^STARTTLS/, "454 not now"],
    [/^DATA/, "354 go on"],
    [/^QUIT/, "221 bye"],
  ];
  const said: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined).write("220 here ESMTP\r\n");
    let inData = false;
    socket.on("data", (part) => {
      for (const line of String(part)
        .split("\r\n")
        .filter((text) => text !== "")) {
        said.push(line);
        if (inData && line !== ".") continue;
        inData = line === "DATA";
        socket.write(`${replies.find(([command]) => command.test(line))?.[1] ?? "250 fine"}\r\n`);
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  assert.match(
    errorOf(await deliver({ port, starttls: "required" }), "retry"),
    /does not do STARTTLS.*it said: 454 not now/,
  );
  assert.ok(!said.some((line) => line.startsWith("MAIL")));
  assert.deepEqual(await deliver({ port, starttls: "opportunistic" }), { kind: "delivered" });
});

test("a password never shows in an error, even where the server repeats it", async (t) => {
  const server = await mailServer(t, { allowInsecureAuth: true, authOptional: false });
  const error = errorOf(await deliver({ port: server.port, user: "warden", password: "hunter2 & more" }), "retry");
  assert.match(error, /Invalid login for warden with \*\*\*/);
  assert.doesNotMatch(error, /hunter2/);
  const inUrl = await deliver({ smtp: `smtp://warden:hunter2@127.0.0.1:${server.port}` });
  assert.doesNotMatch(errorOf(inUrl, "retry"), /hunter2/);
  assert.doesNotMatch(errorOf(await deliver({ smtp: "http://warden:hunter2@example.org" }), "retry"), /hunter2/);
  assert.match(
    errorOf(await deliver({ smtp: "smtp//hunter2" }), "retry"),
    /^smtp is no mail server's URL; expected smtp:\/\/HOST/,
  );
});

for (const [code, kind] of [
  [550, "dropped"],
  [552, "dropped"],
  [421, "retry"],
  [450, "retry"],
  [530, "retry"],
] as const) {
  test(`a recipient refused with ${code} is ${kind}`, async (t) => {
    const refuse = smtpError(code, "no such thing \u001b[2J");
    const server = await mailServer(t, {
      onRcptTo: (_to, _session, done) => done(refuse),
    });
    const error = errorOf(await deliver({ port: server.port }), kind);
    assert.match(error, new RegExp(String(code)));
    assert.doesNotMatch(error, /\p{Cc}/u);
  });
}

test("of several recipients those who were put off are tried again, and nobody is told twice", async (t) => {
  let greylisted = true;
  const server = await mailServer(t, {
    onRcptTo({ address }, _session, done) {
      if (address.startsWith("gone")) done(smtpError(550, "no such user"));
      else if (address.startsWith("later") && greylisted) done(smtpError(451, "try again"));
      else done();
    },
  });
  const to = ["now@example.org", "later@example.org"];
  const channel = email(config({ port: server.port, to }));
  assert.match(errorOf(await channel.deliver(notice(), patient), "retry"), /later@example\.org: 451/);
  greylisted = false;
  assert.deepEqual(await channel.deliver(notice(), patient), { kind: "delivered" });
  assert.deepEqual(
    server.mails.map((mail) => mail.to),
    [["now@example.org"], ["later@example.org"]],
  );
  const partly = await deliver({ port: server.port, to: ["now@example.org", "gone@example.org"] });
  assert.equal(partly.kind, "delivered");
  assert.match(("warning" in partly && partly.warning) || "", /not delivered to gone@example\.org: 550/);
});

test("a server that is not there, or says nothing, is tried again later", async (t) => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  assert.match(errorOf(await deliver({ port }, notice(), 50), "retry"), /Greeting never received|Timeout/i);
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port: freed } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, "close");
  assert.match(errorOf(await deliver({ port: freed }), "retry"), /ECONNREFUSED/);
});

test("a delivery that is called off ends at once", { timeout: 60_000 }, async (t) => {
  const called = new AbortController();
  const silent = createServer(() => called.abort(new Error("stop"))).listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const delivery = await email(config({ port }), 600_000).deliver(notice(), called.signal);
  assert.match(errorOf(delivery, "retry"), /stopped before/);
});
