import assert from "node:assert/strict";
import { chmod, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertClean, assertEnded, secret } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser, type Place, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { certificate, mailServer } from "../support/mail-server.ts";
import { eventually } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

const service = await loginService();
const head = `targets: [{name: app, url: "${service.url}", poll: "0 0 29 2 *"}]
rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]`;

async function check(
  here: Place,
  words: readonly string[] = [],
  manner = {},
): Promise<{ code: number | null; said: string }> {
  const ended = await lockwarden(["check", ...words, "--config", here.config], {}, manner);
  assertClean(ended);
  assert.equal(ended.err, "");
  return { code: ended.code, said: ended.out.replaceAll(/\s+/g, " ") };
}

async function jsonOf(here: Place, ...words: string[]): Promise<Record<string, unknown>> {
  const ended = await lockwarden(["check", "--json", ...words, "--config", here.config]);
  assertEnded(ended, { code: ended.code ?? -1, out: /^\{.*\}\n$/ });
  return JSON.parse(ended.out) as Record<string, unknown>;
}

test("a state folder that is not there, and one that is, are told, and none is made", async () => {
  const here = await place(head);
  const before = await check(here);
  assert.equal(before.code, 0);
  assert.match(
    before.said,
    new RegExp(`state folder ${here.stateDir}: ok: is not there yet; the daemon makes it, [\\d.]+ [MG]B free `),
  );
  await assert.rejects(stat(here.stateDir));
  await mkdir(here.stateDir);
  const { uid } = await stat(here.stateDir);
  const after = await check(here);
  assert.match(
    after.said,
    new RegExp(`state folder ${here.stateDir}: ok: is there, owner uid ${uid}, [\\d.]+ [MG]B free `),
  );
});

test("a file in the place of the state folder is an error", async () => {
  for (const path of ["state", "state/below"]) {
    const here = await place(head);
    await writeFile(join(here.folder, "state"), "");
    await writeFile(here.config, `${head}\nstate_dir: ${join(here.folder, path)}\n`);
    const { code, said } = await check(here);
    assert.equal(code, 1);
    assert.match(
      said,
      /state folder \S+: error: (expected a folder, got something else|it cannot be a folder: ENOTDIR.*); set state_dir/,
    );
  }
});

test("a state folder that this user may not write is a warning: the daemon may run as another one", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string") return t.skip(somebody);
  for (const [path, says] of [
    ["state", /may not read and write in \S+\/state \(EACCES/],
    ["state/below", /may not make it in \S+\/state \(EACCES/],
  ] as const) {
    const here = await place(head);
    await chmod(here.folder, 0o755);
    await mkdir(here.stateDir, { mode: 0o555 });
    await writeFile(here.config, `${head}\nstate_dir: ${join(here.folder, path)}\n`);
    const { code, said } = await check(here, [], somebody);
    assert.equal(code, 0);
    assert.match(said, says);
    assert.match(said, /: warning: .* run this as the user that runs the daemon, or give that user the folder/);
    await chmod(here.stateDir, 0o755);
  }
});

test("a daemon that runs there is told, and whether it goes by this config", async () => {
  const here = await place(head);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("the first look is at"));
  const note = `note: a daemon runs there (pid ${daemon.child.pid}, mode observe), by `;
  assert.ok((await check(here)).said.includes(`${note}this very config`));
  await here.write(head.replace("30s", "31s"));
  assert.match(
    (await check(here)).said,
    /, mode observe\), by another config \(digest \w{12}\): \S+lockwarden.yaml, which SIGHUP makes it read anew /,
  );
  assert.equal(((await jsonOf(here))["state"] as { daemon: { pid: number } }).daemon.pid, daemon.child.pid);
  daemon.child.kill("SIGTERM");
  await daemon.ended;
});

test("a mail server is talked to as far as its login, and nothing is sent", async (t) => {
  const folder = await tempFolder(t);
  const made = await certificate(t, folder);
  if (made === null) return;
  const server = await mailServer(t, { key: made.key, cert: made.cert, authOptional: false });
  await writeFile(join(folder, "good"), "secret word\n");
  await writeFile(join(folder, "wrong"), `${secret}\n`);
  const channel = (name: string, more: string) =>
    `{name: ${name}, type: email, smtp: "smtp://127.0.0.1:${server.port}", from: a@example.org, to: [b@example.org], ${more}}`;
  const account = (file: string) => `user: warden, password_file: ${join(folder, file)}, ca_file: ${made.file}`;
  const here = await place(`${head}\nchannels: [${channel("oncall", account("good"))}, {name: log, type: log}]`);
  const good = await check(here);
  assert.equal(good.code, 0);
  const where = `smtp://127.0.0.1:${server.port}`;
  assert.ok(good.said.includes(`channel oncall: ok: ${where} takes mail from here; nothing was sent`), good.said);
  await here.write(`${head}\nchannels: [${channel("oncall", account("wrong"))}, ${channel("other", "")}]`);
  const bad = await check(here);
  assert.equal(bad.code, 1);
  assert.match(bad.said, /channel oncall: error: smtp:\S+: .*Invalid login.*; check user and password_file/);
  assert.match(bad.said, /channel other: error: smtp:\S+: self-signed certificate; check ca_file/);
  const json = await jsonOf(here);
  assert.equal(json["ok"], false);
  assert.deepEqual(
    (json["channels"] as { channel: string; where: string }[]).map((one) => [one.channel, one.where]),
    [
      ["oncall", where],
      ["other", where],
    ],
  );
  assert.deepEqual(server.mails, []);
  await server.close();
  assert.match((await check(here)).said, /channel other: error: smtp:\S+: connect ECONNREFUSED/);
  const offline = await check(here, ["--offline"]);
  assert.equal(offline.code, 0);
  assert.doesNotMatch(offline.said, /channel|state folder/);
});

test("a target that cannot be used decides before a channel that cannot", async () => {
  const here = await place(
    `${head.replace(service.url, `postgres://u:${secret}@127.0.0.1:1/d`)}
channels: [{name: m, type: email, smtp: "smtp://127.0.0.1:1", from: a@example.org, to: [b@example.org]}]`,
  );
  const { code, said } = await check(here);
  assert.equal(code, 3);
  assert.match(said, /channel m: error: smtp:.* app: error: cannot connect to app /);
});

test("--json tells the mistakes of a broken config, each with its place, and nothing else", async () => {
  const here = await place("mode: enforced\ntargets: [{name: app, url: postgres://u@h/d}]\nrules: []");
  const ended = await lockwarden(["check", "--json", "--config", here.config]);
  assertEnded(ended, { code: 2, out: /^\{.*\}\n$/ });
  const told = JSON.parse(ended.out) as { ok: boolean; mistakes: Record<string, unknown>[] };
  assert.equal(told.ok, false);
  const form = "expected observe or enforce";
  assert.deepEqual(told.mistakes, [
    {
      file: here.config,
      line: 1,
      column: 7,
      path: "mode",
      text: `${form}, got "enforced"; did you mean "enforce"?`,
      expected: "observe or enforce",
      got: '"enforced"; did you mean "enforce"?',
    },
    {
      file: here.config,
      line: 3,
      column: 8,
      path: "rules",
      text: "expected at least one rule, got an empty list",
      expected: "at least one rule",
      got: "an empty list",
    },
  ]);
  const missing = await lockwarden(["check", "--json", "--config", join(here.folder, "none.yaml")]);
  assertEnded(missing, { code: 2, out: /^\{"ok":false,"mistakes":\[\{.*"line":null,.*"got":"no such file"\}\]\}\n$/ });
});
