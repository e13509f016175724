import type { Limits } from "../config/schema.ts";
import type { Act, History, OpenBreaker } from "./history.ts";
import { spokenDuration } from "./spoken-duration.ts";

// The signals that went out say whether the breaker is open: what a restart knows of them is enough. An opening that
// people were told of holds until the moment that they were told.

export type Breaker = Limits["breaker"];

/** The session, or the transaction, that a signal went out to. An incident is its rule and its subject. */
export function sessionOf({ incident, rule }: Pick<Act, "incident" | "rule">): string {
  return incident.slice(rule.length + 1);
}

/** Whether it is open at this moment; null: it is closed. */
export function openBreaker(
  { acts, breaker: told }: Pick<History, "acts" | "breaker">,
  breaker: Breaker,
  atMs: number,
): OpenBreaker | null {
  if (breaker === false) return null;
  const open = openedByActs(acts, breaker);
  const now = open !== null && atMs < open.untilMs ? open : null;
  if (told === null || atMs >= told.untilMs) return now;
  // A clock that was set back does not keep it open for longer.
  const longestMs = atMs + Math.max(breaker.open_for, breaker.within);
  const heldMs = Math.min(told.untilMs, longestMs);
  return { sinceMs: Math.min(told.sinceMs, atMs), untilMs: Math.max(heldMs, now?.untilMs ?? heldMs) };
}

function openedByActs(acts: readonly Act[], breaker: Exclude<Breaker, false>): OpenBreaker | null {
  const window = slidingWindow(breaker);
  let open: OpenBreaker | null = null;
  for (const act of acts.toSorted((one, other) => one.atMs - other.atMs)) {
    window.add(act);
    const fullUntilMs = window.fullUntilMs();
    if (fullUntilMs !== null) open = opened(open, { atMs: act.atMs, fullUntilMs, openForMs: breaker.open_for });
  }
  return open;
}

type Full = Readonly<{ atMs: number; fullUntilMs: number; openForMs: number }>;

function opened(before: OpenBreaker | null, { atMs, fullUntilMs, openForMs }: Full): OpenBreaker {
  if (before === null || atMs >= before.untilMs)
    return { sinceMs: atMs, untilMs: Math.max(atMs + openForMs, fullUntilMs) };
  // Signalled all the same: before this breaker was configured, say.
  return { ...before, untilMs: Math.max(before.untilMs, fullUntilMs) };
}

/** The sessions that were signalled within the breaker's time before this moment. */
export function recentlySignalled(acts: readonly Act[], breaker: Breaker, atMs: number): Set<string> {
  const recent = breaker === false ? [] : acts.filter((act) => atMs - act.atMs < breaker.within);
  return new Set(recent.map(sessionOf));
}

/** How far back acts decide whether it is open. */
export function breakerMemoryMs(breaker: Breaker): number {
  // One that opened before the last full window only stays open as long as `open_for`.
  return breaker === false ? 0 : breaker.within + Math.max(breaker.open_for, breaker.within);
}

type Window = Readonly<{
  add(act: Act): void;
  /** The moment from which there is room for one more; null: there is. */
  fullUntilMs(): number | null;
}>;

function slidingWindow({ acts: most, within }: Exclude<Breaker, false>): Window {
  // The latest signal to each, in the order of time: whoever is signalled again goes to the end.
  const latest = new Map<string, number>();
  return {
    add: (act) => {
      for (const [session, ms] of latest) {
        if (act.atMs - ms < within) break;
        latest.delete(session);
      }
      const session = sessionOf(act);
      latest.delete(session);
      latest.set(session, act.atMs);
    },
    fullUntilMs: () => {
      if (latest.size < most) return null;
      const [leaving = 0] = [...latest.values()].slice(latest.size - most);
      return leaving + within;
    },
  };
}

/** `it is open since 2026-03-29 01:30:00 UTC, until 02:00:00 UTC`, and why. */
export function openText({ sinceMs, untilMs }: OpenBreaker, breaker: Breaker): string {
  const why = breaker === false ? "" : `: ${openedBy(breaker)}`;
  return `the breaker is open since ${momentText(sinceMs)}, until ${momentText(untilMs)}${why}`;
}

export function openedBy({ acts, within }: Exclude<Breaker, false>): string {
  const whom = acts === 1 ? "1 session was signalled" : `${acts} sessions were signalled`;
  return `${whom} within ${spokenDuration(within)}`;
}

/** By the server's clock. */
export function momentText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
