import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type pg from "pg";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { lockwarden, place } from "../support/lockwarden.ts";
import { abandon, type LoginService, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually, outerMajors } from "../support/servers.ts";

// One daemon for each server, with a rule for each test: they run side by side, each with applications and rows of its own.

const rules = `
  - {name: swallower, match: {applications: [swallower], state: active, query_for: 300ms}, steps: [notify, {wait: 300ms}, cancel, {wait: 300ms}, terminate]}
  - {name: saver, match: {applications: [saver], state: active, query_for: 300ms, blocks: {tables: [public.user_session], for: 200ms}}, steps: [cancel, {wait: 200ms}, terminate]}
  - {name: leaver, match: {applications: [leaver], state: idle in transaction, idle_for: 300ms}, steps: [notify, {wait: 5s}, terminate]}
  - {name: returner, match: {applications: [returner], state: idle in transaction, idle_for: 300ms}, steps: [notify, {wait: 5s}, terminate]}
  - {name: relieved, match: {applications: [relieved], state: idle in transaction, idle_for: 300ms, blocks: {tables: [public.user_session]}}, steps: [notify, {wait: 5s}, terminate]}
  - {name: frozen, match: {applications: [frozen], state: idle in transaction, idle_for: 300ms}, steps: [cancel, {wait: 200ms}, terminate]}`;

type Stage = Readonly<{ major: number; service: LoginService }>;

const stages: Stage[] = [];
for (const major of outerMajors()) stages.push({ major, service: await loginService({ major }) });

