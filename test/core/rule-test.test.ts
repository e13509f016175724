import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActDecision, OutcomeKind } from "../../src/core/decision.ts";
import { compare, type Expected } from "../../src/core/expectation.ts";
import {
  afterSignal,
  type Change,
  emptyScenario,
  nextScenario,
  type Scenario,
  snapshotOf,
} from "../../src/core/scenario.ts";
import type { Session } from "../../src/core/session.ts";
import { judge } from "../support/judge.ts";
import { outcomesOf } from "../support/rule-test-text.ts";
import { snapshot } from "../support/snapshot.ts";

const start = Date.UTC(2026, 0, 5, 12);

/** The scenario after these changes, each at its second. */
function after(...changes: readonly (readonly [number, Partial<Change>])[]): Scenario {
  return changes.reduce(
    (scenario, [second, change]) =>
      nextScenario(scenario, { sessions: [], prepared: [], gone: [], ...change }, start + second * 1_000),
    emptyScenario,
  );
}

function seen(scenario: Scenario, second: number, pid = "1"): Session {
  const found = snapshotOf(scenario, "app", start + second * 1_000).sessions.find((one) => one.pid === pid);
  assert.ok(found, `there is no session ${pid}`);
  return found;
}

test("who is not mentioned again stays as he is, and all of his ages go on", () => {
  const scenario = after([0, { sessions: [{ pid: "1", idle_for: 10_000, transaction_for: 15_000 }] }]);
  const { state, stateMs, connectedMs, transaction } = seen(scenario, 7);
  assert.deepEqual([state, stateMs, connectedMs], ["idle in transaction", 17_000, 3_607_000]);
  assert.deepEqual(transaction, { kind: "open", startedAt: "2026-01-05T11:59:45.000Z", ageMs: 22_000, writeId: null });
  assert.equal(seen(scenario, 7).identity, seen(scenario, 0).identity);
});

test("who is mentioned again for something else keeps his ages and his wait", () => {
  const scenario = after(
    [
      0,
      {
        sessions: [
          { pid: "1", idle_for: 10_000 },
          { pid: "2", waits: { on: ["1"], for: 8_000 } },
        ],
      },
    ],
    [
      5,
      {
        sessions: [
          { pid: "1", application: "other" },
          { pid: "2", user: "other" },
        ],
      },
    ],
  );
  const { state, stateMs, application } = seen(scenario, 6);
  assert.deepEqual([state, stateMs, application], ["idle in transaction", 16_000, "other"]);
  assert.equal(seen(scenario, 6, "2").queryMs, 14_000);
  assert.equal(snapshotOf(scenario, "app", start + 6_000).waits?.[0]?.waitMs, 14_000);
});

test("a state that changes begins anew, its transaction goes on", () => {
  const first = [0, { sessions: [{ pid: "1", query_for: 60_000 }] }] as const;
  const scenario = after(first, [5, { sessions: [{ pid: "1", state: "idle in transaction" }] }]);
  const before = seen(after(first), 5);
  const { stateMs, transaction } = seen(scenario, 8);
  assert.equal(stateMs, 3_000);
  assert.equal(transaction.kind === "open" && transaction.ageMs, 68_000);
  assert.ok(transaction.kind === "open" && before.transaction.kind === "open");
  assert.equal(transaction.startedAt, before.transaction.startedAt);
});

test("another age of the transaction than was to be expected is another transaction, the expected one is the same", () => {
  const first = [0, { sessions: [{ pid: "1", query_for: 60_000 }] }] as const;
  const begun = (transaction_for: number): unknown => {
    const { transaction } = seen(after(first, [5, { sessions: [{ pid: "1", transaction_for }] }]), 5);
    return transaction.kind === "open" && transaction.startedAt;
  };
  assert.equal(begun(65_000), "2026-01-05T11:59:00.000Z");
  assert.equal(begun(60_000), "2026-01-05T11:59:05.000Z");
});

test("another statement begins with its text", () => {
  const scenario = after(
    [0, { sessions: [{ pid: "1", query_for: 60_000 }] }],
    [5, { sessions: [{ pid: "1", query: "select 2" }] }],
  );
  assert.equal(seen(scenario, 6).queryMs, 1_000);
});

test("idle out of a transaction is without one, and without a wait", () => {
  const scenario = after(
    [0, { sessions: [{ pid: "2" }, { pid: "1", waits: { on: ["2"], for: 5_000 } }] }],
    [1, { sessions: [{ pid: "1", state: "idle" }] }],
  );
  assert.deepEqual(seen(scenario, 2).transaction, { kind: "none" });
  assert.deepEqual(snapshotOf(scenario, "app", start).waits, []);
});

