import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDayRange, parseHourRange } from "../../src/config/windows.ts";
import { activeHours } from "../../src/core/active-window.ts";

type Written = Readonly<{ days?: string; hours?: string; timezone: string }>;

/** `days: "mon-fri sat"`, `hours: "22:00-06:00"`. */
function hoursOf(...windows: readonly Written[]) {
  const read = <T>(text: string, parse: (one: string) => T | null): T[] =>
    text.split(" ").map((one) => parse(one) ?? assert.fail(one));
  return activeHours(
    windows.map(({ days, hours, timezone }) => ({
      ...(days === undefined ? {} : { days: read(days, parseDayRange) }),
      ...(hours === undefined ? {} : { hours: read(hours, parseHourRange) }),
      timezone,
    })),
  );
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** The next changes after `from`, each as `+ISO` (begins) or `-ISO` (ends). */
function changes(activeAt: ReturnType<typeof activeHours>, from: string, count: number): readonly string[] {
  const found: string[] = [];
  for (let at = Date.parse(from); found.length < count; ) {
    at += activeAt(at).nextChangeMs;
    found.push(`${activeAt(at).active ? "+" : "-"}${new Date(at).toISOString().slice(0, 16)}`);
  }
  return found;
}

test("a rule without hours is always active, and so is one whose hours are the whole week", () => {
  const always = { active: true, nextChangeMs: Number.POSITIVE_INFINITY };
  assert.deepEqual(activeHours(undefined)(0), always);
  assert.deepEqual(hoursOf({ days: "mon-sun", hours: "00:00-24:00", timezone: "Europe/Berlin" })(0), always);
});

test("a night belongs to the day on which it begins", () => {
  const nights = hoursOf({ days: "mon-fri", hours: "22:00-06:00", timezone: "UTC" });
  // The 1st of November 2026 is a Sunday.
  assert.deepEqual(changes(nights, "2026-11-01T23:00Z", 4), [
    "+2026-11-02T22:00",
    "-2026-11-03T06:00",
    "+2026-11-03T22:00",
    "-2026-11-04T06:00",
  ]);
  assert.deepEqual(changes(nights, "2026-11-06T21:00Z", 3), [
    "+2026-11-06T22:00",
    "-2026-11-07T06:00",
    "+2026-11-09T22:00",
  ]);
});

test("days may go over the end of the week, windows may touch, and any of several is enough", () => {
  const weekend = hoursOf({ days: "sat-sun", timezone: "UTC" }, { days: "mon", hours: "00:00-06:00", timezone: "UTC" });
  assert.deepEqual(changes(weekend, "2026-11-04T00:00Z", 2), ["+2026-11-07T00:00", "-2026-11-09T06:00"]);
  const long = hoursOf({ days: "fri-mon", timezone: "UTC" });
  assert.deepEqual(changes(long, "2026-11-04T00:00Z", 2), ["+2026-11-06T00:00", "-2026-11-10T00:00"]);
  const work = hoursOf({ hours: "08:00-12:00 12:00-17:30", timezone: "Asia/Kolkata" });
  assert.deepEqual(changes(work, "2026-11-04T00:00Z", 2), ["+2026-11-04T02:30", "-2026-11-04T12:00"]);
});

for (const [what, window, from, expected] of [
  // Berlin, 29 March 2026, 02:00 → 03:00 (01:00Z); 25 October, 03:00 → 02:00 (01:00Z).
  [
    "hours that begin within a skipped hour begin when it is over",
    { hours: "02:30-05:00", timezone: "Europe/Berlin" },
    "2026-03-28T12:00Z",
    ["+2026-03-29T01:00", "-2026-03-29T03:00"],
  ],
  [
    "hours that lie within a skipped hour are left out that day",
    { days: "sun", hours: "02:15-02:45", timezone: "Europe/Berlin" },
    "2026-03-24T12:00Z",
    ["+2026-04-05T00:15", "-2026-04-05T00:45"],
  ],
  [
    "hours that lie within a doubled hour come twice",
    { hours: "02:15-02:45", timezone: "Europe/Berlin" },
    "2026-10-24T12:00Z",
    ["+2026-10-25T00:15", "-2026-10-25T00:45", "+2026-10-25T01:15", "-2026-10-25T01:45"],
  ],
  [
    "a night across a doubled hour is an hour longer",
    { days: "sat", hours: "22:00-06:00", timezone: "Europe/Berlin" },
    "2026-10-24T12:00Z",
    ["+2026-10-24T20:00", "-2026-10-25T05:00"],
  ],
  [
    "in New York the clocks change in another week",
    { hours: "01:00-04:00", timezone: "America/New_York" },
    "2026-03-08T00:00Z",
    ["+2026-03-08T06:00", "-2026-03-08T08:00", "+2026-03-09T05:00"],
  ],
  [
    "Lord Howe's clocks change by half an hour",
    { hours: "01:30-03:00", timezone: "Australia/Lord_Howe" },
    "2026-04-04T12:00Z",
    ["+2026-04-04T14:30", "-2026-04-04T16:30"],
  ],
  [
    "the night after which Samoa left out a Friday is Thursday's until Saturday morning",
    { days: "thu", hours: "22:00-06:00", timezone: "Pacific/Apia" },
    "2011-12-30T00:00Z",
    ["+2011-12-30T08:00", "-2011-12-30T16:00"],
  ],
  [
    "a Friday that is left out has no hours",
    { days: "fri", timezone: "Pacific/Apia" },
    "2011-12-29T00:00Z",
    ["+2012-01-05T10:00", "-2012-01-06T10:00"],
  ],
] as const)
  test(what, () => {
    assert.deepEqual(changes(hoursOf(window), from, expected.length), expected);
  });

type Clock = Readonly<{ from: number; weekday: Int8Array; before: Int8Array; time: Int16Array }>;
const names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** What the clocks on the wall show in each minute of a year, and which day they showed before that day. */
function clockOf(timeZone: string, year: number): Clock {
  const from = Date.UTC(year, 0, 1);
  const minutes = (Date.UTC(year + 1, 0, 1) - from) / minute;
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  const shown = { weekday: new Int8Array(minutes), before: new Int8Array(minutes), time: new Int16Array(minutes) };
  let today = "";
  let weekday = (new Date(from - day).getUTCDay() + 6) % 7;
  let before = weekday;
  for (let at = 0; at < minutes; at++) {
    // Clocks change at quarters of an hour only.
    const parts = at % 15 === 0 ? format.formatToParts(from + at * minute) : null;
    const part = (type: string) => parts?.find((one) => one.type === type)?.value ?? "";
    if (parts !== null && `${part("weekday")} ${part("day")}` !== today) {
      before = weekday;
      weekday = names.indexOf(part("weekday"));
      today = `${part("weekday")} ${part("day")}`;
    }
    shown.weekday[at] = weekday;
    shown.before[at] = before;
    shown.time[at] =
      parts === null ? (shown.time[at - 1] ?? 0) + 1 : Number(part("hour")) * 60 + Number(part("minute"));
  }
  return { from, ...shown };
}

const range = fc.record({ from: fc.nat(6), to: fc.nat(6) });
const span = fc
  .record({ from: fc.nat(1_439), to: fc.integer({ min: 0, max: 1_440 }) })
  .filter(({ from, to }) => from !== to);
const lists = { minLength: 1, maxLength: 3 };
const windows = fc.array(
  fc.record({ days: fc.array(range, lists), hours: fc.array(span, lists) }, { requiredKeys: [] }),
  lists,
);

for (const [timezone, year] of [
  ["Europe/Berlin", 2026],
  ["America/New_York", 2026],
  ["Asia/Kolkata", 2026],
  ["Australia/Lord_Howe", 2026],
  ["UTC", 2026],
  ["Pacific/Apia", 2011],
] as const)
  test(`in ${timezone} it agrees with the clocks on the wall in every minute of ${year}`, () => {
    const clock = clockOf(timezone, year);
    const minutes = clock.time.length;
    fc.assert(
      fc.property(windows, (written) => {
        const within = (weekday: number, days: readonly { from: number; to: number }[] | undefined) =>
          days === undefined ||
          days.some(({ from, to }) => {
            for (let one = from; ; one = (one + 1) % 7) {
              if (one === weekday) return true;
              if (one === to) return false;
            }
          });
        const isActive = (at: number) =>
          written.some(({ days, hours = [{ from: 0, to: 1_440 }] }) =>
            hours.some(({ from, to }) => {
              const [time, weekday, before] = [clock.time[at] ?? 0, clock.weekday[at] ?? 0, clock.before[at] ?? 0];
              if (from < to) return time >= from && time < to && within(weekday, days);
              return time >= from ? within(weekday, days) : time < to && within(before, days);
            }),
          );
        const activeAt = activeHours(written.map((window) => ({ ...window, timezone })));
        // The year's first day has no day before it here.
        for (let at = 1_440; at < minutes; ) {
          const { active, nextChangeMs } = activeAt(clock.from + at * minute);
          const until = Math.min(minutes, at + nextChangeMs / minute);
          assert.ok(nextChangeMs > 0 && (Number.isInteger(until) || until === minutes));
          for (let each = at; each < until; each++)
            if (isActive(each) !== active) assert.fail(`at ${new Date(clock.from + each * minute).toISOString()}`);
          at = until;
        }
      }),
      { numRuns: 6 },
    );
  });

test("it may be asked of any moment, in any order", () => {
  const activeAt = hoursOf({ hours: "08:00-09:00", timezone: "UTC" });
  const at = (time: string) => activeAt(Date.parse(`2026-11-04T${time}Z`)).active;
  assert.deepEqual([at("08:30"), at("07:59"), at("08:00"), at("09:00"), at("08:59")], [true, false, true, false, true]);
});