for (const { major, service } of stages) {
  void describe(`PostgreSQL ${major}`, { concurrency: true }, async () => {
    const here = await place(`
mode: enforce
verify_for: 3s
targets: [{name: app, url: "${service.url}", poll: 30s}]
limits: {per_tick: 50, per_minute: 100}
rules:${rules}`);
    const daemon = here.run();

    type Acts = readonly Readonly<{ action: string; outcome: string | null; event: Intent }>[];
    type Intent = Extract<JournalEvent, { event: "intent" | "observed" }>;

    /** What this rule did, in order, once it has done so much. */
    const actsOf = (rule: string, count: number): Promise<Acts> =>
      eventually(async () => {
        const found = actsIn(await here.journal(), rule);
        return found.length >= count && found.every(({ outcome }) => outcome !== null) && found;
      });
    const actsIn = (events: readonly JournalEvent[], rule: string): Acts => {
      const outcomes = new Map(
        events.flatMap((event) => (event.event === "outcome" ? [[event.id, event.outcome.kind] as const] : [])),
      );
      return events.flatMap((event) =>
        event.event === "intent" && event.decision.rule === rule
          ? [{ action: event.decision.action, outcome: outcomes.get(event.id) ?? null, event }]
          : [],
      );
    };
    const told = (rule: string): readonly string[] =>
      daemon
        .lines()
        .filter(({ notice }) => notice !== undefined)
        .map(({ msg }) => String(msg))
        .filter((text) => text.includes(rule));
    const isAlive = async (pid: number): Promise<boolean> =>
      (await service.admin.query("select from pg_stat_activity where pid = $1", [pid])).rowCount === 1;
    /** Who waited for its lock may have it before the server has taken the session off its list. */
    const isGone = (pid: number) => eventually(async () => !(await isAlive(pid)));
    const stuck = async (application: string, id: number): Promise<{ victim: pg.Client; pid: number }> => {
      const victim = await service.person(application);
      const pid = await pidOf(victim);
      await abandon(victim, id);
      return { victim, pid };
    };
    /** By the server's clock, so that whatever was due by then is due for a look as well. */
    const passes = async (ms: number): Promise<void> => {
      const { rows } = await service.admin.query("select (clock_timestamp() + $1::interval)::text as until", [
        `${ms} ms`,
      ]);
      const until = (rows[0] as { until: string }).until;
      await eventually(
        async () =>
          (await service.admin.query("select where clock_timestamp() >= $1::timestamptz", [until])).rowCount === 1,
      );
    };

    test("notify, cancel, terminate: each step in its turn, on a fresh look, and the next one only where the last did not help", async () => {
      const victim = await service.person("swallower");
      const pid = await pidOf(victim);
      await assert.rejects(
        victim.query(
          "do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(60); end $$",
        ),
        /terminating connection due to administrator command/,
      );
      const acts = await actsOf("swallower", 2);
      assert.deepEqual(
        acts.map(({ action, outcome }) => [action, outcome]),
        [
          ["cancel", "survived"],
          ["terminate", "released"],
        ],
      );
      const [first, second] = acts.map(({ event }) => event.decision.evidence);
      assert.ok(first !== undefined && second !== undefined && first.at < second.at);
      await isGone(pid);
      assert.match(told(`${pid},`)[0] ?? "", /^session \d+,[0-9a-f.]+ \(login_service, swallower\): /);
      await eventually(() => told(`${pid},`).at(-1)?.startsWith("terminate of session "));
    });

    test("a cancel that a savepoint outlives goes on to terminate, though the session is not active any more", async () => {
      const victim = await service.person("saver");
      const pid = await pidOf(victim);
      await abandon(victim, 1);
      await victim.query("savepoint a");
      const cancelled = assert.rejects(victim.query("select pg_sleep(60)"), /canceling statement due to user request/);
      const login = logIn(await service.person("somebody"), 1);
      await cancelled;
      // What an application does that catches the error: its transaction and its locks are still there.
      await victim.query("rollback to a");
      await login;
      assert.deepEqual(
        (await actsOf("saver", 2)).map(({ action, outcome }) => [action, outcome]),
        [
          ["cancel", "survived"],
          ["terminate", "released"],
        ],
      );
      await isGone(pid);
    });

    test("who commits between two steps is not touched, and people are told that it is over", async () => {
      const { victim, pid } = await stuck("leaver", 2);
      await eventually(() => told(`${pid},`).length === 1);
      await victim.query("commit");
      await eventually(() => told("rule leaver: the transaction ended").length === 1);
      assert.equal(await isAlive(pid), true);
      assert.deepEqual(actsIn(await here.journal(), "leaver"), []);
    });

    test("the next transaction of the same session begins at the first step, whatever the last one had come to", async () => {
      const { victim, pid } = await stuck("returner", 3);
      await eventually(() => told(`${pid},`).length === 1);
      await victim.query("commit");
      await abandon(victim, 4);
      const { rows } = await service.admin.query(
        "select xact_start::text as began from pg_stat_get_activity($1) a, set_config('timezone', 'UTC', false)",
        [pid],
      );
      await actsOf("returner", 1);
      const [act] = actsIn(await here.journal(), "returner");
      const session = act?.event.decision.evidence.victim;
      assert.ok(session?.kind === "session" && session.transaction.kind === "open");
      assert.equal(
        new Date(session.transaction.startedAt ?? "").getTime(),
        new Date((rows[0] as { began: string }).began).getTime(),
      );
      // Its threshold and the wait after the notice were over, by the server's clock.
      const idle = Date.parse(act?.event.decision.evidence.at ?? "") - new Date(session.stateAt ?? "").getTime();
      assert.ok(idle >= 5_300, `it was acted on after ${idle} ms`);
      // Told of each of the two, and then of the end of the second.
      assert.equal(told(`${pid},`).filter((text) => text.startsWith("session ")).length, 2);
    });

    test("who blocks nobody any more at the next step is not touched", async () => {
      const { victim, pid } = await stuck("relieved", 5);
      const waiter = await service.person("impatient");
      const waiterPid = await pidOf(waiter);
      const login = assert.rejects(logIn(waiter, 5), /canceling statement/);
      await eventually(() => told(`${pid},`).length === 1);
      await service.admin.query("select pg_cancel_backend($1)", [waiterPid]);
      await login;
      await passes(5_500);
      const { out } = await lockwarden(["once", "--json", "--config", here.config]);
      assert.equal(out.includes(`"${pid}"`), false, out);
      assert.equal(await isAlive(pid), true);
      assert.deepEqual(actsIn(await here.journal(), "relieved"), []);
      await victim.query("commit");
    });

    test("what survives a terminate is left to a person, who is told so; nothing stronger is sent", async () => {
      const { pid } = await stuck("frozen", 6);
      // A process that does not get to its signals, as on a disk that hangs.
      process.kill(pid, "SIGSTOP");
      try {
        const acts = await actsOf("frozen", 1);
        assert.deepEqual(
          acts.map(({ action, outcome }) => [action, outcome]),
          [["terminate", "survived"]],
        );
        const [notice] = await eventually(() => {
          const found = told(`${pid},`);
          return found.length > 0 && found;
        });
        assert.match(notice ?? "", /it still holds its locks .* after the terminate; it needs a person now/);
        const { out } = await lockwarden(["once", "--config", here.config]);
        assert.match(out, new RegExp(`frozen: spares ${pid},.*steps are over`));
        assert.equal(actsIn(await here.journal(), "frozen").length, 1);
        assert.equal(await isAlive(pid), true);
      } finally {
        process.kill(pid, "SIGCONT");
      }
      await isGone(pid);
      await eventually(() => told("rule frozen: the transaction ended").length === 1);
    });
  });
}