test("who waits runs a statement and a transaction as old as his wait; who is waited for has written", () => {
  const scenario = after([
    0,
    {
      sessions: [
        { pid: "1", idle_for: 0 },
        { pid: "2", waits: { on: ["1"], for: 5_000 } },
      ],
    },
  ]);
  const waiter = seen(scenario, 1, "2");
  assert.deepEqual([waiter.state, waiter.queryMs], ["active", 6_000]);
  assert.equal(waiter.transaction.kind === "open" && waiter.transaction.ageMs, 6_000);
  const { transaction } = seen(scenario, 1);
  assert.equal(transaction.kind === "open" && transaction.writeId !== null, true);
  assert.equal(waiter.transaction.kind === "open" && waiter.transaction.writeId, null);
});

test("who waits for the very same lock queues ahead, who holds another does not", () => {
  const table = ["public.t"];
  const scenario = after([
    0,
    {
      sessions: [
        { pid: "1" },
        { pid: "2", waits: { on: ["1"], table, locktype: "relation", mode: "AccessExclusiveLock" } },
        { pid: "3", waits: { on: ["2"], table, locktype: "relation" } },
        { pid: "4", waits: { on: ["3"] } },
      ],
    },
  ]);
  const { waits } = snapshotOf(scenario, "app", start);
  assert.deepEqual(
    waits?.map(({ waiter, blockers }) => [waiter, blockers]),
    [
      ["2", [{ node: "1", soft: false }]],
      ["3", [{ node: "2", soft: true }]],
      ["4", [{ node: "3", soft: false }]],
    ],
  );
});

test("a hidden session shows neither state nor transaction nor statement nor age", () => {
  const { role, state, stateMs, queryMs, query, transaction } = seen(
    after([0, { sessions: [{ pid: "1", hidden: true }] }]),
    1,
  );
  assert.deepEqual(
    { role, state, stateMs, queryMs, query, transaction },
    {
      role: "unknown",
      state: null,
      stateMs: null,
      queryMs: null,
      query: null,
      transaction: { kind: "unknown" },
    },
  );
});

/** What is left of a chain 1 ← 2 ← 3 after a signal to 1: who is there, who waits for whom. */
function chainAfter(action: "cancel" | "terminate", outcome: OutcomeKind): readonly string[] {
  const scenario = after([
    0,
    {
      sessions: [
        { pid: "1", query_for: 60_000, holds: [{ table: "public.t" }] },
        { pid: "2", waits: { on: ["1"] } },
        { pid: "3", waits: { on: ["2"] } },
      ],
    },
  ]);
  const [victim] = snapshotOf(scenario, "app", start).sessions;
  const act = { action, evidence: { victim } } as ActDecision;
  const left = snapshotOf(afterSignal(scenario, act, outcome, start), "app", start + 1_000);
  return [
    ...left.sessions.map(({ pid, state }) => `${pid} ${state}`).sort(),
    ...(left.waits ?? []).map(
      ({ waiter, blockers }) => `${waiter} waits for ${blockers.map(({ node }) => node).join()}`,
    ),
    ...(left.holds ?? []).map(({ holder }) => `${holder} holds`),
  ];
}

test("a terminated session is gone and its waiters go on; a cancelled one is idle; one that survived is as before", () => {
  assert.deepEqual(chainAfter("terminate", "released"), ["2 active", "3 active", "3 waits for 2"]);
  assert.deepEqual(chainAfter("cancel", "released"), ["1 idle", "2 active", "3 active", "3 waits for 2"]);
  const before = ["1 active", "2 active", "3 active", "2 waits for 1", "3 waits for 2", "1 holds"];
  for (const outcome of ["survived", "changed", "denied", "failed", "unknown"] as const)
    assert.deepEqual(chainAfter("terminate", outcome), before, outcome);
});

test("each decision meets one expectation, in whatever order, the more precise one first", () => {
  const rules = ["a", "b"].map((name) => ({ name, match: { idle_for: "30s" }, steps: ["notify"] }));
  const { decisions } = judge({ rules }).look(
    snapshot().session(1, { idle: "40s" }).session(2, { idle: "40s" }).build(),
  );
  const told = (line: number, pid: string, rule: string | null, reason: string | null = null): Expected => {
    return { line, kind: "act", action: "notify", outcome: "released", who: { pid }, rule, reason };
  };
  const all = [told(0, "2", null), told(1, "1", null), told(2, "2", "a"), told(3, "1", null, "idle for 40 s")];
  assert.deepEqual(compare(all, decisions).differences, []);
  const { differences } = compare([...all, told(4, "1", null), told(5, "3", null)], decisions);
  assert.deepEqual(
    differences.map(({ expected, got }) => [expected?.line, got]),
    [
      [4, null],
      [5, null],
    ],
  );
  const unexpected = compare(all.slice(0, 3), decisions).differences;
  assert.deepEqual(
    unexpected.map(({ expected, got }) => [expected, got?.evidence.victim.key, got?.rule]),
    [[null, "1", "b"]],
  );
});

