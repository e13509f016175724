import assert from "node:assert/strict";
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { notServing } from "../../src/control-socket.ts";
import { sampleNotice } from "../../src/notify/sample.ts";
import { openSpool } from "../../src/notify/spool.ts";
import { ownStateDir } from "../../src/state-dir.ts";
import { assertClean, assertEnded } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser, type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { mailServer } from "../support/mail-server.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

function config(more = "", url = service.url): string {
  return `mode: enforce\ntargets: [{name: app, url: "${url}", poll: 200ms, statement_timeout: 1m}]\n${stuckRule}${more}`;
}

async function running(here: Place, sign = "nothing to do"): Promise<Running> {
  const daemon = here.run();
  await eventually(() => daemon.said().includes(sign));
  return daemon;
}

async function stop(daemon: Running): Promise<void> {
  daemon.child.kill("SIGTERM");
  const ended = await daemon.ended;
  assertClean(ended);
  assert.equal(ended.code, 0);
}

const onSwitch = (here: Place, command: "pause" | "resume", ...words: string[]) =>
  lockwarden([command, "--config", here.config, ...words]);

const eventsOf = async (here: Place) => (await here.journal()).map(({ event }) => event);

async function released(daemon: Running, pid: string): Promise<void> {
  await eventually(() => daemon.lines().some((line) => line["pid"] === pid && line["outcome"] === "released"));
}

test("pause holds at once, is told, outlasts a restart, and resume acts again without one", async (t) => {
  const mail = await mailServer(t);
  const channel = `{name: oncall, type: email, smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [d@example.org]}`;
  const here = await place(config(`\nchannels: [${channel}]`));
  const mailed = (text: string) => mail.mails.some((one) => one.text.replaceAll(/\s+/g, " ").includes(text));
  const first = await running(here);
  const paused = await onSwitch(here, "pause", "--reason", "a migration");
  assertEnded(paused, { code: 0, out: /^paused until lockwarden resume: it looks and tells, and acts on nobody\n$/ });
  const { pid, lives, login } = await stuckLogin(service, 1);
  await eventually(() => first.said().includes("is spared (paused)"));
  await eventually(() => mailed("Lockwarden is paused by user "));
  await eventually(() => mailed(`did not terminate session ${pid},`));
  const once = await lockwarden(["once", "--config", here.config]);
  assertEnded(once, {
    code: 0,
    out: /would terminate .*; paused by hand\n/,
    err: /^warning: the daemon \(pid \d+\) is paused by /,
  });
  const explained = await lockwarden(["explain", pid, "--config", here.config]);
  assert.match(explained.out, /paused by hand: nothing is signalled/);
  await stop(first);

  const second = await running(here, "is spared (paused)");
  assert.match(second.said(), /Lockwarden starts paused by user .*: a migration\. It looks and tells/);
  assert.ok(await lives());
  const resumed = await onSwitch(here, "resume", "--reason", "it is over");
  assertEnded(resumed, {
    code: 0,
    out: /^resumed; it was paused by user \S+ \(uid \d+\) since \S+ until somebody resumes it: a migration\n$/,
  });
  await released(second, pid);
  await login;
  await eventually(() => mailed("Lockwarden is resumed by user "));
  await stop(second);
  const acts = (await eventsOf(here)).filter((event) => event !== "notice" && event !== "observed");
  assert.deepEqual(acts, ["start", "paused", "stop", "start", "resumed", "intent", "outcome", "stop"]);
  assertEnded(await onSwitch(here, "resume"), { code: 0, out: /^it was not paused; no daemon runs on / });
});

test("pressed while a probe runs, the act that was judged before is not sent, and no intent is written", async () => {
  const owner = await service.person("owner", "postgres");
  // It says that it is stuck when it is told to, and takes until then.
  await owner.query("create table public.verdict (); grant select on public.verdict to lockwarden");
  await owner.query(`create function public.stuck() returns void language plpgsql as $$ begin
    while not exists (select from public.verdict) loop perform pg_sleep(0.02); end loop;
    raise lock_not_available;
  end $$`);
  const here = await place(config('\n    probe: {sql: "select public.stuck()", timeout: 30s}'));
  const { pid, lives, login } = await stuckLogin(service, 2);
  const daemon = here.run();
  const probing =
    "select from pg_stat_activity where query like 'select public.stuck%' and state = 'active' and usename = 'lockwarden'";
  await eventually(async () => (await service.admin.query(probing)).rowCount === 1);
  assertEnded(await onSwitch(here, "pause"), { code: 0, out: /^paused / });
  const still = await service.admin.query(probing);
  assert.equal(still.rowCount, 1, "the probe still ran when the pause was answered");
  await owner.query("insert into public.verdict default values");
  await eventually(() => daemon.said().includes("is spared (paused)"));
  assert.ok(await lives());
  const events = await eventually(async () => {
    const all = await here.journal();
    return all.some(({ event }) => event === "observed") && all;
  });
  assert.deepEqual(
    events.map(({ event }) => event).filter((event) => event !== "notice"),
    ["start", "paused", "observed"],
  );
  const [observed] = events.filter((event) => event.event === "observed");
  assert.match(
    observed !== undefined && "decision" in observed ? observed.decision.reason.text : "",
    /; paused by hand before the signal went out$/,
  );
  await onSwitch(here, "resume");
  await released(daemon, pid);
  await login;
  await stop(daemon);
});

