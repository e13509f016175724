import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decision, Outcome } from "../../src/core/decision.ts";
import { nextChangeMs } from "../../src/core/plan.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { brief, judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const stuckLogin = {
  name: "stuck-login",
  match: { state: "idle in transaction", idle_for: "30s", blocks: { tables: ["public.user_session"], for: "5s" } },
  steps: ["terminate"],
};

function outcome(kind: Outcome["kind"]): Outcome {
  return { kind, tookMs: 1, freed: [], next: null, text: kind };
}

/** An abandoned transaction, 1, and one person who waits for its row, 2. */
function stuck(idle = "40s", waited = "20s"): SnapshotBuilder {
  return snapshot()
    .session(1, { idle })
    .session(2, { xact: waited })
    .waits(2, { on: 1, for: waited, table: "public.user_session" });
}

function briefs(rules: readonly object[], look: SnapshotBuilder, more: object = {}): string[] {
  return judge({ rules, ...more })
    .look(look.build())
    .decisions.map(brief);
}

test("the abandoned transaction that holds the login row is terminated", () => {
  assert.deepEqual(briefs([stuckLogin], stuck()), ["act terminate 1"]);
});

test("the guard re-checks the state's last change, and that the waiter is still behind it", () => {
  const [decision] = judge({ rules: [stuckLogin] }).look(stuck().build()).decisions;
  assert.equal(decision?.kind, "act");
  assert.deepEqual(decision?.kind === "act" && decision.guard, {
    sinceState: true,
    sinceQuery: false,
    blocks: {
      edges: [{ waiterPid: "2", blockerPid: "1", lock: "transactionid 1", mode: "ShareLock", counts: true }],
      waiters: 1,
    },
    waits: null,
    notMaintenance: true,
  });
});

test("the moment when a threshold will be crossed is known beforehand", () => {
  assert.deepEqual(briefs([stuckLogin], stuck("29s", "20s")), ["wait 1000 terminate 1"]);
  const judged = judge({ rules: [stuckLogin] }).look(stuck("29s", "2s").build());
  assert.equal(nextChangeMs(judged.decisions, judged.history, judged.circumstances), 3_000);
});

for (const [innocent, look] of [
  ["an idle transaction that blocks nobody", snapshot().session(1, { idle: "1h" })],
  [
    "a busy writer that blocks",
    snapshot()
      .session(1, { xact: "1m" })
      .session(2, { xact: "1m" })
      .waits(2, { on: 1, for: "1m", table: "public.user_session" }),
  ],
  [
    "a blocker on another table",
    snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "1m", table: "public.orders" }),
  ],
  [
    "a waiter in the middle of a chain",
    snapshot()
      .session(3, { xact: "2m" })
      .session(1, { idle: "1m" })
      .waits(1, { on: 3, for: "1m", table: "public.x" })
      .session(2)
      .waits(2, { on: 1, for: "1m", table: "public.user_session" }),
  ],
  ["a walsender", stuckBy({ role: "replication" })],
  ["a parallel worker", stuckBy({ group: "9" })],
  ["Lockwarden itself", stuckBy({ own: true })],
  [
    "one that blocks only through an advisory lock",
    snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "1m", locktype: "advisory" }),
  ],
  [
    "one that blocks only CREATE INDEX CONCURRENTLY",
    snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "1m", locktype: "virtualxid" }),
  ],
] as const) {
  test(`${innocent} is nobody's victim`, () => {
    assert.deepEqual(briefs([stuckLogin], look), []);
  });
}

function stuckBy(described: Parameters<SnapshotBuilder["session"]>[1]): SnapshotBuilder {
  return snapshot()
    .session(1, { idle: "40s", ...described })
    .session(2)
    .waits(2, { on: 1, for: "20s", table: "public.user_session" });
}