/** One look at these sessions, by a rule on abandoned transactions that block. */
function look(sessions: string, expected: string): readonly string[] {
  return outcomesOf(`
rules: [{name: r, match: {idle_for: 30s, users: [app], blocks: {for: 5s}}, steps: [terminate]}]
tests: [{name: t, looks: [{at: 0s, sessions: [${sessions}], expect: [${expected}]}]}]
`);
}

const waiter = "{pid: 2, waits: {on: 1, for: 9s}}";
const act = "{act: terminate, pid: 1}";

for (const [name, sessions, expected, told] of [
  ["as expected", `{pid: 1, idle_for: 1m}, ${waiter}`, act, []],
  [
    "of an age that is not reached",
    `{pid: 1, idle_for: 29500ms}, ${waiter}`,
    act,
    [
      "look 0: terminate session 1 / wait 0.5 s, then terminate session 1 by rule r: idle in transaction, user app, idle for 29 s, blocks 1 session, has blocked for 9 s; due in 500 ms if nothing changes",
    ],
  ],
  [
    "of another moment",
    `{pid: 1, idle_for: 20s}, ${waiter}`,
    "{wait: terminate, pid: 1, in: 11s}",
    [
      "look 0: wait 11 s, then terminate session 1 / wait 10 s, then terminate session 1 by rule r: idle in transaction, user app, idle for 20 s, blocks 1 session, has blocked for 9 s; due in 10 s if nothing changes",
    ],
  ],
  [
    "of another reason to be spared",
    `{pid: 1, idle_for: 1m, superuser: true}, ${waiter}`,
    "{spare: except, pid: 1}",
    [
      "look 0: spare session 1 (except) / spare session 1 (protect, else terminate) by rule r: idle in transaction, user app, idle for 1 min, blocks 1 session, has blocked for 9 s; belongs to a superuser",
    ],
  ],
  [
    "of another state",
    `{pid: 1, query_for: 1m}, ${waiter}`,
    act,
    ["look 0: terminate session 1 / nothing: rule r: idle_for: expected at least 30 s, got not idle in a transaction"],
  ],
  [
    "of an unknown user",
    `{pid: 1, idle_for: 1m, user: null}, ${waiter}`,
    act,
    [
      "look 0: terminate session 1 / nothing: rule r: users: expected app, got user unknown; an unknown value never matches",
    ],
  ],
  [
    "of nobody's blocker",
    "{pid: 1, idle_for: 1m}",
    act,
    ["look 0: terminate session 1 / nothing: rule r: blocks.waiters: expected at least 1, got blocks nobody"],
  ],
  [
    "of a deadlock",
    "{pid: 1, waits: {on: 2}}, {pid: 2, waits: {on: 1}}",
    act,
    ["look 0: terminate session 1 / nothing: rule r: it is in a deadlock, which the server itself resolves"],
  ],
  [
    "of Lockwarden itself",
    `{pid: 1, idle_for: 1m, own: true}, ${waiter}`,
    act,
    ["look 0: terminate session 1 / nothing: it is Lockwarden's own: no rule is ever about it"],
  ],
  [
    "of a parallel worker",
    "{pid: 9}, {pid: 1, leader: 9}",
    act,
    ["look 0: terminate session 1 / nothing: it is a parallel worker: its leader 9 is judged for it"],
  ],
  [
    "of an autovacuum worker",
    "{pid: 1, role: internal}",
    act,
    ["look 0: terminate session 1 / nothing: it is no client backend but autovacuum worker"],
  ],
  [
    "of one whose transaction is hidden",
    "{pid: 1, idle_for: 1m, transaction_for: null}",
    act,
    ["look 0: terminate session 1 / nothing: its transaction does not show"],
  ],
] as const)
  test(`the difference says what decided: ${name}`, () => {
    assert.deepEqual(look(sessions, expected), told);
  });

test("what is decided and not expected fails, whatever it is", () => {
  const [told, ...more] = look(`{pid: 1, idle_for: 1m, superuser: true}, ${waiter}`, "");
  assert.match(told ?? "", /^look 0: nothing \/ spare session 1 \(protect, else terminate\) by rule r: .*superuser$/);
  assert.deepEqual(more, []);
});

test("an act on somebody who has left by then is missed by name", () => {
  const told = outcomesOf(`
rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]
tests:
  - name: t
    looks:
      - {at: 0s, sessions: [{pid: 1, idle_for: 1m}], expect: [{act: terminate, pid: 1}]}
      - {at: 1s, expect: [{act: terminate, pid: 1}]}
      - {at: 2s, expect: [{act: terminate, pid: 1}]}
`);
  assert.deepEqual(told, ["look 1: terminate session 1 / nothing: there is no session 1 at this moment"]);
});

test("a look without expect is passed over, and what it does still counts", () => {
  const told = outcomesOf(`
rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]
tests:
  - name: t
    looks:
      - {at: 0s, sessions: [{pid: 1, idle_for: 1m}]}
      - {at: 1s, expect: []}
`);
  assert.deepEqual(told, []);
});
