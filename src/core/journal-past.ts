import type { Rule } from "../config/schema.ts";
import { byHandRule } from "./by-hand-outcome.ts";
import { type Act, type Cooldown, type History, noHistory, type OpenBreaker, offender } from "./history.ts";
import type { JournalEvent } from "./journal-event.ts";
import type { Intent } from "./recovery.ts";
import { handCooldownMs, standingBehind, wentOut } from "./remember.ts";

// What the journal says of the signals that went out: limits, the breaker and cooldowns count on over a restart.

type Sent = Readonly<{ act: Act }> & Pick<Cooldown, "lineage" | "locks">;

type TargetPast = {
  /** By the id of the intent. One without an outcome counts: its signal may have gone out. */
  readonly sent: Map<string, Sent>;
  breaker: OpenBreaker | null;
  /** The look of the latest intent, and when, by the host's clock, the first one of that look was written. */
  look: Readonly<{ at: string; firstMs: number }> | null;
  /** So many are looked through for what is too old. */
  sweepAt: number;
};

/** By target. Grows with every event of the journal, and forgets what is too old. */
export type Past = Map<string, TargetPast>;

const fewest = 1_000;

/** One event more. `keepMs`: how far back acts count. */
export function followPast(past: Past, event: JournalEvent, keepMs: number): void {
  const { target } = event;
  if (target === null) return;
  if (event.event === "intent") followSent(pastOf(past, target), event, keepMs);
  if (event.event === "breaker") {
    const { code, facts } = event.reason;
    pastOf(past, target).breaker = code === breakerOpened ? openingIn(facts ?? {}) : null;
  }
  const ended = event.event === "outcome" || event.event === "recovered";
  if (ended && !wentOut(event.outcome.kind)) past.get(target)?.sent.delete(event.id);
}

function pastOf(past: Past, target: string): TargetPast {
  const known = past.get(target);
  if (known !== undefined) return known;
  const begun: TargetPast = { sent: new Map(), breaker: null, look: null, sweepAt: fewest };
  past.set(target, begun);
  return begun;
}

function followSent(own: TargetPast, intent: Intent, keepMs: number): void {
  const atMs = sentAtMs(own, intent);
  if (intent.decision.action === "notify" || Number.isNaN(atMs)) return;
  own.sent.set(intent.id, sentBy(intent, atMs));
  if (own.sent.size >= own.sweepAt) sweep(own, atMs - keepMs);
}

export const breakerOpened = "breaker-opened";
export const breakerClosed = "breaker-closed";

function openingIn({ sinceMs, untilMs }: Readonly<Record<string, unknown>>): OpenBreaker | null {
  return typeof sinceMs === "number" && typeof untilMs === "number" ? { sinceMs, untilMs } : null;
}

/** By the server's clock: the moment of the look, and what had passed since its first intent when this one was written. */
function sentAtMs(own: TargetPast, { at, decision }: Intent): number {
  const { at: lookedAt } = decision.evidence;
  const writtenMs = Date.parse(at);
  const look = own.look !== null && own.look.at === lookedAt ? own.look : { at: lookedAt, firstMs: writtenMs };
  own.look = look;
  const sinceMs = writtenMs - look.firstMs;
  return Date.parse(lookedAt) + (sinceMs > 0 ? Math.min(sinceMs, longestLookMs) : 0);
}

/** The host's clock may be set in the middle of a look. */
const longestLookMs = 60_000;

/** A journal may have been edited by hand: what is missing in it is taken as nothing. */
function sentBy({ decision }: Intent, atMs: number): Sent {
  const { rule, incident, evidence } = decision;
  const act = {
    atMs,
    rule,
    who: offender(evidence.victim),
    incident: typeof incident === "string" ? incident : `${rule} ?`,
  };
  return { act, ...standingBehind({ waiters: records(evidence.waiters), waits: records(evidence.waits) }) };
}

function records<T>(items: readonly T[] | undefined): readonly T[] {
  return Array.isArray(items) ? items.filter((item) => typeof item === "object" && item !== null) : [];
}

function sweep(own: TargetPast, beforeMs: number): void {
  for (const [id, { act }] of own.sent) if (act.atMs < beforeMs) own.sent.delete(id);
  own.sweepAt = Math.max(fewest, 2 * own.sent.size);
}

/** What a watcher of this target begins with. A rule that is gone from the config leaves nobody in peace any more. */
export function historyFrom(past: Past, target: string, rules: readonly Pick<Rule, "name" | "cooldown">[]): History {
  const own = past.get(target);
  if (own === undefined) return noHistory;
  const sent = [...own.sent.values()].toSorted((one, other) => one.act.atMs - other.act.atMs);
  const cooldowns = sent.flatMap(({ act: { rule, atMs }, lineage, locks }): Cooldown[] => {
    const ms = rule === byHandRule ? handCooldownMs : rules.find(({ name }) => name === rule)?.cooldown;
    return ms === undefined ? [] : [{ rule, atMs, untilMs: atMs + ms, lineage, locks }];
  });
  // A person decided: that counts for no limit.
  const acts = sent.flatMap(({ act }) => (act.rule === byHandRule ? [] : [act]));
  return { ...noHistory, acts, cooldowns, breaker: own.breaker };
}
