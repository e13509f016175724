import type { Rule } from "../config/schema.ts";
import { zoneOffset } from "./zone-offset.ts";

/** Whether a rule is active at a moment, and the ms until that changes; Infinity: it never does. */
export type Activity = Readonly<{ active: boolean; nextChangeMs: number }>;

type Window = NonNullable<Rule["active"]>[number];
/** How far the clocks of a zone are ahead of UTC at a moment, in ms. */
type Offset = (atMs: number) => number;
type Zoned = Readonly<{ window: Window; offset: Offset; boundaries: readonly number[] }>;

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;
const wholeDay = [{ from: 0, to: 1_440 }];
/** Windows repeat every week, and a clock change takes one of them away once: what does not change for so long never does. */
const horizonMs = 22 * dayMs;

/**
 * A rule is active while the clocks on the wall of a window's zone show a time in it, so an hour that is skipped is never
 * in it and one that comes twice is in it twice. A night belongs to the day on which it begins. `atMs` is ms since 1970.
 */
export function activeHours(windows: Rule["active"]): (atMs: number) => Activity {
  if (windows === undefined) return () => ({ active: true, nextChangeMs: Number.POSITIVE_INFINITY });
  const zoned = windows.map((window) => ({
    window,
    offset: zoneOffset(window.timezone),
    boundaries: boundariesOf(window),
  }));
  // Asked at every look, for the same answer until it changes.
  let known = { fromMs: 0, untilMs: 0, active: false };
  return (atMs) => {
    if (!(atMs >= known.fromMs && atMs < known.untilMs)) known = stretchFrom(zoned, atMs);
    return { active: known.active, nextChangeMs: known.untilMs - atMs };
  };
}

function stretchFrom(zoned: readonly Zoned[], fromMs: number): { fromMs: number; untilMs: number; active: boolean } {
  const activeAt = (atMs: number) => zoned.some((one) => isIn(one, atMs));
  const active = activeAt(fromMs);
  let untilMs = fromMs;
  do {
    const at = untilMs;
    untilMs = Math.min(...zoned.map((one) => nextBoundary(one, at)));
  } while (activeAt(untilMs) === active && untilMs - fromMs < horizonMs);
  return { fromMs, untilMs: untilMs - fromMs < horizonMs ? untilMs : Number.POSITIVE_INFINITY, active };
}

/** Wall clock: ms since 1970 as if the zone were UTC. */
function isIn({ window, offset }: Zoned, atMs: number): boolean {
  const wall = atMs + offset(atMs);
  const today = Math.floor(wall / dayMs);
  const minute = (wall - today * dayMs) / minuteMs;
  return (window.hours ?? wholeDay).some(({ from, to }) => {
    if (from < to) return minute >= from && minute < to && isDay(window, today);
    return minute >= from ? isDay(window, today) : minute < to && isDay(window, dayBefore(offset, atMs));
  });
}

/** Day 0, the 1st of January 1970, was a Thursday. */
function isDay({ days }: Window, day: number): boolean {
  const weekday = (((day + 4) % 7) + 7) % 7;
  if (days === undefined) return true;
  return days.some(({ from, to }) =>
    from <= to ? weekday >= from && weekday <= to : weekday >= from || weekday <= to,
  );
}

/** The day that the clocks showed before they showed this one; a zone that crosses the date line leaves one out. */
function dayBefore(offset: Offset, atMs: number): number {
  const dayOf = (moment: number) => Math.floor((moment + offset(moment)) / dayMs);
  const today = dayOf(atMs);
  let moment = atMs;
  // Once, but for a day on which the clocks were put back.
  while (dayOf(moment) === today) moment -= moment + offset(moment) - today * dayMs + 1;
  return dayOf(moment);
}

/** The next moment at which a window may begin or end: a time of its own, a midnight, or a clock change. */
function nextBoundary({ offset, boundaries }: Zoned, atMs: number): number {
  const ahead = offset(atMs);
  const wall = atMs + ahead;
  const midnight = Math.floor(wall / dayMs) * dayMs;
  const minute = boundaries.find((boundary) => midnight + boundary * minuteMs > wall) ?? 1_440;
  const next = midnight + minute * minuteMs - ahead;
  return offset(next) === ahead ? next : clockChange(offset, atMs, next);
}

/** The first moment after `steadyMs` with another offset; `changedMs` has one. */
function clockChange(offset: Offset, steadyMs: number, changedMs: number): number {
  const ahead = offset(steadyMs);
  let [steady, changed] = [steadyMs, changedMs];
  while (changed - steady > 1) {
    const middle = Math.floor((steady + changed) / 2);
    if (offset(middle) === ahead) steady = middle;
    else changed = middle;
  }
  return changed;
}

function boundariesOf({ hours = wholeDay }: Window): readonly number[] {
  return [...new Set([...hours.flatMap(({ from, to }) => [from, to]), 1_440])].sort((one, other) => one - other);
}
