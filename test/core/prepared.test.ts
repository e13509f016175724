import assert from "node:assert/strict";
import { test } from "node:test";
import { nextChangeMs } from "../../src/core/next-change.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { brief, judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const abandoned = {
  name: "abandoned",
  match: { prepared: { gid: "gid-*", for: "10m" } },
  steps: ["rollback-prepared"],
};

/** A prepared transaction, and one who waits for its row. */
function stuck(described: Parameters<SnapshotBuilder["prepared"]>[1] = {}, waited = "20s"): SnapshotBuilder {
  return snapshot()
    .prepared(7, described)
    .session(2, { xact: waited })
    .waits(2, { on: "prepared/7", for: waited, table: "public.user_session", lock: "transactionid 7" });
}

function briefs(rules: readonly object[], look: SnapshotBuilder, more: object = {}, given: object = {}): string[] {
  return judge({ rules, ...more }, given)
    .look(look.build())
    .decisions.map(brief);
}

test("a prepared transaction is rolled back by its gid and its age, and the reason says what cannot be guarded", () => {
  const [decision] = judge({ rules: [abandoned] }).look(snapshot().prepared(7).build()).decisions;
  assert.ok(decision?.kind === "act");
  assert.equal(brief(decision), "act rollback-prepared gid-7");
  assert.equal(decision.guard.blocks, null);
  assert.equal(
    decision.reason.text,
    "gid gid-7, prepared 1 h ago; its identity is read again just before the rollback, not within it",
  );
});

test("another gid is nobody's victim, and a young one is due at its moment", () => {
  assert.deepEqual(briefs([abandoned], snapshot().prepared(7, { gid: "other-7" })), []);
  const judged = judge({ rules: [abandoned] }).look(snapshot().prepared(7, { age: "9m" }).build());
  assert.deepEqual(judged.decisions.map(brief), ["wait 60000 rollback-prepared gid-7"]);
  assert.equal(nextChangeMs(judged.decisions, judged.history, judged.circumstances), 60_000);
});

test("what is unknown of it never matches", () => {
  assert.deepEqual(briefs([abandoned], snapshot().prepared(7, { ageMs: null })), []);
  const owned = { ...abandoned, match: { ...abandoned.match, users: ["*"] } };
  assert.deepEqual(briefs([owned], snapshot().prepared(7, { user: "" })), []);
});

test("sessions are not judged by rules about prepared transactions, nor these by rules about sessions", () => {
  const sessions = { name: "s", match: { transaction_for: "1m", databases: ["app"] }, steps: ["terminate"] };
  const look = snapshot().prepared(7).session(1, { idle: "1h" });
  assert.deepEqual(briefs([abandoned, sessions], look), ["act terminate 1", "act rollback-prepared gid-7"]);
});

test("its waiters are counted, and the guard asks for them again", () => {
  const rule = {
    ...abandoned,
    match: { prepared: { gid: "gid-*" }, blocks: { tables: ["public.user_session"], for: "5s" } },
  };
  const [decision] = judge({ rules: [rule] }).look(stuck().build()).decisions;
  assert.ok(decision?.kind === "act");
  assert.deepEqual(decision.guard.blocks, {
    edges: [{ waiterPid: "2", blockerPid: "0", lock: "transactionid 7", mode: "ShareLock", counts: true }],
    waiters: 1,
  });
  assert.equal(decision.evidence.victim.kind, "prepared");
  assert.deepEqual(
    decision.evidence.waiters.map((waiter) => waiter.pid),
    ["2"],
  );
  assert.deepEqual(briefs([rule], stuck({}, "3s")), ["wait 2000 rollback-prepared gid-7"]);
  assert.deepEqual(briefs([rule], stuck({ age: "2s" })), ["wait 3000 rollback-prepared gid-7"]);
  assert.deepEqual(briefs([{ ...rule, match: { ...rule.match, blocks: { waiters: 2, for: "5s" } } }], stuck()), []);
});

