import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openBreaker as openNow } from "../../src/core/breaker.ts";
import type { OutcomeKind } from "../../src/core/decision.ts";
import { type Act, type OpenBreaker, offender } from "../../src/core/history.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { followPast, historyFrom, type Past } from "../../src/core/journal-past.ts";
import { actMemoryMs, afterOutcome, wentOut } from "../../src/core/remember.ts";
import { judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const breaker = { acts: 2, within: 60_000, open_for: 10_000 };

function openBreaker(acts: readonly Act[], of: typeof breaker, atMs: number, told: OpenBreaker | null = null) {
  return openNow({ acts, breaker: told }, of, atMs);
}

function act(session: string, atMs: number) {
  return { atMs, rule: "r", who: "", incident: `r ${session}` };
}

test("it stays open as long as one act more were too many, however short open_for is", () => {
  const acts = [act("a", 0), act("b", 30_000)];
  assert.equal(openBreaker(acts.slice(0, 1), breaker, 30_000), null);
  assert.deepEqual(openBreaker(acts, breaker, 30_000), { sinceMs: 30_000, untilMs: 60_000 });
  assert.deepEqual(openBreaker(acts, breaker, 59_999), { sinceMs: 30_000, untilMs: 60_000 });
  assert.equal(openBreaker(acts, breaker, 60_000), null);
});

test("acts that are no longer in its time together do not open it", () => {
  assert.equal(openBreaker([act("a", 0), act("b", 60_000)], breaker, 60_000), null);
  assert.notEqual(openBreaker([act("a", 1), act("b", 60_000)], breaker, 60_000), null);
});

test("an opening that people were told of holds until then, though its acts are not known any more; switched off it is over", () => {
  const told = { sinceMs: 0, untilMs: 40_000 };
  assert.deepEqual(openBreaker([], breaker, 39_999, told), told);
  assert.equal(openBreaker([], breaker, 40_000, told), null);
  assert.equal(openNow({ acts: [], breaker: told }, false, 1), null);
  // The clock was set back by a day.
  assert.deepEqual(openBreaker([], breaker, -86_400_000, told), { sinceMs: -86_400_000, untilMs: -86_340_000 });
});

const moment = fc.record({
  /** ms after the look before. */
  afterMs: fc.oneof(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 0, max: 90_000 })),
  arriving: fc.integer({ min: 0, max: 6 }),
  outcome: fc.constantFrom<OutcomeKind>("released", "released", "survived", "unknown", "gone", "denied"),
  /** The daemon was killed before this look: only the journal is left. */
  killed: fc.boolean(),
});
const limits = fc.record({
  per_tick: fc.integer({ min: 1, max: 4 }),
  per_minute: fc.integer({ min: 1, max: 6 }),
  repeat: fc.record({ times: fc.integer({ min: 1, max: 4 }), within: fc.constantFrom("30s", "2m") }),
  breaker: fc.oneof(
    fc.constant(false as const),
    fc.record({
      acts: fc.integer({ min: 1, max: 5 }),
      within: fc.constantFrom("20s", "90s", "3m"),
      open_for: fc.constantFrom("10s", "2m", "5m"),
    }),
  ),
});
const ownLimits = fc.record({ per_tick: fc.integer({ min: 1, max: 3 }), per_minute: fc.integer({ min: 1, max: 4 }) });

type Sent = Readonly<{ atMs: number; look: number; rule: string; who: string; pid: string }>;

test("whatever comes, and however often it is killed: never more than allowed in any look, minute or window", () => {
  fc.assert(
    fc.property(limits, ownLimits, fc.array(moment, { minLength: 1, maxLength: 40 }), (all, own, moments) => {
      const sent = run(all, own, moments);
      const { config } = judge({ rules: [rules(own)[0]], limits: all });
      const checked = config.limits;
      for (const { atMs } of sent) {
        const since = (windowMs: number) => sent.filter((one) => one.atMs <= atMs && atMs - one.atMs < windowMs);
        assert.ok(since(60_000).length <= checked.per_minute);
        assert.ok(since(60_000).filter(({ rule }) => rule === "own").length <= own.per_minute);
        for (const { who } of sent)
          assert.ok(since(checked.repeat.within).filter((one) => one.who === who).length <= checked.repeat.times);
        if (checked.breaker === false) continue;
        const sessions = new Set(since(checked.breaker.within).map(({ pid }) => pid));
        assert.ok(sessions.size <= checked.breaker.acts);
      }
      for (const { look } of sent) {
        const together = sent.filter((one) => one.look === look);
        assert.ok(together.length <= checked.per_tick);
        assert.ok(together.filter(({ rule }) => rule === "own").length <= own.per_tick);
      }
    }),
    { numRuns: 300, includeErrorInReport: true },
  );
});

