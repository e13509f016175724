import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { assertEnded } from "../support/clean-output.ts";
import { type Ended, lockwarden, type Place, place, type Running, start } from "../support/lockwarden.ts";
import { abandon, logIn, loginService } from "../support/login-service.ts";
import { type Called, called, deafToCancel } from "../support/persons.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

/** A daemon with this poll looks only when it is asked. */
const onlyWhenAsked = "0 0 29 2 *";

type Given = Readonly<{ mode?: string; poll?: string; verify?: string }>;

function config({ mode = "observe", poll = onlyWhenAsked, verify = "3s" }: Given = {}): string {
  return `mode: ${mode}\nverify_for: ${verify}\ntargets: [{name: app, url: "${service.url}", poll: "${poll}"}]\n${stuckRule}`;
}

async function running(here: Place): Promise<Running> {
  const daemon = here.run();
  await eventually(() => daemon.said().includes("connected to"));
  return daemon;
}

async function stop(daemon: Running): Promise<void> {
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
}

function run(here: Place, ...words: string[]): Promise<Ended> {
  return lockwarden([...words, "--config", here.config]);
}

const brief = (event: JournalEvent) =>
  "decision" in event ? `${event.event} ${event.decision.rule}` : "outcome" in event ? event.outcome.kind : event.event;

async function briefs(here: Place): Promise<readonly string[]> {
  return (await here.journal()).map(brief).filter((one) => one !== "start" && one !== "stop");
}

/** Somebody whom no cancel reaches. */
async function deaf(): Promise<Called> {
  const victim = await called(service, "web-1");
  void victim.start(deafToCancel);
  await victim.shows("wait_event = 'PgSleep'");
  return victim;
}

async function intentOf(here: Place, rule: string): Promise<void> {
  await eventually(async () => (await briefs(here)).includes(`intent ${rule}`));
}

/** When the signal is out and the daemon has looked what became of it. */
async function firstProof(): Promise<void> {
  const sql = `select from pg_stat_activity
                where application_name = 'lockwarden' and state = 'idle' and query like '%lockwarden:prove-locks%'`;
  await eventually(async () => (await service.admin.query(sql)).rowCount === 1);
}

async function ownSessions(): Promise<number> {
  const sql = "select count(*)::int as count from pg_stat_activity where application_name = 'lockwarden'";
  return (await service.admin.query<{ count: number }>(sql)).rows[0]?.count ?? 0;
}

test("while a daemon runs, it is asked: it acts in mode observe too, over its own connections, logs and journals", async () => {
  const here = await place(config());
  const daemon = await running(here);
  const victim = await called(service, "web-1");
  await abandon(victim.client, 1);
  const waiter = await called(service, "web-2");
  const login = logIn(waiter.client, 1);
  await waiter.shows("wait_event_type = 'Lock'");
  const before = await ownSessions();
  const ended = await run(here, "kill", victim.handle, "--yes");
  assertEnded(ended, {
    code: 0,
    out: /^app: terminate \S+: released: the session is gone; 1 session freed/,
    err: /^app at/,
  });
  await login;
  assert.equal(await ownSessions(), before);
  assert.deepEqual(await briefs(here), ["intent by hand", "released"]);
  const line = await eventually(() => daemon.lines().find((one) => one["pid"] === victim.pid));
  assert.match(String(line["by"]), /uid \d+/);
  assert.match(String(line["msg"]), /^by hand, for .*: terminate of session \d+,.*: released: the session is gone/);
  assertEnded(await run(here, "kill", victim.handle, "--yes"), { code: 1, out: /: gone: .*; nothing was sent\n$/ });
  assertEnded(await run(here, "cancel", waiter.handle, "--yes"), {
    code: 1,
    out: /: failed: there is nothing to cancel/,
  });
  await stop(daemon);
});

test("commands by hand need no leadership: neither through a follower nor beside one that leads from elsewhere", async () => {
  const leader = await running(await place(config({ mode: "enforce" })));
  const here = await place(config({ mode: "enforce" }));
  const follower = await running(here);
  await eventually(() => follower.said().includes("another Lockwarden acts on this target"));
  for (const asked of [here, await place(config())]) {
    const victim = await called(service, "web-1");
    const ended = await run(asked, "kill", victim.handle, "--immediate", "--yes");
    assertEnded(ended, { code: 0, out: /: released: the session is gone/, err: /^app at/ });
    assert.deepEqual(await briefs(asked), ["intent by hand", "released"]);
  }
  await stop(follower);
  await stop(leader);
});