for (const [who, described, by] of [
  ["a superuser", { superuser: true }, "protect"],
  ["one who may be a superuser", { superuser: null }, "unknown"],
  ["pg_dump", { application: "pg_dump (nightly)" }, "protect"],
  ["an unknown application", { application: null }, "unknown"],
  ["maintenance", { maintenance: true }, "protect"],
  ["a commit that waits for its standby", { waitEvent: "IPC:SyncRep" }, "protect"],
] as const) {
  test(`${who} is spared, and the decision says so`, () => {
    assert.deepEqual(briefs([stuckLogin], stuckBy(described)), [`spare ${by} 1`]);
  });
}

test("one whose state is hidden is nobody's victim, and is told", () => {
  const look = snapshot().session(1, { hidden: true }).session(2);
  assert.deepEqual(briefs([stuckLogin], look.waits(2, { on: 1, for: "1m", table: "public.user_session" })), [
    "spare unknown 1",
  ]);
});

test("superusers, maintenance and backups are lifted by name; a standby's commit never is", () => {
  const lifted = { protect: { superusers: false, maintenance: false, backups: false } };
  for (const described of [
    { superuser: true },
    { application: "pg_dump" },
    { maintenance: true },
    { superuser: null },
  ]) {
    assert.deepEqual(briefs([stuckLogin], stuckBy(described), lifted), ["act terminate 1"]);
  }
  assert.deepEqual(briefs([stuckLogin], stuckBy({ waitEvent: "SyncRep" }), lifted), ["spare protect 1"]);
});

test("lists of protect add to the defaults", () => {
  const more = { protect: { applications: ["batch*"], users: ["etl"], databases: ["ledger"], clients: ["10.0.0.9"] } };
  for (const described of [
    { application: "pg_dump" },
    { application: "batch 7" },
    { user: "etl" },
    { database: "ledger" },
    { client: "10.0.0.9" },
  ]) {
    assert.deepEqual(briefs([stuckLogin], stuckBy(described), more), ["spare protect 1"]);
  }
});

test("except spares whom it names, and whom it cannot tell", () => {
  const rule = { ...stuckLogin, except: { users: ["migrator"] } };
  assert.deepEqual(briefs([rule], stuckBy({ user: "migrator" })), ["spare except 1"]);
  assert.deepEqual(briefs([rule], stuckBy({ user: null })), ["spare unknown 1"]);
  assert.deepEqual(briefs([rule], stuckBy({ user: "app" })), ["act terminate 1"]);
});

test("an unknown value never matches", () => {
  for (const match of [{ users: ["*"] }, { databases: ["*"] }, { applications: ["*"] }, { clients: ["10.0.0.1"] }]) {
    const rule = { ...stuckLogin, match: { ...stuckLogin.match, ...match } };
    const field = Object.keys(match)[0]?.replace(/s$/, "") ?? "";
    assert.deepEqual(briefs([rule], stuckBy({ [field]: null }), { protect: { backups: false } }), [], field);
    assert.deepEqual(briefs([rule], stuckBy({})), ["act terminate 1"], field);
  }
});

test("who holds no transactions back is known not to, whom nobody can see into is not", () => {
  const except = { xmin_age: 1_000 };
  assert.deepEqual(briefs([{ ...stuckLogin, except }], stuck()), ["act terminate 1"]);
  assert.deepEqual(briefs([{ ...stuckLogin, except }], stuckBy({ xminAge: 1_000 })), ["spare except 1"]);
  const match = { xmin_age: 1_000, transaction_for: "1s" };
  const rule = { name: "r", match, steps: ["terminate"] };
  assert.deepEqual(briefs([rule], stuckBy({ xminAge: 999 })), []);
  assert.deepEqual(briefs([rule], stuckBy({ xminAge: 1_000 })), ["act terminate 1"]);
});

test("observe anywhere wins", () => {
  assert.deepEqual(briefs([stuckLogin], stuck(), { mode: "observe" }), ["spare observe 1"]);
  assert.deepEqual(briefs([{ ...stuckLogin, mode: "observe" }], stuck()), ["spare observe 1"]);
  assert.deepEqual(briefs([{ ...stuckLogin, mode: "enforce" }], stuck(), { mode: "observe" }), ["spare observe 1"]);
});