test("it has had its tables since it was prepared, so who queues for one has been blocked since then", () => {
  const rule = { ...abandoned, match: { prepared: { gid: "gid-*" }, blocks: { for: "5s" } } };
  const look = (age: string) =>
    snapshot()
      .prepared(7, { age })
      .session(2, { xact: "20s" })
      .waits(2, { on: "prepared/7", for: "20s", locktype: "relation", table: "public.orders" });
  assert.deepEqual(briefs([rule], look("1h")), ["act rollback-prepared gid-7"]);
  assert.deepEqual(briefs([rule], look("2s")), ["wait 3000 rollback-prepared gid-7"]);
});

test("owner, database, locks and the age of its transaction id are asked of it too", () => {
  const look = snapshot().prepared(7).holds("prepared/7", "AccessExclusiveLock", "public.orders");
  for (const [match, expected] of [
    [{ users: ["app"] }, 1],
    [{ users: ["etl"] }, 0],
    [{ databases: ["app"] }, 1],
    [{ databases: ["ledger"] }, 0],
    [{ xmin_age: 100 }, 1],
    [{ xmin_age: 101 }, 0],
    [{ holds: { tables: ["public.orders"] } }, 1],
    [{ holds: { tables: ["public.users"] } }, 0],
  ] as const) {
    const rule = { ...abandoned, match: { ...abandoned.match, ...match } };
    assert.equal(briefs([rule], look).length, expected, JSON.stringify(match));
  }
});

test("except spares by gid and by age", () => {
  for (const except of [{ prepared: { gid: "gid-7" } }, { prepared: { for: "30m" } }, { users: "app" }])
    assert.deepEqual(briefs([{ ...abandoned, except }], snapshot().prepared(7)), ["spare except gid-7"]);
  const except = { prepared: { gid: "gid-8", for: "2h" } };
  assert.deepEqual(briefs([{ ...abandoned, except }], snapshot().prepared(7)), ["act rollback-prepared gid-7"]);
});

test("a superuser's, a protected user's and a protected database's are spared, applications and addresses not asked for", () => {
  const protect = { users: ["etl"], databases: ["ledger"], applications: ["batch*"], clients: ["10.0.0.9"] };
  for (const [described, by] of [
    [{ superuser: true }, "protect"],
    [{ superuser: null }, "unknown"],
    [{ user: "etl" }, "protect"],
    [{ user: "" }, "unknown"],
    [{ database: "ledger" }, "protect"],
    [{ database: "" }, "unknown"],
  ] as const)
    assert.deepEqual(briefs([abandoned], snapshot().prepared(7, described), { protect }), [`spare ${by} gid-7`]);
  assert.deepEqual(briefs([abandoned], snapshot().prepared(7), { protect }), ["act rollback-prepared gid-7"]);
});

test("observe, pause, follower and journal hold it back like every other act", () => {
  assert.deepEqual(briefs([abandoned], snapshot().prepared(7), { mode: "observe" }), ["spare observe gid-7"]);
  for (const [given, by] of [
    [{ paused: true }, "paused"],
    [{ leader: false }, "follower"],
    [{ journalled: false }, "journal"],
  ] as const)
    assert.deepEqual(briefs([abandoned], snapshot().prepared(7), {}, given), [`spare ${by} gid-7`]);
});

test("limits count them by their owner, the oldest first", () => {
  const look = snapshot().prepared(7, { age: "1h" }).prepared(8, { age: "2h" });
  assert.deepEqual(briefs([abandoned], look, { limits: { per_tick: 1 } }), [
    "act rollback-prepared gid-8",
    "spare limit gid-7",
  ]);
  const repeat = { limits: { repeat: { times: 1, within: "10m" } } };
  assert.deepEqual(briefs([abandoned], look, repeat), ["act rollback-prepared gid-8", "spare limit gid-7"]);
  const apart = snapshot().prepared(7).prepared(8, { user: "other" });
  assert.equal(briefs([abandoned], apart, repeat).filter((one) => one.startsWith("act")).length, 2);
  assert.deepEqual(briefs([{ ...abandoned, victims: "oldest" }], look), [
    "act rollback-prepared gid-8",
    "spare victims gid-7",
  ]);
});

