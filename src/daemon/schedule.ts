import { createTask, parse, validateDetailed } from "node-cron";
import { parseDuration } from "../config/duration.ts";
import { zoneOffset } from "../core/zone-offset.ts";

// Cron expressions have five or six fields, the first of six being seconds. A day must satisfy both its day of the month
// and its day of the week: `0 8 1 * 1` is a Monday that is the first, not every Monday and every first.

export type Poll = Readonly<{ kind: "every"; ms: number }> | Readonly<{ kind: "cron"; expression: string }>;

type Fields = ReturnType<typeof parse>;
type Wall = Readonly<{ fields: Fields; isDay(midnight: number): boolean }>;

const secondMs = 1_000;
const dayMs = 86_400_000;
const weekMs = 7 * dayMs;

/** The 29th of February falls on a given weekday every 28 years, every 40 across a century that is no leap year. */
const horizonMs = 41 * 366 * dayMs;

/** What each field may hold, as node-cron names the fields. */
const expected: Readonly<Record<string, string>> = {
  second: "0-59",
  minute: "0-59",
  hour: "0-23",
  dayOfMonth: "1-31, L, L-3 or 15W",
  month: "1-12 or jan-dec",
  dayOfWeek: "0-7, sun-sat, 5L or 1#2",
};

/** A duration is a steady beat, everything else a cron expression; whether it is a right one, `pollMistake` says. */
export function parsePoll(poll: string): Poll {
  const ms = parseDuration(poll);
  return ms === null ? { kind: "cron", expression: poll } : { kind: "every", ms };
}

/** null when `poll` can be followed; otherwise what was expected and what came. */
export function pollMistake(poll: string, timezone?: string): string | null {
  const parsed = parsePoll(poll);
  if (parsed.kind === "every") return null;
  if (/\s/.test(poll.trim()) || poll.trim().startsWith("@")) return cronMistake(poll, timezone);
  return `expected a duration such as 5s, or a cron expression of five or six fields, got ${JSON.stringify(poll)}`;
}

/** null when the expression can be followed; otherwise what was expected and what came. */
export function cronMistake(expression: string, timezone?: string): string | null {
  if (timezone !== undefined && !isTimezone(timezone))
    return `expected a time zone such as Europe/Berlin, got ${JSON.stringify(timezone)}`;
  // node-cron expands 0-99999999999 number by number before it looks at the bounds.
  const number = /\d{3,}/.exec(expression)?.[0];
  if (number !== undefined) return `expected numbers of one or two digits, got ${number}`;
  const { errors, valid } = validateDetailed(expression);
  if (!valid) return errors.map((error) => describeError({ value: expression, ...error })).join("; ");
  if (nextCron(expression, timezone, Date.UTC(2024, 0, 1)) === null)
    return `expected a cron expression that comes due at some time, got ${JSON.stringify(expression)}, which never does`;
  return null;
}

function describeError({ field, value, message }: { field: string; value: string; message: string }): string {
  const range = expected[field];
  if (range !== undefined && !message.includes("impossible"))
    return `expected ${field} as ${range}, *, or ranges, lists and steps of them, got ${JSON.stringify(value)}`;
  return `expected a cron expression of five or six fields, got ${JSON.stringify(value)}: ${message}`;
}

function isTimezone(timezone: string): boolean {
  try {
    zoneOffset(timezone);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * The next moment strictly after `afterMs`, both in ms since 1970, at which the expression comes due by the clocks of that
 * time zone (left out: the host's); null when there is none within forty years.
 *
 * Clock changes: an hour that comes twice counts once for an expression that comes due at most once an hour and not in
 * every hour (a nightly job runs once); more frequent ones go on through both. Moments in an hour that is left out come
 * due together, once, when the clock has jumped; not for an expression of every hour, which comes due soon anyway.
 */
export function nextCron(expression: string, timezone: string | undefined, afterMs: number): number | null {
  const fields = parse(expression);
  const everyHour = fields.hour.length === 24;
  const counts = everyHour || fields.minute.length * fields.second.length > 1;
  const { isDay, end } = openCalendar(fields);
  const wall = { fields, isDay };
  const offset = zoneOffset(timezone);
  const from = Math.floor(afterMs / secondMs) * secondMs + secondMs;
  try {
    // A day earlier, so that a clock change just before `afterMs` is known.
    for (let start = from - dayMs; start < from + horizonMs; ) {
      const stretch = steadyStretch(offset, start);
      const { until, before, after } = stretch;
      const hit = firstDue(wall, Math.max(start, from) + before, until + before);
      if (hit !== null) return hit - before;
      const leap = after - before;
      if (leap > 0 && !everyHour && until >= from && firstDue(wall, until + before, until + after) !== null)
        return until;
      start = leap < 0 && !counts ? until - leap : until;
    }
    return null;
  } finally {
    end();
  }
}

/** Whether a day is meant: node-cron's own reading of L, W and #, asked of a task that never starts. */
function openCalendar({ dayOfMonth, month, dayOfWeek }: Fields): { isDay: Wall["isDay"]; end: () => void } {
  const task = createTask(`* * * ${dayOfMonth.join()} ${month.join()} ${dayOfWeek.join()}`, () => undefined, {
    timezone: "UTC",
  });
  return {
    isDay: (midnight) => month.includes(new Date(midnight).getUTCMonth() + 1) && task.match(new Date(midnight)),
    // Without this it stays in node-cron's registry for ever.
    end: () => void task.destroy(),
  };
}

/** The first due moment from `from` to before `until`. Wall clock: ms since 1970 as if the zone were UTC. */
function firstDue({ fields, isDay }: Wall, from: number, until: number): number | null {
  for (let midnight = Math.floor(from / dayMs) * dayMs; midnight < until; midnight += dayMs) {
    if (!isDay(midnight)) continue;
    const time = firstTime(fields, (from - midnight) / secondMs);
    if (time === null) continue;
    const due = midnight + time * secondMs;
    return due < until ? due : null;
  }
  return null;
}

/** The first second of a day, counted from midnight, that is due and not before `from`. */
function firstTime({ hour, minute, second }: Fields, from: number): number | null {
  for (const hours of ascending(hour)) {
    if (hours * 3_600 + 3_599 < from) continue;
    for (const minutes of ascending(minute)) {
      if (hours * 3_600 + minutes * 60 + 59 < from) continue;
      for (const seconds of ascending(second)) {
        const time = hours * 3_600 + minutes * 60 + seconds;
        if (time >= from) return time;
      }
    }
  }
  return null;
}

function ascending(numbers: readonly number[]): number[] {
  return [...numbers].sort((one, other) => one - other);
}

/** From `start` to `until` the zone's offset is `before`, at `until` it is `after`; at most a week. */
function steadyStretch(
  offset: (ms: number) => number,
  start: number,
): { until: number; before: number; after: number } {
  const before = offset(start);
  let until = start + weekMs;
  const after = offset(until);
  if (before === after) return { until, before, after };
  for (let known = start; until - known > secondMs; ) {
    const middle = Math.floor((known + until) / (2 * secondMs)) * secondMs;
    if (offset(middle) === before) known = middle;
    else until = middle;
  }
  return { until, before, after: offset(until) };
}
