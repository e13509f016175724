import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decision, Outcome } from "../../src/core/decision.ts";
import { nextChangeMs } from "../../src/core/next-change.ts";
import { afterOutcome, afterProbe } from "../../src/core/remember.ts";
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

function stuckBy(described: Parameters<SnapshotBuilder["session"]>[1]): SnapshotBuilder {
  return snapshot()
    .session(1, { idle: "40s", ...described })
    .session(2)
    .waits(2, { on: 1, for: "20s", table: "public.user_session" });
}

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

test("only so many are signalled in a minute, and it is known when there is room again", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["terminate"] };
  const judging = judge({ rules: [rule], limits: { per_minute: 1 } });
  const first = snapshot().session(1, { idle: "40s" }).build();
  settle(judging, judging.look(first).decisions, "released", first.atMs);
  const second = judging.look(snapshot().later("20s").session(2, { idle: "40s", user: "b" }).build());
  assert.deepEqual(second.decisions.map(brief), ["spare limit 2"]);
  assert.equal(nextChangeMs(second.decisions, second.history, second.circumstances), 40_000);
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

test("a rule whose probe has just spared somebody comes after the others: it takes neither their victims nor their room", () => {
  const idle = { match: { idle_for: "5s" }, steps: ["terminate"] };
  const probed = { ...idle, name: "probed", probe: { sql: "select 1" } };
  const plain = { ...idle, name: "plain", match: { idle_for: "5s", users: ["etl"] } };
  const here = judge({ rules: [probed, plain], limits: { per_tick: 1 } });
  const look = snapshot().session(1, { idle: "1m" }).session(2, { idle: "30s", user: "etl" });
  const lookAgain = () => here.look(look.build()).decisions.map((one) => `${brief(one)} ${one.rule}`);
  const first = lookAgain();
  assert.equal(first[0], "act terminate 1 probed");
  here.setHistory(afterProbe(here.history(), "probed", 1));
  assert.deepEqual(lookAgain(), ["act terminate 2 plain", "spare limit 1 probed", "spare other-rule 2 probed"]);
  here.setHistory(afterProbe(here.history(), "probed", null));
  assert.deepEqual(lookAgain(), first);
});

test("a last step that could not be sent is tried again at later looks, three times in all; one before it gives way to the next", () => {
  for (const [steps, expected] of [
    [["terminate"], ["act terminate 1", "act terminate 1", "act terminate 1", "spare done 1"]],
    [
      ["cancel", "terminate"],
      ["act cancel 1", "act terminate 1", "act terminate 1", "act terminate 1", "spare done 1"],
    ],
  ] as const) {
    const here = judge({ rules: [{ name: "r", match: { transaction_for: "5s" }, steps }] });
    const seen = expected.map(() => {
      const [decision] = here.look(snapshot().session(1, { xact: "1m" }).build()).decisions;
      assert.ok(decision !== undefined);
      const rule = here.rules[0]?.rule;
      assert.ok(rule !== undefined);
      if (decision.kind === "act")
        here.setHistory(afterOutcome(here.history(), decision, outcome("failed"), rule, Date.UTC(2026, 0, 1, 12)));
      return brief(decision);
    });
    assert.deepEqual(seen, expected);
  }
});