for (const [given, by] of [
  [{ paused: true }, "paused"],
  [{ leader: false }, "follower"],
  [{ journalled: false }, "journal"],
] as const) {
  test(`nothing is sent when it is ${by}`, () => {
    const { decisions } = judge({ rules: [stuckLogin] }, given).look(stuck().build());
    assert.deepEqual(decisions.map(brief), [`spare ${by} 1`]);
  });
}

test("where the server does not say which table a row is in, acting needs all candidates and telling any", () => {
  const look = snapshot()
    .session(1, { idle: "1m" })
    .session(2)
    .waits(2, { on: 1, for: "1m", candidates: ["public.user_session", "public.orders"] });
  assert.deepEqual(briefs([stuckLogin], look), []);
  assert.deepEqual(briefs([{ ...stuckLogin, steps: ["notify"] }], look), ["act notify 1"]);
  const both = {
    ...stuckLogin,
    match: { ...stuckLogin.match, blocks: { tables: ["public.user_session", "public.ord*"], for: "5s" } },
  };
  assert.deepEqual(briefs([both], look), ["act terminate 1"]);
});

test("a rule on a parent holds for its partitions, in one database where it names one", () => {
  const look = snapshot()
    .session(1, { idle: "1m" })
    .session(2)
    .waits(2, { on: 1, for: "1m", table: "public.user_session_2026<public.user_session" });
  assert.deepEqual(briefs([stuckLogin], look), ["act terminate 1"]);
  const inDatabase = (name: string) => ({
    ...stuckLogin,
    match: { ...stuckLogin.match, blocks: { tables: [name], for: "5s" } },
  });
  assert.deepEqual(briefs([inDatabase("app.public.user_session")], look), ["act terminate 1"]);
  assert.deepEqual(briefs([inDatabase("other.public.user_session")], look), []);
});

test("waiters are counted once each, indirect ones included", () => {
  const look = snapshot()
    .session(1, { idle: "1m" })
    .session(2, { xact: "1m" })
    .session(3)
    .waits(2, { on: 1, for: "1m", table: "public.user_session" })
    .waits(3, { on: 2, for: "50s", table: "public.user_session", locktype: "tuple" });
  const needing = (waiters: number) => ({
    ...stuckLogin,
    match: { ...stuckLogin.match, blocks: { waiters, for: "5s" } },
  });
  assert.deepEqual(briefs([needing(2)], look), ["act terminate 1"]);
  assert.deepEqual(briefs([needing(3)], look), []);
});

test("without the server's word on a wait, blocking counts from the first look that saw it", () => {
  const { look } = judge({ rules: [stuckLogin] });
  const seen = () => snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, table: "public.user_session" });
  assert.deepEqual(look(seen().build()).decisions.map(brief), ["wait 5000 terminate 1"]);
  assert.deepEqual(look(seen().later("3s").build()).decisions.map(brief), ["wait 2000 terminate 1"]);
  assert.deepEqual(look(seen().later("5s").build()).decisions.map(brief), ["act terminate 1"]);
});

test("blocking that stopped in between begins anew", () => {
  const { look } = judge({ rules: [stuckLogin] });
  const seen = () => snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, table: "public.user_session" });
  look(seen().build());
  look(snapshot().session(1, { idle: "1m" }).session(2).later("3s").build());
  assert.deepEqual(look(seen().later("6s").build()).decisions.map(brief), ["wait 5000 terminate 1"]);
});

