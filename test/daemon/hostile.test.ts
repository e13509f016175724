import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type pg from "pg";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { type Place, place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin } from "../support/stuck-login.ts";

const service = await loginService({ settings: { max_prepared_transactions: "4" } });

function config(rule: string, more = ""): string {
  return `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 5s, leader_database: app}]
rules:
  - ${rule}
${more}`;
}

async function eventsOf(here: Place, kind: JournalEvent["event"]): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter(({ event }) => event === kind);
}

test("writers that queue for a table, each for a moment, all live: who has just got the lock has blocked nobody for long", async () => {
  const here = await place(
    config('{name: jam, match: {applications: ["writer*"], blocks: {for: 2s}}, steps: [terminate]}'),
  );
  const writers: pg.Client[] = [];
  for (let at = 0; at < 20; at++) writers.push(await service.person(`writer ${at}`));
  const owner = await service.person("owner", "postgres");
  await owner.query("create table hot (id int); grant all on hot to login_service");
  let done = 0;
  const wanted = 80;
  const work = writers.map(async (writer) => {
    while (done < wanted) {
      await writer.query("begin");
      await writer.query("lock table hot in exclusive mode");
      await writer.query("select pg_sleep(0.3)");
      await writer.query("commit");
      done++;
    }
  });
  const all = Promise.allSettled(work);
  // By now each of them has queued for seconds.
  await eventually(() => done > 20);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("somebody waits for a lock"));
  const ended = await all;
  assert.deepEqual(await eventsOf(here, "intent"), []);
  assert.deepEqual(
    ended.filter(({ status }) => status === "rejected"),
    [],
  );
});

test("a prepared transaction in the way is nobody's to signal, and people are told what it is and whom it blocks", async () => {
  const here = await place(
    config(
      "{name: stuck-login, match: {state: idle in transaction, idle_for: 1s, blocks: {tables: [public.user_session], for: 500ms}}, steps: [terminate]}",
    ),
  );
  const crashed = await service.person("crashed");
  await abandon(crashed, 1);
  await crashed.query("prepare transaction 'left behind'");
  const login = logIn(await service.person("somebody"), 1);
  const daemon = here.run();
  const [told] = await eventually(async () => {
    const found = await eventsOf(here, "observed");
    return found.length > 0 && found;
  });
  assert.ok(told?.event === "observed");
  assert.equal(told.decision.evidence.victim.kind, "prepared");
  assert.match(told.decision.reason.text, /rollback prepared 'left behind'.*database app/);
  assert.equal(told.decision.evidence.waiters.length, 1);
  await eventually(() => daemon.said().includes("left prepared transaction left behind alone"));
  const owner = await service.person("owner", "postgres");
  await owner.query("rollback prepared 'left behind'");
  await login;
  await eventually(() => daemon.said().includes("blocks nobody any more"));
  assert.deepEqual(await eventsOf(here, "intent"), []);
});

test("a blocker that shows nothing of itself is left alone, and people are told", async () => {
  const here = await place(
    config(
      "{name: stuck-login, match: {idle_for: 1s, blocks: {tables: [public.user_session], for: 500ms}}, steps: [terminate]}",
    ),
  );
  const secret = await service.person("secret", "postgres");
  await secret.query("set track_activities = off");
  await abandon(secret, 2);
  const login = logIn(await service.person("somebody"), 2);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("left session"));
  assert.match(daemon.said(), /the server does not track them, or our role may not see them/);
  await secret.query("rollback");
  await login;
  assert.deepEqual(await eventsOf(here, "intent"), []);
});

test("a survivor has freed nobody, whoever stands behind its waiters", async () => {
  const here = await place(
    config(
      "{name: r, match: {applications: [swallower], state: active, blocks: {for: 500ms}}, steps: [cancel]}",
      "verify_for: 300ms",
    ),
  );
  const swallower = await service.person("swallower");
  const pid = await pidOf(swallower);
  await abandon(swallower, 3);
  await swallower.query("savepoint s");
  const hanging = swallower
    .query("do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(60); end $$")
    .catch(() => undefined);
  const logins: Promise<unknown>[] = [];
  for (let at = 0; at < 3; at++) logins.push(logIn(await service.person("somebody"), 3));
  here.run();
  const [event] = await eventually(async () => {
    const found = await eventsOf(here, "outcome");
    return found.length > 0 && found;
  });
  assert.ok(event?.event === "outcome");
  assert.deepEqual([event.outcome.kind, event.outcome.freed], ["survived", []]);
  await service.admin.query("select pg_terminate_backend($1)", [pid]);
  await hanging;
  await Promise.all(logins);
});

