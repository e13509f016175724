import assert from "node:assert/strict";
import { test } from "node:test";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { brief, judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

// What keeps a look cheap on a crowded server, and must not change what it decides.

const queue = snapshot()
  .session(1, { idle: "1m" })
  .session(2)
  .session(3)
  .session(4)
  .waits(4, { on: 3, for: "10s" })
  .waits(3, { on: 2, for: "20s" })
  .waits(2, { on: 1, for: "30s" })
  .build();

test("only a session's own locks decide, and only they are evidence", () => {
  const { look } = judge({
    rules: [{ name: "writer", match: { idle_for: "30s", holds: { tables: "public.a" } }, steps: ["terminate"] }],
  });
  const seen = snapshot()
    .session(1, { idle: "1m" })
    .session(2, { idle: "1m" })
    .session(3, { idle: "1m" })
    .holds(1, "RowExclusiveLock", "public.a")
    .holds(2, "RowExclusiveLock", "public.b")
    .holds(1, "AccessShareLock", "public.b")
    .build();
  const { decisions } = look(seen);
  assert.deepEqual(decisions.map(brief), ["act terminate 1"]);
  assert.deepEqual(
    decisions.flatMap(({ evidence }) => evidence.holds.map((hold) => `${hold.holder} ${hold.mode}`)),
    ["1 RowExclusiveLock", "1 AccessShareLock"],
  );
});

test("where there were too many locks to read, an exception for them spares", () => {
  const match = { idle_for: "30s" };
  const { look } = judge({
    rules: [{ name: "writer", match, except: { holds: { tables: "public.a" } }, steps: ["terminate"] }],
  });
  const seen = snapshot().session(1, { idle: "1m" }).build();
  assert.deepEqual(look(seen).decisions.map(brief), ["act terminate 1"]);
  assert.deepEqual(look({ ...seen, holds: null }).decisions.map(brief), ["spare unknown 1"]);
});

test("waiters come nearest first, and nobody is looked at beyond the one that is enough", () => {
  let asked = 0;
  const locktypes = new Set(["transactionid"]);
  const counting = Object.assign(new Set<string>(), {
    has: (locktype: string) => {
      asked++;
      return locktypes.has(locktype);
    },
  });
  const { behind } = waitGraph(queue);
  const [first] = behind("1", counting, 1);
  assert.deepEqual([first?.waiter, first?.depth, asked], ["2", 1, 1]);
  assert.deepEqual(
    Array.from(behind("1", locktypes), ({ waiter, blocker, depth }) => `${waiter} behind ${blocker}, ${depth}`),
    ["2 behind 1, 1", "3 behind 2, 2", "4 behind 3, 3"],
  );
  assert.deepEqual([...behind("4", locktypes)], []);
});

test("a rule on waiters reaches those far behind, though only direct ones say since when", () => {
  const rules = [{ name: "jam", match: { blocks: { waiters: 3, for: "25s" } }, steps: ["terminate"] }];
  assert.deepEqual(judge({ rules }).look(queue).decisions.map(brief), ["act terminate 1"]);
  const farOnly = { ...rules[0], match: { blocks: { waiters: 1, for: "25s", users: "far" } } };
  const far = { ...queue, sessions: queue.sessions.map((one) => (one.pid === "4" ? { ...one, user: "far" } : one)) };
  assert.deepEqual(
    judge({ rules: [farOnly] })
      .look(far)
      .decisions.map(brief),
    ["wait 25000 terminate 1"],
  );
});

test("one pattern on tables answers for each table by itself", () => {
  const { look } = judge({
    rules: [{ name: "login", match: { idle_for: "30s", blocks: { tables: "public.login" } }, steps: ["terminate"] }],
  });
  const seen = snapshot()
    .session(1, { idle: "1m" })
    .session(2, { idle: "1m" })
    .session(3)
    .session(4)
    .waits(3, { on: 1, for: "10s", table: "public.orders" })
    .waits(4, { on: 2, for: "10s", table: "public.login" })
    .build();
  assert.deepEqual(look(seen).decisions.map(brief), ["act terminate 2"]);
  assert.deepEqual(look(seen).decisions.map(brief), ["act terminate 2"]);
});