test("one that was itself queueing a moment ago has blocked only since then, however long others have waited", () => {
  const rule = { name: "r", match: { blocks: { for: "5s" } }, steps: ["terminate"] };
  const { look } = judge({ rules: [rule] });
  const relationWait = { locktype: "relation", mode: "AccessExclusiveLock", table: "public.t", lock: "relation t" };
  look(
    snapshot()
      .session(9, { xact: "4s" })
      .session(1, { xact: "1m" })
      .session(2, { xact: "1m" })
      .waits(1, { on: 9, for: "50s", ...relationWait })
      .waits(2, { on: 1, for: "49s", soft: true, ...relationWait })
      .build(),
  );
  const after = snapshot()
    .later("1s")
    .session(1, { xact: "61s" })
    .session(2, { xact: "61s" })
    .waits(2, { on: 1, for: "50s", ...relationWait });
  // When in that second it got the table nobody knows: it counts from the look that saw it free.
  assert.deepEqual(look(after.build()).decisions.map(brief), ["wait 5000 terminate 1"]);
  assert.deepEqual(look(after.later("2s").build()).decisions.map(brief), ["wait 3000 terminate 1"]);
});

test("a storm on one row gets nobody killed: each holder has blocked only since it got the row", () => {
  const rule = { name: "r", match: { transaction_for: "10s", blocks: { for: "5s" } }, steps: ["terminate"] };
  const { look } = judge({ rules: [rule] });
  for (let second = 0; second < 20; second++) {
    // Whoever was seen to wait counts from the look that sees it free; before that the server's own word is enough.
    const left = second === 0 ? 4_100 : 5_000;
    const holder = 10 + second;
    const queue = snapshot()
      .later(`${second + 1}s`)
      .session(holder, { xact: "1m" })
      .session(holder + 1, { xact: "1m" })
      .waits(holder + 1, { on: holder, for: "900ms", table: "public.user_session" });
    assert.deepEqual(look(queue.build()).decisions.map(brief), [`wait ${left} terminate ${holder}`]);
  }
});

test("a cancel is passed over for an idle session, and the reason says why", () => {
  const rule = { ...stuckLogin, steps: ["cancel", { wait: "10s" }, "terminate"] };
  const [decision] = judge({ rules: [rule] }).look(stuck().build()).decisions;
  assert.equal(decision && brief(decision), "act terminate 1");
  assert.match(decision?.reason.text ?? "", /cancel is passed over: it does nothing to an idle session/);
});

test("a rule that can only cancel leaves an idle session to people", () => {
  const rule = { name: "r", match: { transaction_for: "10s" }, steps: ["cancel"] };
  assert.deepEqual(briefs([rule], stuck()), ["spare idle 1"]);
});

test("the ladder goes cancel, wait, terminate, and what the cancel changed does not reset it", () => {
  const rule = {
    name: "runaway",
    match: { state: "active", query_for: "1m" },
    steps: ["cancel", { wait: "10s" }, "terminate"],
  };
  const judging = judge({ rules: [rule] });
  const running = snapshot().session(1, { xact: "2m", query_age: "2m" });
  const first = judging.look(running.build());
  assert.deepEqual(first.decisions.map(brief), ["act cancel 1"]);
  settle(judging, first.decisions, "survived", running.build().atMs);
  const idleNow = (age: string) => snapshot().later(age).session(1, { idle: age, xact: "2m" });
  assert.deepEqual(judging.look(idleNow("4s").build()).decisions.map(brief), ["wait 6000 terminate 1"]);
  const third = judging.look(idleNow("10s").build());
  assert.deepEqual(third.decisions.map(brief), ["act terminate 1"]);
  settle(judging, third.decisions, "survived", idleNow("10s").build().atMs);
  assert.deepEqual(judging.look(idleNow("11s").build()).decisions.map(brief), ["spare done 1"]);
});

test("what the role may not signal is for a person: nothing is tried again", () => {
  const judging = judge({ rules: [stuckLogin] });
  const first = judging.look(stuck().build());
  settle(judging, first.decisions, "denied", stuck().build().atMs);
  assert.deepEqual(judging.look(stuck().later("1s").build()).decisions.map(brief), ["spare done 1"]);
});

test("a victim that changed is judged anew", () => {
  const judging = judge({ rules: [stuckLogin] });
  settle(judging, judging.look(stuck().build()).decisions, "changed", stuck().build().atMs);
  assert.deepEqual(judging.look(stuck().later("1s").build()).decisions.map(brief), ["act terminate 1"]);
});

