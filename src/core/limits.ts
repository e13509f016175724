import type { Limits, Rule } from "../config/schema.ts";
import { openedBy, recentlySignalled } from "./breaker.ts";
import type { LimitCode } from "./decision.ts";
import type { Act } from "./history.ts";
import { spokenDuration } from "./spoken-duration.ts";
import { unreachable } from "./unreachable.ts";

/** Whoever is to be signalled: the transaction or session, the repeat offender it counts as, and the rule. */
export type Candidate = Readonly<{ subject: string; who: string; rule: Pick<Rule, "name" | "limits"> }>;

/** How much of the limits is used up, and by whom; counts on while a plan is made. */
export type LimitUse = Readonly<{
  tick(rule?: string): number;
  minute(rule?: string): number;
  repeats(who: string): number;
  /** The breaker would let it through: there is room for one session more, or it is one of them already. */
  hasRoom(subject: string): boolean;
  take(candidate: Candidate): void;
}>;

const minuteMs = 60_000;
/** A per-tick limit is over at the next look, and that is not long. */
const nextLookMs = 1_000;

export function useLimits(acts: readonly Act[], limits: Limits, atMs: number): LimitUse {
  const ticks = counts();
  const minutes = counts();
  const repeats = counts();
  const signalled = recentlySignalled(acts, limits.breaker, atMs);
  for (const act of acts) {
    const agoMs = atMs - act.atMs;
    if (agoMs < minuteMs) minutes.add(act.rule);
    if (agoMs < limits.repeat.within) repeats.add(act.who);
  }
  const { breaker } = limits;
  return {
    tick: ticks.of,
    minute: minutes.of,
    repeats: repeats.of,
    hasRoom: (subject) => breaker === false || signalled.size < breaker.acts || signalled.has(subject),
    take: ({ rule, who, subject }) => {
      ticks.add(rule.name);
      minutes.add(rule.name);
      repeats.add(who);
      signalled.add(subject);
    },
  };
}

type Counts = Readonly<{ add(key: string): void; of(key?: string): number }>;

/** How often each key was added; without a key, how often any was. */
function counts(): Counts {
  const found = new Map<string, number>();
  let all = 0;
  return {
    add: (key) => {
      all++;
      found.set(key, (found.get(key) ?? 0) + 1);
    },
    of: (key) => (key === undefined ? all : (found.get(key) ?? 0)),
  };
}

/** The first limit that one act more would pass; null when it would pass none. */
export function overLimit(use: LimitUse, { rule, who, subject }: Candidate, limits: Limits): LimitCode | null {
  const { limits: own } = rule;
  if (use.tick() >= limits.per_tick) return "limit-per-tick";
  if (use.minute() >= limits.per_minute) return "limit-per-minute";
  if (own?.per_tick !== undefined && use.tick(rule.name) >= own.per_tick) return "limit-rule-per-tick";
  if (own?.per_minute !== undefined && use.minute(rule.name) >= own.per_minute) return "limit-rule-per-minute";
  if (use.repeats(who) >= limits.repeat.times) return "limit-repeat";
  return use.hasRoom(subject) ? null : "breaker";
}

export function limitText(
  code: LimitCode,
  { limits, rule }: Readonly<{ limits: Limits; rule: Candidate["rule"] }>,
): string {
  const ofRule = `of rule ${rule.name}`;
  switch (code) {
    case "limit-per-tick":
      return `limit of ${limits.per_tick} per look reached`;
    case "limit-per-minute":
      return `limit of ${limits.per_minute} per minute reached`;
    case "limit-rule-per-tick":
      return `limit ${ofRule} of ${rule.limits?.per_tick ?? 0} per look reached`;
    case "limit-rule-per-minute":
      return `limit ${ofRule} of ${rule.limits?.per_minute ?? 0} per minute reached`;
    case "limit-repeat":
      return `this user, application and client was signalled ${limits.repeat.times} times within ${spokenDuration(limits.repeat.within)}`;
    case "breaker":
      return `the breaker opens${limits.breaker === false ? "" : `: ${openedBy(limits.breaker)}`}`;
    default:
      return unreachable(code);
  }
}

/** The ms until this limit lets one act more through, if nobody else is signalled until then. */
export function msUntilRoom(
  code: LimitCode,
  { who, rule }: Readonly<{ who: string; rule: string }>,
  { acts, limits, atMs }: Readonly<{ acts: readonly Act[]; limits: Limits; atMs: number }>,
): number {
  const { repeat } = limits;
  switch (code) {
    case "limit-per-tick":
    case "limit-rule-per-tick":
    case "breaker": // not open yet: those that were to open it may have ended by themselves
      return nextLookMs;
    case "limit-per-minute":
      return roomInMs(leaving(acts, minuteMs, atMs), limits.per_minute);
    case "limit-rule-per-minute": {
      // The next to leave is early enough, whatever the rule's figure.
      const left = leaving(
        acts.filter((act) => act.rule === rule),
        minuteMs,
        atMs,
      );
      return roomInMs(left, left.length);
    }
    case "limit-repeat":
      return roomInMs(
        leaving(
          acts.filter((act) => act.who === who),
          repeat.within,
          atMs,
        ),
        repeat.times,
      );
    default:
      return unreachable(code);
  }
}

/** When each of the acts in the window leaves it, in ms from now, the oldest first. */
function leaving(acts: readonly Act[], windowMs: number, atMs: number): readonly number[] {
  const left = acts.map((act) => act.atMs + windowMs - atMs).filter((ms) => ms > 0);
  return left.toSorted((one, other) => one - other);
}

/** Until fewer than `most` are left. */
function roomInMs(left: readonly number[], most: number): number {
  const last = left[left.length - most];
  return last === undefined ? nextLookMs : Math.max(nextLookMs, last);
}