test("after a rollback whoever stood behind it has its cooldown", () => {
  const rule = { ...abandoned, match: { prepared: { gid: "gid-*" }, blocks: { for: "5s" } } };
  const sessions = { name: "s", match: { idle_for: "1s", blocks: { for: "1s" } }, steps: ["terminate"] };
  const judging = judge({ rules: [rule, sessions] });
  const before = stuck().build();
  const [decision] = judging.look(before).decisions;
  const [compiled] = judging.rules;
  assert.ok(decision?.kind === "act" && compiled !== undefined);
  const outcome = { kind: "released", tookMs: 1, freed: [], next: null, text: "" } as const;
  judging.setHistory(afterOutcome(judging.history(), decision, outcome, compiled.rule, before.atMs));
  assert.equal(judging.history().acts.length, 1);
  const after = snapshot()
    .later("6s")
    .session(2, { idle: "5s", xact: "26s" })
    .session(3, { xact: "5s" })
    .waits(3, { on: 2, for: "5s", table: "public.user_session" });
  assert.deepEqual(judging.look(after.build()).decisions.map(brief), ["spare cooldown 2"]);
});

test("its ladder is one incident for as long as it is there", () => {
  const rule = { ...abandoned, steps: ["notify", { wait: "5s" }, "rollback-prepared"] };
  const judging = judge({ rules: [rule] });
  const first = judging.look(snapshot().prepared(7).build());
  assert.deepEqual(first.decisions.map(brief), ["act notify gid-7"]);
  const [decision] = first.decisions;
  const [compiled] = judging.rules;
  assert.ok(decision !== undefined && compiled !== undefined);
  const told = { kind: "released", tookMs: 0, freed: [], next: null, text: "told" } as const;
  judging.setHistory(afterOutcome(judging.history(), decision, told, compiled.rule, first.circumstances.atMs));
  const look = (later: string) => judging.look(snapshot().prepared(7).later(later).build());
  assert.deepEqual(look("2s").decisions.map(brief), ["wait 3000 rollback-prepared gid-7"]);
  assert.deepEqual(look("5s").decisions.map(brief), ["act rollback-prepared gid-7"]);
  judging.look(snapshot().prepared(7, { preparedAt: "another" }).later("6s").build());
  assert.deepEqual(
    [...judging.history().incidents.values()].map(({ step }) => step),
    [0],
  );
});

test("one that no rule of its own is about is still told by a rule on what it blocks", () => {
  const login = { name: "login", match: { idle_for: "10s", blocks: { for: "5s" } }, steps: ["terminate"] };
  const other = { ...abandoned, match: { prepared: { gid: "other-*", for: "1m" } } };
  const later = { ...abandoned, match: { prepared: { gid: "gid-*", for: "2h" } } };
  const excepted = { ...abandoned, except: { users: "app" } };
  assert.deepEqual(briefs([login, other], stuck()), ["spare protect gid-7"]);
  assert.deepEqual(briefs([login, later], stuck()), ["wait 3600000 rollback-prepared gid-7", "spare protect gid-7"]);
  assert.deepEqual(briefs([login, excepted], stuck()), ["spare except gid-7", "spare protect gid-7"]);
  assert.deepEqual(briefs([login, abandoned], stuck()), ["act rollback-prepared gid-7"]);
});

test("a calm look that finds one due asks for the locks first", () => {
  const judging = judge({ rules: [abandoned] });
  const { evaluation } = judging.see(snapshot().prepared(7).calm());
  assert.equal(evaluation.needsLocks, true);
  assert.equal(judging.see(snapshot().prepared(7, { age: "1m" }).calm()).evaluation.needsLocks, false);
});