function settle(
  judging: ReturnType<typeof judge>,
  decisions: readonly Decision[],
  kind: Outcome["kind"],
  atMs: number,
): void {
  for (const decision of decisions) {
    const rule = judging.rules.find((one) => one.rule.name === decision.rule)?.rule;
    assert.ok(rule);
    if (decision.kind === "act")
      judging.setHistory(afterOutcome(judging.history(), decision, outcome(kind), rule, atMs));
  }
}

test("a successor on the freed lock has its cooldown, and another stuck row is freed at once", () => {
  const rule = { name: "r", match: { transaction_for: "10s", blocks: { for: "1s" } }, steps: ["terminate"] };
  const judging = judge({ rules: [rule] });
  const before = snapshot()
    .session(1, { idle: "40s" })
    .session(2, { xact: "30s" })
    .session(3, { xact: "30s" })
    .waits(2, { on: 1, for: "20s", table: "public.t" })
    .waits(3, { on: 2, for: "20s", table: "public.t", locktype: "tuple" });
  settle(judging, judging.look(before.build()).decisions, "released", before.build().atMs);
  const successor = (later: string) =>
    snapshot()
      .later(later)
      .session(2, { idle: "30s", xact: "60s" })
      .session(3, { xact: "60s" })
      .session(5, { xact: "60s" })
      .waits(3, { on: 2, for: "6s", table: "public.t" })
      .waits(5, { on: 3, for: "5s", table: "public.t", locktype: "tuple" })
      .session(7, { idle: "50s" })
      .session(8, { xact: "40s" })
      .waits(8, { on: 7, for: "30s", table: "public.t" });
  assert.deepEqual(judging.look(successor("6s").build()).decisions.map(brief), ["spare cooldown 2", "act terminate 7"]);
  // Whoever joined the queue behind a successor is one as well.
  const joined = snapshot()
    .later("20s")
    .session(5, { idle: "10s", xact: "60s" })
    .session(6, { xact: "10s" })
    .waits(6, { on: 5, for: "9s", table: "public.t" });
  assert.deepEqual(judging.look(joined.build()).decisions.map(brief), ["spare cooldown 5"]);
  assert.deepEqual(judging.look(successor("31s").build()).decisions.map(brief), ["act terminate 2", "act terminate 7"]);
});

test("only so many are signalled in one look, oldest first; the rest are told", () => {
  let look = snapshot();
  for (let pid = 1; pid <= 8; pid++) look = look.session(pid, { idle: `${60 + pid}s`, application: `web ${pid}` });
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["terminate"] };
  assert.deepEqual(briefs([rule], look, { limits: { per_tick: 3 } }), [
    "act terminate 8",
    "act terminate 7",
    "act terminate 6",
    ...[5, 4, 3, 2, 1].map((pid) => `spare limit ${pid}`),
  ]);
});

test("a repeat offender is signalled only so often, others still are", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["terminate"] };
  const judging = judge({ rules: [rule], limits: { repeat: { times: 2, within: "10m" } } });
  for (let round = 1; round <= 2; round++) {
    const look = snapshot().later(`${round}m`).session(round, { idle: "40s" }).build();
    settle(judging, judging.look(look).decisions, "released", look.atMs);
  }
  const third = snapshot().later("3m").session(3, { idle: "41s" }).session(4, { idle: "40s", user: "other" });
  assert.deepEqual(judging.look(third.build()).decisions.map(brief), ["spare limit 3", "act terminate 4"]);
  const later = snapshot().later("12m").session(5, { idle: "41s" });
  assert.deepEqual(judging.look(later.build()).decisions.map(brief), ["act terminate 5"]);
});

test("only so many are signalled in a minute, and it is known when there is room again", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["terminate"] };
  const judging = judge({ rules: [rule], limits: { per_minute: 1 } });
  const first = snapshot().session(1, { idle: "40s" }).build();
  settle(judging, judging.look(first).decisions, "released", first.atMs);
  const second = judging.look(snapshot().later("20s").session(2, { idle: "40s", user: "b" }).build());
  assert.deepEqual(second.decisions.map(brief), ["spare limit 2"]);
  assert.equal(nextChangeMs(second.decisions, second.history, second.circumstances), 40_000);
});