test("whoever is held back is acted on in the end: what limits hold back they do not forget", () => {
  fc.assert(
    fc.property(limits, ownLimits, fc.array(moment, { minLength: 1, maxLength: 10 }), (all, own, moments) => {
      const quiet = Array.from({ length: 400 }, () => ({
        afterMs: 30_000,
        arriving: 0,
        outcome: "released" as const,
        killed: false,
      }));
      const arrived = moments.reduce((count, { arriving }) => count + arriving, 0);
      const gone = run(all, own, [...moments.map((one) => ({ ...one, outcome: "released" as const })), ...quiet]);
      assert.equal(new Set(gone.map(({ pid }) => pid)).size, arrived);
    }),
    { numRuns: 30 },
  );
});

function rules(own: object) {
  const match = { transaction_for: "1s" };
  return [
    {
      name: "own",
      match: { ...match, applications: ["own"] },
      steps: ["terminate", "terminate", "terminate"],
      limits: own,
    },
    { name: "rest", match: { ...match, applications: ["rest"] }, steps: ["terminate", "terminate", "terminate"] },
  ] as const;
}

type Moment = Readonly<{ afterMs: number; arriving: number; outcome: OutcomeKind; killed: boolean }>;

/** Sessions come, are judged, signalled and journalled; those that were released or had gone leave. */
function run(all: object, own: object, moments: readonly Moment[]): readonly Sent[] {
  const judging = judge({ rules: rules(own), limits: all });
  const keepMs = actMemoryMs(judging.config.limits);
  let past: Past = new Map();
  const journal: JournalEvent[] = [];
  const sent: Sent[] = [];
  let alive: readonly number[] = [];
  let [pids, nowMs, ids] = [0, 0, 0];
  for (const [index, { afterMs, arriving, outcome, killed }] of moments.entries()) {
    nowMs += afterMs;
    alive = [...alive, ...Array.from({ length: arriving }, () => ++pids)];
    if (killed) {
      past = new Map();
      for (const event of journal) followPast(past, event, keepMs);
      judging.setHistory(historyFrom(past, "app", judging.config.rules));
    }
    const look = alive.reduce(withSession, snapshot().later(`${nowMs}ms`)).build();
    for (const decision of judging.look(look).decisions) {
      const rule = judging.rules.find((one) => one.rule.name === decision.rule)?.rule;
      const { victim } = decision.evidence;
      if (decision.kind !== "act" || rule === undefined || victim.kind !== "session") continue;
      const result = { kind: outcome, tookMs: 0, freed: [], next: null, text: outcome };
      const stamp = { v: 1, id: String(++ids), at: look.at, target: "app" } as const;
      journal.push({ ...stamp, event: "intent", decision });
      if (outcome !== "unknown") journal.push({ ...stamp, event: "outcome", outcome: result });
      judging.setHistory(afterOutcome(judging.history(), decision, result, rule, look.atMs));
      const pid = victim.pid ?? "";
      if (wentOut(outcome))
        sent.push({ atMs: look.atMs, look: index, rule: decision.rule, who: offender(victim), pid });
      if (outcome === "released" || outcome === "gone") alive = alive.filter((one) => String(one) !== pid);
    }
  }
  return sent;
}

function withSession(look: SnapshotBuilder, pid: number): SnapshotBuilder {
  return look.session(pid, {
    xact: `${3_600 - pid}s`,
    user: `u${pid % 3}`,
    application: pid % 2 === 0 ? "own" : "rest",
  });
}
