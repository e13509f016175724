import assert from "node:assert/strict";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertEnded, secret } from "../support/clean-output.ts";
import { type Ended, lockwarden, type Place, place, throughShell } from "../support/lockwarden.ts";
import { type LoginService, loginService } from "../support/login-service.ts";
import { outerMajors } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const services: LoginService[] = [];
for (const major of outerMajors()) services.push(await loginService({ major }));
const newest = services.at(-1) as LoginService;

type Printed = Readonly<{
  targets: readonly Readonly<{
    target: string;
    decisions: readonly Readonly<Record<string, unknown> & { session: Readonly<Record<string, unknown>> }>[];
  }>[];
}>;

function configOf(url: string, mode = "enforce"): string {
  return `mode: ${mode}\ntargets: [{name: app, url: "${url}"}]\n${stuckRule}`;
}

function once(here: Place, ...more: string[]): Promise<Ended> {
  return lockwarden(["once", ...more, "--config", here.config]);
}

async function eventsOf(here: Place): Promise<string[]> {
  return (await here.journal()).map(({ event }) => event);
}

for (const [index, service] of services.entries()) {
  test(`${outerMajors()[index]}: once frees a stuck login, and prints what it did and why`, async () => {
    const here = await place(configOf(service.url));
    const { pid, login } = await stuckLogin(service, 1);
    const ended = await once(here);
    assertEnded(ended, {
      code: 0,
      out: new RegExp(
        `^app: stuck-login: terminate ${pid},[0-9a-f]+\\.${Number(pid).toString(16)} \\(login_service\\): ` +
          "idle in transaction, idle for [\\d .a-z]+, .*public\\.user_session.* → released: 1 session freed after \\d+ m?s\\n$",
      ),
    });
    await login;
    assert.deepEqual(await eventsOf(here), ["intent", "outcome"]);
    assertEnded(await once(here), { code: 0, out: /^app: nothing to do\n$/ });
  });

  test(`${outerMajors()[index]}: --json tells it in the form that programs rely on`, async () => {
    const here = await place(configOf(service.url));
    const { pid, login } = await stuckLogin(service, 2);
    const ended = await once(here, "--json");
    assertEnded(ended, { code: 0, out: /^\{.*\}\n$/ });
    await login;
    const { targets, ...others } = JSON.parse(ended.out) as Printed;
    assert.deepEqual(others, {});
    const [decision] = targets[0]?.decisions ?? [];
    assert.ok(decision);
    assert.deepEqual(targets, [{ target: "app", decisions: [decision] }]);
    const { sessionId, ...session } = decision.session;
    assert.match(String(sessionId), /^[0-9a-f]+\.[0-9a-f]+$/);
    assert.deepEqual(session, {
      pid,
      user: "login_service",
      database: "app",
      application: "web-1",
      client: "127.0.0.1",
      state: "idle in transaction",
    });
    const { reason, outcomeText, ...rest } = decision;
    assert.match(String(reason), /^idle in transaction, idle for /);
    assert.match(String(outcomeText), /^1 session freed after /);
    assert.deepEqual(
      { ...rest, session: null },
      {
        decision: "act",
        by: null,
        inMs: null,
        rule: "stuck-login",
        action: "terminate",
        code: "matched",
        session: null,
        outcome: "released",
      },
    );
    assert.deepEqual(JSON.parse((await once(here, "--json")).out), { targets: [{ target: "app", decisions: [] }] });
  });
}

test("in mode observe it says what it would do, and touches nobody", async () => {
  const here = await place(configOf(newest.url, "observe"));
  const { pid, lives, release } = await stuckLogin(newest, 3);
  const said = new RegExp(`^app: stuck-login: would terminate ${pid},.*; mode is observe\\n$`);
  assertEnded(await once(here), { code: 0, out: said });
  const { targets } = JSON.parse((await once(here, "--json")).out) as Printed;
  const [decision] = targets[0]?.decisions ?? [];
  assert.deepEqual(
    [decision?.["decision"], decision?.["by"], decision?.["action"], decision?.["outcome"]],
    ["spare", "observe", "terminate", null],
  );
  assert.ok(await lives());
  assert.deepEqual(await eventsOf(here), ["observed", "observed"]);
  await release();
});

test("whom no rule lets it act on yet is watched, and whom a rule protects is spared", async () => {
  const slow = await place(configOf(newest.url).replace("200ms", "1h"));
  const first = await stuckLogin(newest, 4);
  assertEnded(await once(slow), {
    code: 0,
    out: new RegExp(`^app: stuck-login: watches ${first.pid},.*; due in 59 min \\d+ s if nothing changes\\n$`),
  });
  await first.release();
  const here = await place(configOf(newest.url));
  const root = await stuckLogin(newest, 5, "postgres");
  assertEnded(await once(here), {
    code: 0,
    out: new RegExp(`^app: stuck-login: spares ${root.pid},\\S+ \\(postgres\\): .*superuser.*\\n$`),
  });
  assert.ok(await root.lives());
  await root.release();
});

test("of several targets the reachable ones are done, and the exit code tells of the other", async () => {
  const list = `targets:
  - {name: app, url: "${newest.url}"}
  - {name: gone, url: "postgres://lockwarden:${secret}@127.0.0.1:1/app"}`;
  const here = await place(`mode: enforce\n${list}\n${stuckRule}`);
  const { pid, login } = await stuckLogin(newest, 6);
  const ended = await once(here);
  assertEnded(ended, { code: 3, out: new RegExp(`^app: stuck-login: terminate ${pid},.* → released: `) });
  assert.match(ended.out, /\ngone: cannot connect to gone .*; check that the server runs and listens/);
  await login;
});

