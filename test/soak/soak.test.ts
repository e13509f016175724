import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { kinds } from "./abandoned.ts";
import { meanOf, slopeOf } from "./figures.ts";
import { soak } from "./run.ts";
import { disagreements } from "./touched.ts";

test("under load every abandoned transaction is freed, and nobody else is touched", async () => {
  const wanted = { major: 18, sessions: 30, logins: 10, seconds: 4, abandonEveryMs: 500, pairs: 0, stretchMs: 0 };
  const { abandoned, wrong, counts } = await soak(wanted);
  assert.deepEqual(wrong, []);
  for (const kind of kinds)
    assert.ok(
      abandoned.some((one) => one.kind === kind),
      `nobody was ${kind}`,
    );
  assert.ok(
    counts.every(({ transactions }) => transactions > 0),
    JSON.stringify(counts),
  );
});

const abandoned = [{ kind: "silent", pid: "7", started: "t1" }] as const;
const log = "2026-01-01 UTC [7] 1.7 FATAL:  terminating connection due to administrator command\n";

function journal(pid: string, kind: string): JournalEvent[] {
  const victim = { kind: "session", pid, transaction: { kind: "open", startedAt: "t1" } };
  const lines = [
    { id: "a", event: "intent", decision: { evidence: { victim } } },
    { id: "a", event: "outcome", outcome: { kind } },
  ];
  return lines as unknown as JournalEvent[];
}

test("the three witnesses agree when exactly the abandoned ones were touched and freed", () => {
  assert.deepEqual(disagreements({ abandoned, journal: journal("7", "released"), log }), []);
});

test("whoever was touched without being abandoned is named, by the journal and by the server's log", () => {
  const found = disagreements({ abandoned, journal: journal("8", "released"), log: log.replaceAll("7", "8") });
  assert.deepEqual(found, [
    "the journal has an intent against 8 t1, which was not abandoned",
    "the journal does not say that 7 t1 (silent) was released",
    "the server's log says that 8 was signalled",
    "the server's log has no signal to 7",
  ]);
});

test("an abandoned one that survived is named", () => {
  const found = disagreements({ abandoned, journal: journal("7", "survived"), log });
  assert.deepEqual(found, ["the journal does not say that 7 t1 (silent) was released"]);
});

test("the slope of a straight line is its own, with no doubt left; that of a flat noise holds zero", () => {
  const line = Array.from({ length: 120 }, (_, at) => ({ at, value: 5 + 2 * at }));
  const { value, within } = slopeOf(line);
  assert.ok(Math.abs(value - 2) < 1e-9 && within.high - within.low < 1e-6, JSON.stringify({ value, within }));
  const flat = slopeOf(Array.from({ length: 120 }, (_, at) => ({ at, value: (at * 7919) % 13 })));
  assert.ok(flat.within.low < 0 && flat.within.high > 0, JSON.stringify(flat));
});

test("the interval of a mean holds it, and too few samples are no slope", () => {
  const { value, within } = meanOf([1, 2, 3, 4, 5, 6]);
  assert.ok(value === 3.5 && within.low < value && within.high > value, JSON.stringify(within));
  assert.throws(() => slopeOf([{ at: 1, value: 1 }]), /expected at least 12 samples, got 1/);
});