test("the switch works while no database can be reached", async () => {
  const here = await place(config("", "postgres://lockwarden@127.0.0.1:9/app"));
  const daemon = await running(here, "trying again until it works");
  assertEnded(await onSwitch(here, "pause", "--for", "2h"), {
    code: 0,
    out: /^paused until \S+Z \((?:2 h|1 h 59 min) from now\), when it resumes by itself: it looks/,
  });
  const status = await lockwarden(["status", "--config", here.config]);
  assertEnded(status, {
    code: 0,
    out: /enforce, paused\n {2}paused {3}paused by .* left\)\n[^]*\ntarget app: not connected\n/,
  });
  const json = await onSwitch(here, "resume", "--json");
  assertEnded(json, { code: 0, out: /^\{"daemon":true,"was":\{"since":/ });
  await stop(daemon);
});

test("without a daemon the file is left in the name of the folder's owner; once honours it, the next daemon finds it", async () => {
  const here = await place(config());
  await mkdir(here.stateDir);
  const root = process.getuid?.() === 0;
  if (root) await chown(here.stateDir, 65_534, 65_534);
  assertEnded(await onSwitch(here, "pause", "--reason", "no daemon yet"), {
    code: 0,
    out: /^paused until lockwarden resume: no daemon runs on \S+; the next one starts paused\n$/,
  });
  for (const file of ["paused.json", "journal.jsonl"])
    assert.equal((await stat(join(here.stateDir, file))).uid, root ? 65_534 : process.getuid?.());
  const { pid, lives, login } = await stuckLogin(service, 3);
  const once = await lockwarden(["once", "--config", here.config]);
  assertEnded(once, {
    code: 0,
    out: /would terminate .*; paused by hand\n/,
    err: /^warning: paused by .*: no daemon yet; nobody is acted on\n$/,
  });
  const explained = await lockwarden(["explain", pid, "--config", here.config]);
  assert.match(explained.out, /paused by hand/);
  const daemon = await running(here, "is spared (paused)");
  assert.ok(await lives());
  await onSwitch(here, "resume");
  await released(daemon, pid);
  await login;
  await stop(daemon);
});

test("a paused.json that cannot be understood means paused, which the daemon says; resume clears it", async () => {
  const here = await place(config());
  await mkdir(here.stateDir);
  await writeFile(join(here.stateDir, "paused.json"), "{");
  const { pid, lives, login } = await stuckLogin(service, 4);
  const daemon = await running(here, "is spared (paused)");
  const loud = daemon.lines().find((line) => String(line["msg"]).includes("paused.json cannot be understood"));
  assert.equal(loud?.["level"], "error");
  assert.ok(await lives());
  assertEnded(await onSwitch(here, "resume"), { code: 0, out: /^resumed; it was paused by somebody unknown since / });
  await released(daemon, pid);
  await login;
  await stop(daemon);
});

test("with a journal that cannot be written the switch works, and says what is missing", async () => {
  const here = await place(config());
  const daemon = await running(here);
  await rename(join(here.stateDir, "journal.jsonl"), join(here.stateDir, "journal.old"));
  await mkdir(join(here.stateDir, "journal.jsonl"));
  const paused = await onSwitch(here, "pause");
  assertEnded(paused, {
    code: 0,
    out: /^paused /,
    err: /^warning: it is not in the journal: cannot open the journal .*\n$/,
  });
  assert.match(await readFile(join(here.stateDir, "paused.json"), "utf8"), /^\{"v":1,"since":/);
  const status = await lockwarden(["status", "--config", here.config]);
  assert.match(status.out, /\n {2}journal {2}cannot be written, so nobody is acted on: cannot open/);
  assertEnded(await onSwitch(here, "resume"), {
    code: 0,
    out: /^resumed; /,
    err: /^warning: it is not in the journal: /,
  });
  await stop(daemon);
});

test("a pause whose file cannot be written holds, and the command fails loudly: a restart ends it", async () => {
  const here = await place(config());
  const daemon = await running(here);
  await mkdir(join(here.stateDir, "paused.json"));
  assertEnded(await onSwitch(here, "pause"), {
    code: 1,
    out: /^paused /,
    err: /^lockwarden pause: it holds only until the daemon restarts: cannot write \S+paused\.json: /,
  });
  const { pid, lives, login } = await stuckLogin(service, 5);
  await eventually(() => daemon.said().includes("is spared (paused)"));
  assert.ok(await lives());
  await rm(join(here.stateDir, "paused.json"), { recursive: true });
  await onSwitch(here, "resume");
  await released(daemon, pid);
  await login;
  await stop(daemon);
});

test("somebody broke the config, or its secrets are the daemon's alone: its daemon can be paused all the same", async () => {
  const here = await place(config());
  const daemon = await running(here);
  for (const [broken, warns] of [
    [
      `targets: [\nrules: {{{\nstate_dir: ${here.stateDir}  # here\n`,
      /^warning: the config has mistakes, and only its state folder /,
    ],
    [
      `${config().replace("url:", 'password_file: "${NO_SUCH_VARIABLE}/app", url:')}\nstate_dir: ${here.stateDir}\n`,
      undefined,
    ],
  ] as const) {
    await writeFile(here.config, broken);
    const paused = await onSwitch(here, "pause");
    assertEnded(paused, {
      code: 0,
      out: /^paused until lockwarden resume: it looks/,
      ...(warns === undefined ? {} : { err: warns }),
    });
    const resumed = await onSwitch(here, "resume");
    assert.equal(resumed.code, 0, JSON.stringify(resumed));
  }
  await rm(here.config);
  const without = await onSwitch(here, "pause");
  assertEnded(without, { code: 2, err: /no such file[^]*name the state folder with --state-dir FOLDER/ });
  const mistyped = await onSwitch(here, "pause", "--state-dir", `${here.stateDir}s`);
  assertEnded(mistyped, {
    code: 2,
    err: /^--state-dir: expected the folder that a daemon uses, got "\S+": no such folder\n$/,
  });
  const named = await onSwitch(here, "pause", "--state-dir", here.stateDir);
  assertEnded(named, { code: 0, out: /^paused until lockwarden resume: it looks/ });
  await stop(daemon);
});

test("pressed without a config, it leaves what waits to be told to those who know the channels", async () => {
  const here = await place(config());
  await rm(here.config);
  await mkdir(here.stateDir, { recursive: true });
  const spool = await openSpool(here.stateDir);
  await spool.put({ channel: "oncall", sinceMs: Date.now(), notice: sampleNotice("kept", new Date()) });
  for (const command of ["pause", "resume"] as const) {
    const pressed = await onSwitch(here, command, "--state-dir", here.stateDir);
    assert.equal(pressed.code, 0, JSON.stringify(pressed));
    assert.deepEqual(
      (await spool.read()).entries.map(({ spooled: { notice } }) => notice.id),
      ["kept"],
    );
  }
});

test("who may not write in the state folder is told who may, and nothing is paused", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string") return t.skip(somebody);
  const here = await place(config());
  await chmod(here.folder, 0o755);
  await mkdir(here.stateDir, { mode: 0o500 });
  if (process.getuid?.() !== 0) await chmod(here.stateDir, 0o500);
  const ended = await lockwarden(["pause", "--config", here.config], {}, somebody);
  assertEnded(ended, {
    code: 1,
    err: /^lockwarden: cannot own the state folder .* EACCES: .*; run lockwarden as the folder's owner/,
  });
  await chmod(here.stateDir, 0o700);
});

test("systemd's status line says that it is paused, and by whom", async () => {
  const here = await place(config());
  const said = join(here.folder, "said");
  await writeFile(join(here.folder, "systemd-notify"), `#!/bin/sh\necho "$@" >> ${said}\n`, { mode: 0o755 });
  const daemon = here.run({ NOTIFY_SOCKET: "/nowhere", PATH: here.folder });
  await eventually(() => daemon.said().includes("nothing to do"));
  await onSwitch(here, "pause", "--reason", "a move");
  await eventually(async () => /STATUS=enforce; paused by .*: a move; app: /.test(await readFile(said, "utf8")));
  await onSwitch(here, "resume");
  await eventually(async () => /STATUS=enforce; app: [^\n]*\n$/.test(await readFile(said, "utf8")));
  await stop(daemon);
});

test("while a daemon starts, or another command has the state folder, the switch waits for its turn", async () => {
  const here = await place(config());
  const owned = await ownStateDir(here.stateDir);
  assert.ok(owned.kind === "owned");
  let refused = 0;
  owned.serve(() => {
    refused++;
    return Promise.reject(new Error(notServing));
  });
  const pausing = onSwitch(here, "pause");
  await eventually(() => refused > 1);
  await owned.close();
  assertEnded(await pausing, { code: 0, out: /^paused until lockwarden resume: no daemon runs on / });
});

test("a duration that is none is wrong usage", async () => {
  const here = await place(config());
  assertEnded(await onSwitch(here, "pause", "--for", "soon"), {
    code: 2,
    err: /^lockwarden pause: --for: expected a duration such as 30m or 2h, at most 3650d, got "soon"\n$/,
  });
});