test("an intent in the journal that nobody can make sense of does not keep its target from being watched", async () => {
  const here = await place(
    config(
      "{name: stuck-login, match: {state: idle in transaction, applications: [crashed], idle_for: 1s, blocks: {for: 500ms}}, steps: [terminate]}",
    ),
  );
  const victim = { kind: "session", key: "x", pid: "not a number", identity: "never", transaction: { kind: "none" } };
  const decision = { kind: "act", rule: "r", action: "terminate", evidence: { victim } };
  const intent = { v: 1, id: "odd", at: "2026-01-01T00:00:00.000Z", target: "app", event: "intent", decision };
  await mkdir(here.stateDir, { recursive: true });
  await writeFile(join(here.stateDir, "journal.jsonl"), `${JSON.stringify(intent)}\n`);
  const crashed = await service.person("crashed");
  await abandon(crashed, 4);
  let loggedIn = false;
  void logIn(await service.person("somebody"), 4).then(() => (loggedIn = true));
  here.run();
  await eventually(() => loggedIn);
  const recovered = await eventsOf(here, "recovered");
  assert.deepEqual(
    recovered.map(({ id, event }) => [id, event]),
    [["odd", "recovered"]],
  );
});

test("who was told by one rule and ended by another is not said to have ended by itself", async () => {
  const here = await place(
    `${config("{name: look, match: {applications: [twice], idle_for: 500ms, blocks: {for: 200ms}}, steps: [notify]}")}
  - {name: act, match: {applications: [twice], idle_for: 1s, blocks: {for: 500ms}}, steps: [terminate]}`,
  );
  const twice = await service.person("twice");
  await abandon(twice, 7);
  const login = logIn(await service.person("somebody"), 7);
  const daemon = here.run();
  await login;
  await eventually(() => daemon.said().includes("rule look: the transaction ended"));
  assert.doesNotMatch(daemon.said(), /rule look: the transaction ended by itself/);
});

// The last one: the server's end ends everybody's connections.
test("a client that reconnects and locks the row again is ended only so often, then people are told", async () => {
  const here = await place(
    config(
      "{name: stuck-login, match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}}, steps: [terminate]}",
      "limits: {repeat: {times: 2, within: 10m}}",
    ),
  );
  const daemon = here.run();
  for (const id of [5, 6]) await (await stuckLogin(service, id)).login;
  const third = await stuckLogin(service, 7);
  const observed = await eventually(async () => (await eventsOf(here, "observed")).at(-1));
  assert.ok(observed.event === "observed" && observed.decision.kind === "spare");
  assert.equal(observed.decision.by, "limit");
  assert.match(observed.decision.reason.text, /2/);
  assert.ok(await third.lives());
  assert.equal((await eventsOf(here, "intent")).length, 2);
  daemon.child.kill("SIGTERM");
  await daemon.ended;
  await third.release();
});

test("who takes over a freed row has the rule's cooldown, while another stuck row is freed at once", async () => {
  const here = await place(
    config(
      "{name: stuck-login, match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}}, steps: [terminate], cooldown: 1h}",
    ),
  );
  const first = await stuckLogin(service, 8);
  const successor = await service.person("successor");
  await successor.query("begin");
  const taken = logIn(successor, 8);
  const daemon = here.run();
  await taken;
  await first.login;
  const behind = logIn(await service.person("behind"), 8);
  await eventually(() => daemon.said().includes("is spared (cooldown)"));
  const other = await stuckLogin(service, 9);
  await other.login;
  const acted = (await eventsOf(here, "intent")).flatMap((event) =>
    event.event === "intent" && event.decision.evidence.victim.kind === "session"
      ? [event.decision.evidence.victim.pid]
      : [],
  );
  assert.deepEqual(acted, [first.pid, other.pid]);
  await successor.query("rollback");
  await behind;
  daemon.child.kill("SIGTERM");
  await daemon.ended;
});

test("a server that crashes in the middle of a verification leaves an unknown outcome, not one that was never seen", async () => {
  const here = await place(
    config(
      "{name: r, match: {applications: [swallower], state: active, blocks: {for: 500ms}}, steps: [cancel]}",
      "verify_for: 1m",
    ),
  );
  const swallower = await service.person("swallower");
  await abandon(swallower, 6);
  await swallower.query("savepoint s");
  const hang = "do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(60); end $$";
  swallower.query(hang).catch(() => undefined);
  logIn(await service.person("somebody"), 6).catch(() => undefined);
  const daemon = here.run();
  const sent = "select from pg_stat_activity where query like '%lockwarden:prove%' and application_name = 'lockwarden'";
  await eventually(async () => (await service.admin.query(sent)).rowCount === 1);
  await service.postgres.restart("immediate");
  const [event] = await eventually(async () => {
    const found = await eventsOf(here, "outcome");
    return found.length > 0 && found;
  });
  assert.ok(event?.event === "outcome");
  assert.equal(event.outcome.kind, "unknown");
  await eventually(() => daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length === 2, 60_000);
});
