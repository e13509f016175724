import assert from "node:assert/strict";
import { test } from "node:test";
import type { LockWait } from "../../src/core/snapshot.ts";
import { longestLine } from "../../src/journal.ts";
import { body } from "../../src/notify/text.ts";
import { maskDecision, queryText } from "../../src/query-text.ts";
import { judge } from "../support/judge.ts";
import { notice } from "../support/notice-samples.ts";
import { snapshot } from "../support/snapshot.ts";

const crowd = 3_000;
const relation = { database: "app", schema: "public", name: "\u0001".repeat(63), ancestors: [] };

/** A table that thousands read, thousands that want it for themselves, and one whose end would free them all. */
function jam() {
  const base = snapshot()
    .session(1, { idle: "1m" })
    .session(2)
    .waits(2, { on: 1, for: "1m", table: "public.t" })
    .build();
  const [victim, waiter] = base.sessions;
  const [wait] = base.waits ?? [];
  assert.ok(victim !== undefined && waiter !== undefined && wait !== undefined);
  const others = Array.from({ length: crowd }, (_, at) => ({ node: `reader ${at}`, soft: false }));
  const people = Array.from({ length: crowd }, (_, at) => {
    const pid = String(1_000_000 + at);
    return {
      ...waiter,
      key: pid,
      pid,
      identity: pid,
      user: "\u0001".repeat(63),
      query: `select '${"\u0001".repeat(100_000)}'`,
    };
  });
  const waits = people.map(
    ({ pid }): LockWait => ({
      ...wait,
      waiter: pid,
      pid,
      blockers: [...others, { node: victim.key, soft: false }],
      candidates: Array.from({ length: 2_000 }, () => relation),
    }),
  );
  return { ...base, sessions: [victim, ...people], waits };
}

test("an act on whoever holds up thousands can be journalled: its evidence keeps the nearest, and says how many there are", async () => {
  const rule = { name: "r", match: { idle_for: "5s", blocks: { waiters: 5 } }, steps: ["terminate"] };
  const [decision, ...rest] = judge({ rules: [rule] }).look(jam()).decisions;
  assert.ok(decision?.kind === "act");
  assert.deepEqual(rest, []);
  const masked = maskDecision(decision, await queryText("plain"));
  assert.ok(JSON.stringify(masked).length < longestLine / 2, `${JSON.stringify(masked).length} characters`);
  assert.equal(masked.evidence.waiters.length, 100);
  assert.equal(masked.reason.facts["waiters"], crowd);
  // The proof asks for the waits behind the victim.
  for (const { blockers } of masked.evidence.waits) assert.equal(blockers[0]?.node, "1");
  const told = body(notice({ decision: masked }));
  assert.match(told, /BLOCKED \(3000\)/);
  assert.match(told, /and 2980 more/);
});