test("whoever gets the lock of a session that a person ended has a cooldown: no rule acts on it at once", async () => {
  const rule = `{name: heirs, match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}, applications: [heir]}, steps: [terminate]}`;
  const here = await place(
    `mode: enforce\nverify_for: 3s\ntargets: [{name: app, url: "${service.url}", poll: 200ms}]\nrules: [${rule}]\n`,
  );
  const daemon = await running(here);
  const victim = await called(service, "web-1");
  const heir = await called(service, "heir");
  const last = await called(service, "web-2");
  await abandon(victim.client, 7);
  await heir.client.query("begin");
  const inherited = logIn(heir.client, 7);
  await heir.shows("wait_event_type = 'Lock'");
  const login = logIn(last.client, 7);
  await last.shows("wait_event_type = 'Lock'");
  const ended = await run(here, "kill", victim.handle, "--yes");
  assert.equal(ended.code, 0, ended.err);
  await inherited;
  await eventually(() => daemon.said().includes("is spared (cooldown)"));
  assert.ok(await heir.isThere());
  const explained = await run(here, "explain");
  assert.match(explained.out, /somebody has acted by hand: who came to block its lock since is left alone/);
  assert.deepEqual(await briefs(here), ["intent by hand", "released"]);
  await heir.client.query("rollback");
  await login;
  await stop(daemon);
});

test("while a kill waits for its proof the daemon goes on: a rule frees somebody else in between", async () => {
  const here = await place(config({ mode: "enforce", poll: "1s", verify: "10s" }));
  const daemon = await running(here);
  const victim = await deaf();
  const killing = start(["kill", victim.handle, "--yes", "--config", here.config]);
  await intentOf(here, "by hand");
  const { login } = await stuckLogin(service, 2);
  await login;
  assertEnded(await killing.ended, {
    code: 0,
    out: /^app: cancel \S+: survived: .*\napp: terminate \S+: released: .*\n$/,
    err: /^app at/,
  });
  assert.deepEqual(await briefs(here), [
    "intent by hand",
    "intent stuck-login",
    "released",
    "survived",
    "intent by hand",
    "released",
  ]);
  await stop(daemon);
});

test("when whoever asked has gone, what has begun is seen to its end, and no further step begins", async () => {
  const here = await place(config({ verify: "3s" }));
  const daemon = await running(here);
  const victim = await deaf();
  const killing = start(["kill", victim.handle, "--yes", "--config", here.config]);
  await intentOf(here, "by hand");
  killing.child.kill("SIGKILL");
  await killing.ended;
  await eventually(async () => (await briefs(here)).includes("survived"));
  // A request of its own comes after whatever the daemon would still have done.
  assertEnded(await run(here, "cancel", victim.handle, "--yes"), { code: 1, out: /: survived: /, err: /^app at/ });
  assert.equal(await victim.isThere(), true);
  assert.deepEqual(await briefs(here), ["intent by hand", "survived", "intent by hand", "survived"]);
  await stop(daemon);
  await service.admin.query("select pg_terminate_backend($1)", [victim.pid]);
});

test("a connection that is lost in between leaves the outcome unknown, and nothing more is sent over another", async () => {
  const here = await place(config({ verify: "15s" }));
  const daemon = await running(here);
  const victim = await deaf();
  const killing = start(["kill", victim.handle, "--yes", "--config", here.config]);
  await intentOf(here, "by hand");
  await service.admin.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockwarden'",
  );
  const { code, out } = await killing.ended;
  assert.equal(code, 1);
  assert.match(out, /^app: cancel \S+: unknown: nothing could be seen afterwards/);
  assert.equal(await victim.isThere(), true);
  assert.deepEqual(await briefs(here), ["intent by hand", "unknown"]);
  await stop(daemon);
  await service.admin.query("select pg_terminate_backend($1)", [victim.pid]);
});

test("a daemon that stops in the middle writes down what it saw, and sends nothing more", async () => {
  const here = await place(config({ verify: "60s" }));
  const daemon = await running(here);
  const victim = await deaf();
  const killing = start(["kill", victim.handle, "--yes", "--config", here.config]);
  await intentOf(here, "by hand");
  await firstProof();
  await stop(daemon);
  assert.equal((await killing.ended).code, 1);
  assert.equal(await victim.isThere(), true);
  assert.deepEqual(await briefs(here), ["intent by hand", "survived"]);
  await service.admin.query("select pg_terminate_backend($1)", [victim.pid]);
});

for (const alone of [true, false]) {
  const whose = alone ? "of a command without a daemon" : "of a daemon";
  test(`a crash ${whose} in the middle is found at the next start, and nothing more is sent`, async () => {
    const here = await place(config({ verify: "60s" }));
    const daemon = alone ? null : await running(here);
    const victim = await deaf();
    const killing = start(["kill", victim.handle, "--yes", "--config", here.config]);
    await intentOf(here, "by hand");
    (daemon ?? killing).child.kill("SIGKILL");
    await (daemon ?? killing).ended;
    assert.notEqual((await killing.ended).code, 0);
    const next = await running(here);
    const recovered = await eventually(async () => (await here.journal()).find(({ event }) => event === "recovered"));
    assert.ok(recovered.event === "recovered");
    assert.match(
      recovered.outcome.text,
      /^the session is still there, and nothing more is sent to it; Lockwarden ended /,
    );
    assert.equal(await victim.isThere(), true);
    await stop(next);
    await service.admin.query("select pg_terminate_backend($1)", [victim.pid]);
  });
}
