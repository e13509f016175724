import assert from "node:assert/strict";
import type { Outcome } from "../../../src/core/decision.ts";
import { groupBy } from "../../../src/core/group-by.ts";
import type { JournalEvent } from "../../../src/core/journal-event.ts";
import type { Session } from "../../../src/core/session.ts";
import type { Attempt, ServerLog } from "./server-log.ts";

/** One intent of a journal, and what closed it. */
export type Deed = Readonly<{
  id: string;
  atMs: number;
  action: string;
  victim: Session;
  closed: Readonly<{ by: "outcome" | "recovered"; outcome: Outcome }> | null;
}>;

export function deedsOf(events: readonly JournalEvent[]): readonly Deed[] {
  const closings = new Map<string, NonNullable<Deed["closed"]>>();
  for (const event of events) {
    if (event.event !== "outcome" && event.event !== "recovered") continue;
    assert.ok(!closings.has(event.id), `the intent ${event.id} was closed twice`);
    closings.set(event.id, { by: event.event, outcome: event.outcome });
  }
  const ids = new Set<string>();
  const deeds: Deed[] = [];
  for (const event of events) {
    if (event.event !== "intent") continue;
    assert.ok(!ids.has(event.id), `the intent ${event.id} was written twice`);
    ids.add(event.id);
    const { action, evidence } = event.decision;
    assert.equal(evidence.victim.kind, "session");
    if (evidence.victim.kind !== "session") continue;
    const closed = closings.get(event.id) ?? null;
    deeds.push({ id: event.id, atMs: Date.parse(event.at), action, victim: evidence.victim, closed });
  }
  for (const id of closings.keys()) assert.ok(ids.has(id), `an outcome without an intent: ${id}`);
  return deeds;
}

function keyOf({ victim, action }: Deed): string {
  return `${action} ${victim.pid} ${victim.identity}`;
}

/** No signalling statement reached the server, and nobody was hit, without an intent that was written before. */
export function assertWrittenFirst(deeds: readonly Deed[], log: ServerLog): void {
  const intents = groupBy(deeds, keyOf);
  const attempts = groupBy(log.attempts(), ({ action, pid, identity }) => `${action} ${pid} ${identity}`);
  for (const [key, sent] of attempts) {
    const written = intents.get(key) ?? [];
    assert.ok(sent.length <= written.length, `${key}: ${sent.length} sent, ${written.length} written`);
    for (const [at, attempt] of sent.entries()) {
      assert.ok((written[at]?.atMs ?? Number.POSITIVE_INFINITY) <= attempt.atMs, `${key}: sent before it was written`);
    }
  }
  const meant = { terminate: new Set<string>(), cancel: new Set<string>() };
  for (const { action, victim } of deeds)
    if (action === "terminate" || action === "cancel") meant[action].add(victim.sessionId);
  for (const action of ["terminate", "cancel"] as const)
    for (const hit of log.hits(action)) assert.ok(meant[action].has(hit), `${action} of ${hit}, which nobody intended`);
}

/** What one life left open, the next one looks into before it does anything itself. */
export function assertLookedIntoFirst(events: readonly JournalEvent[]): void {
  const open = new Set<string>();
  let left: ReadonlySet<string> = new Set();
  for (const event of events) {
    if (event.event === "start") left = new Set(open);
    else if (event.event === "intent") {
      for (const id of left) assert.ok(!open.has(id), `${event.id} was begun while ${id} was unexplained`);
      open.add(event.id);
    } else if (event.event === "outcome" || event.event === "recovered") open.delete(event.id);
  }
}

/** The same step twice on the same transaction: only where the first was unknown, said so, and it was still there. */
export function assertNotTwice(deeds: readonly Deed[]): number {
  let again = 0;
  for (const [key, same] of groupBy(deeds, (deed) => `${keyOf(deed)} ${startOf(deed.victim)}`)) {
    for (const { closed } of same.slice(0, -1)) {
      again += 1;
      assert.ok(closed !== null, `${key}: again, while the first is unexplained`);
      const { kind, text } = closed.outcome;
      if (closed.by === "recovered")
        assert.match(`${kind}: ${text}`, /^unknown: .*still there, and is judged anew/, key);
      else assert.ok(kind === "failed" || kind === "changed", `${key}: again after ${kind}: ${text}`);
    }
  }
  return again;
}

function startOf({ transaction }: Session): string | null {
  return transaction.kind === "open" ? transaction.startedAt : null;
}

/** Of the intents that a kill left open: had their statement reached the server? */
export function reached(open: readonly Deed[], attempts: readonly Attempt[]): number {
  return open.filter(({ victim, action }) =>
    attempts.some((one) => one.action === action && one.pid === victim.pid && one.identity === victim.identity),
  ).length;
}