test("victims: oldest takes the one whose transaction began first", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, victims: "oldest", steps: ["terminate"] };
  const look = snapshot().session(1, { idle: "40s" }).session(2, { idle: "40s", xact: "1h" });
  assert.deepEqual(briefs([rule], look), ["act terminate 2", "spare victims 1"]);
});

test("two rules on one session signal it once", () => {
  const rules = [
    { name: "a", match: { idle_for: "30s" }, steps: ["terminate"] },
    { name: "b", match: { transaction_for: "30s" }, steps: ["terminate"] },
  ];
  assert.deepEqual(briefs(rules, snapshot().session(1, { idle: "40s" })), ["act terminate 1", "spare other-rule 1"]);
});

test("a rule for waiters selects the waiting ALTER TABLE, not the root it waits for", () => {
  const rule = {
    name: "ddl-jam",
    match: { waits: { modes: ["AccessExclusiveLock"], for: "10s" }, blocks: { waiters: 2 } },
    steps: ["cancel"],
  };
  const relation = { locktype: "relation", table: "public.orders", lock: "relation orders" };
  const look = snapshot()
    .session(1, { xact: "1h" })
    .session(2, { xact: "20s" })
    .session(3)
    .session(4)
    .waits(2, { on: 1, for: "20s", mode: "AccessExclusiveLock", ...relation })
    .waits(3, { on: 2, for: "9s", mode: "AccessShareLock", soft: true, ...relation })
    .waits(4, { on: 2, for: "9s", mode: "AccessShareLock", soft: true, ...relation });
  const { decisions } = judge({
    rules: [{ ...rule, match: { ...rule.match, blocks: { waiters: 2, for: "5s" } } }],
  }).look(look.build());
  assert.deepEqual(decisions.map(brief), ["act cancel 2"]);
  assert.deepEqual(decisions[0]?.kind === "act" && decisions[0].guard.waits, {
    lock: "relation orders",
    mode: "AccessExclusiveLock",
    waitAt: new Date(Date.UTC(2026, 0, 1, 12) - 20_000).toISOString(),
  });
});

test("a session without a transaction is hit only by a rule that names the state idle", () => {
  const idle = snapshot().session(1, { state: "idle", stateMs: 3_600_000, transaction: { kind: "none" } } as never);
  assert.deepEqual(briefs([{ name: "r", match: { connected_for: "1m" }, steps: ["terminate"] }], idle), [
    "spare no-transaction 1",
  ]);
  assert.deepEqual(briefs([{ name: "r", match: { state: "idle", idle_for: "1m" }, steps: ["terminate"] }], idle), [
    "act terminate 1",
  ]);
  assert.deepEqual(briefs([{ name: "r", match: { idle_for: "1m" }, steps: ["terminate"] }], idle), []);
});

test("the query of an idle session decides nothing: it is only its last statement", () => {
  const rule = { name: "r", match: { query: "user_session", transaction_for: "10s" }, steps: ["cancel"] };
  assert.deepEqual(briefs([rule], snapshot().session(1, { idle: "1m" })), []);
  assert.deepEqual(briefs([rule], snapshot().session(1, { xact: "1m" })), ["act cancel 1"]);
});

test("another server is another story: nothing seen before counts", () => {
  const judging = judge({ rules: [stuckLogin] });
  judging.look(
    snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, table: "public.user_session" }).build(),
  );
  const elsewhere = snapshot()
    .later("9s")
    .session(1, { idle: "1m" })
    .session(2)
    .waits(2, { on: 1, table: "public.user_session" })
    .build();
  assert.deepEqual(judging.look({ ...elsewhere, serverId: "2" }).decisions.map(brief), ["wait 5000 terminate 1"]);
});