test("a session that the role may not see is left alone, and what the role lacks is told", async (t) => {
  await newest.admin.query("create role blindfold login in role pg_signal_backend");
  t.after(() => newest.admin.query("drop role blindfold"));
  const here = await place(configOf(newest.postgres.url("blindfold", "app")));
  const { lives, release } = await stuckLogin(newest, 7);
  const ended = await once(here);
  assertEnded(ended, {
    code: 3,
    out: /^app: nothing to do\n$/,
    err: /^warning: app: missing: pg_read_all_stats: .*; grant pg_read_all_stats to "blindfold";\n$/,
  });
  assert.ok(await lives());
  assert.deepEqual(await eventsOf(here), []);
  await release();
});

test("a server that refuses the signal is told as such, and the victim lives", async (t) => {
  await newest.admin.query("create role unarmed login in role pg_read_all_stats");
  t.after(() => newest.admin.query("drop role unarmed"));
  const here = await place(configOf(newest.postgres.url("unarmed", "app")));
  const { pid, lives, release } = await stuckLogin(newest, 8);
  const ended = await once(here);
  assertEnded(ended, {
    code: 3,
    out: new RegExp(`^app: stuck-login: terminate ${pid},.* → denied: the server refused: .*\\n$`),
    err: /^warning: app: missing: pg_signal_backend: .*; grant pg_signal_backend to "unarmed";\n/,
  });
  assert.ok(await lives());
  assert.deepEqual(await eventsOf(here), ["intent", "outcome"]);
  await release();
});

test("who only observes need not be able to signal", async (t) => {
  await newest.admin.query("create role onlooker login in role pg_read_all_stats");
  t.after(() => newest.admin.query("drop role onlooker"));
  const here = await place(configOf(newest.postgres.url("onlooker", "app"), "observe"));
  const { pid, lives, release } = await stuckLogin(newest, 9);
  const ended = await once(here);
  assertEnded(ended, { code: 0, out: new RegExp(`^app: stuck-login: would terminate ${pid},`) });
  assert.equal(ended.err, "");
  assert.ok(await lives());
  await release();
});

test("a superuser whom the config gives up is denied by the server, though the role lacks nothing", async () => {
  const here = await place(`${configOf(newest.url)}\nprotect: {superusers: false}`);
  const { pid, lives, release } = await stuckLogin(newest, 10, "postgres");
  assertEnded(await once(here), {
    code: 3,
    out: new RegExp(`^app: stuck-login: terminate ${pid},.* → denied: the server refused: .*\\n$`),
    err: /warn .*denied/,
  });
  assert.ok(await lives());
  await release();
});

test("a name with control characters is printed without them, and whole for programs", async (t) => {
  const name = "evil\u001b[2J\u009b";
  await newest.admin.query(`create role "${name}" login in role login_service`);
  t.after(() => newest.admin.query(`drop role "${name}"`));
  const here = await place(configOf(newest.url, "observe"));
  const { release } = await stuckLogin(newest, 9, encodeURIComponent(name));
  assertEnded(await once(here), { code: 0, out: /\(evil\\u001b\[2J\\u009b\): / });
  const json = await once(here, "--json");
  assertEnded(json, { code: 0, out: /"user":"evil\\u001b\[2J\\u009b"/ });
  assert.equal(json.out.includes("\u009b"), false);
  await release();
});

test("where the journal cannot be read nobody knows who was signalled before, and nobody is acted on", async () => {
  const here = await place(configOf(newest.url));
  await mkdir(here.stateDir, { recursive: true });
  // A file that even root cannot read.
  await symlink("/proc/self/mem", join(here.stateDir, "journal.jsonl.1"));
  const { lives, release } = await stuckLogin(newest, 12);
  const ended = await once(here);
  assertEnded(ended, {
    code: 1,
    out: /the journal cannot be written/,
    err: /whom signals went out to is not known: .*EIO/,
  });
  assert.equal(await lives(), true);
  await release();
});

const deadMail = `channels:
  - {name: oncall, type: email, smtp: "smtp://u@127.0.0.1:1", password: ${secret}, starttls: never, from: l@example.org, to: [dba@example.org]}`;

test("a mail server that is away is told beside the result, and does not spoil it", async () => {
  const here = await place(`${configOf(newest.url)}\n${deadMail}`);
  const { login } = await stuckLogin(newest, 11);
  const ended = await once(here, "--json");
  assertEnded(ended, {
    code: 0,
    out: /^\{"targets":\[.*"outcome":"released".*\}\n$/,
    err: /^\d\d:\d\d:\d\d warn {2}channel oncall cannot deliver, and tries again: connect ECONNREFUSED .*\n.* not yet delivered; the next start sends them\n$/,
  });
  await login;
});

test("colours are for terminals, and not for those who want none", async (t) => {
  const here = await place(`${configOf(newest.url)}\n${deadMail}`);
  const onTerminal = async (id: number, env: NodeJS.ProcessEnv) => {
    const { login } = await stuckLogin(newest, id);
    const line = 'script --quiet --return --command "$(printf "%q " "$@")" /dev/null';
    const ended = await throughShell(line, ["once", "--config", here.config], { TERM: "xterm", ...env });
    if (ended.code === 127) return null;
    await login;
    assert.equal(ended.code, 0);
    assert.match(ended.out, /cannot deliver/);
    return ended.out.includes("\u001b");
  };
  const coloured = await onTerminal(12, {});
  if (coloured === null) return t.skip("there is no script(1) to make a terminal with");
  assert.equal(coloured, true);
  assert.equal(await onTerminal(13, { NO_COLOR: "1" }), false);
  assert.equal(await onTerminal(14, { TERM: "dumb" }), false);
});
