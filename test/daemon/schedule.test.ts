import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createTask, getTasks } from "node-cron";
import { cronMistake, nextCron, parsePoll, pollMistake } from "../../src/daemon/schedule.ts";

/** The next moments after one, as text. */
function following(expression: string, timezone: string, after: string, count: number): string[] {
  const moments: string[] = [];
  let at = Date.parse(after);
  for (let left = count; left > 0; left -= 1) {
    const next = nextCron(expression, timezone, at);
    if (next === null) return [...moments, "never"];
    moments.push(new Date(next).toISOString().replace(".000Z", "Z"));
    at = next;
  }
  return moments;
}

const table: readonly (readonly [string, string, string, string, readonly string[]])[] = [
  [
    "six fields begin with seconds",
    "*/20 * * * * *",
    "UTC",
    "2026-11-20T23:59:30.500Z",
    ["2026-11-20T23:59:40Z", "2026-11-21T00:00:00Z", "2026-11-21T00:00:20Z"],
  ],
  [
    "five fields come due at second 0, strictly after the moment given",
    "30 2 * * *",
    "UTC",
    "2026-11-20T02:30:00Z",
    ["2026-11-21T02:30:00Z"],
  ],
  ["a fraction of a second before is before", "0 0 * * *", "UTC", "2026-11-20T23:59:59.999Z", ["2026-11-21T00:00:00Z"]],
  ["a yearly one is found", "0 0 1 1 *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", ["2026-12-31T18:15:00Z"]],
  ["so is a leap day on a Monday", "0 0 29 2 1", "UTC", "2026-01-01T00:00:00Z", ["2044-02-29T00:00:00Z"]],
  [
    "a day must satisfy both its date and its weekday",
    "0 8 1 * 1",
    "UTC",
    "2026-01-01T00:00:00Z",
    ["2026-06-01T08:00:00Z"],
  ],
  [
    "the last day of a month, and a nickname's case, are understood",
    "0 0 L * *",
    "UTC",
    "2028-02-01T00:00:00Z",
    ["2028-02-29T00:00:00Z"],
  ],
  ["a nickname is an expression", "@Daily", "America/New_York", "2026-07-01T00:00:00Z", ["2026-07-01T04:00:00Z"]],
  [
    "a nightly job runs once in the night when 02:30 comes twice",
    "30 2 * * *",
    "Europe/Berlin",
    "2026-10-24T12:00:00Z",
    ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
  ],
  [
    "also when asked in the second of the two hours",
    "30 2 * * *",
    "Europe/Berlin",
    "2026-10-25T01:10:00Z",
    ["2026-10-26T01:30:00Z"],
  ],
  [
    "an hourly job goes on through both hours",
    "15 * * * *",
    "Europe/Berlin",
    "2026-10-24T23:30:00Z",
    ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"],
  ],
  [
    "so does a frequent one that keeps to some hours",
    "*/30 1-3 * * *",
    "Europe/Berlin",
    "2026-10-24T23:45:00Z",
    ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"],
  ],
  [
    "a nightly job whose hour is left out runs when the clock has jumped",
    "30 2 * * *",
    "Europe/Berlin",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
  ],
  [
    "also when asked just before the jump",
    "30 2 * * *",
    "Europe/Berlin",
    "2026-03-29T00:59:59.999Z",
    ["2026-03-29T01:00:00Z"],
  ],
  [
    "all of its moments in that hour are one",
    "0 */10 2 * * *",
    "Europe/Berlin",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
  ],
  [
    "an hourly job has nothing to catch up with",
    "30 * * * *",
    "Europe/Berlin",
    "2026-03-29T00:00:00Z",
    ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"],
  ],
  [
    "a midnight that is left out is followed by its job",
    "0 0 * * *",
    "Africa/Cairo",
    "2026-04-23T12:00:00Z",
    ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"],
  ],
  [
    "half an hour that comes twice counts too",
    "45 1 * * *",
    "Australia/Lord_Howe",
    "2026-04-04T00:00:00Z",
    ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
  ],
  [
    "a day that is left out is followed by its job",
    "0 9 30 12 *",
    "Pacific/Apia",
    "2011-12-01T00:00:00Z",
    ["2011-12-30T10:00:00Z", "2012-12-29T19:00:00Z"],
  ],
];

for (const [name, expression, timezone, after, due] of table)
  test(`${name} (${expression}, ${timezone})`, () => {
    assert.deepEqual(following(expression, timezone, after, due.length), due);
  });

test("left out, the time zone is the host's", () => {
  const moment = new Date(nextCron("0 12 * * *", undefined, Date.parse("2026-06-01T00:00:00Z")) ?? 0);
  assert.deepEqual([moment.getHours(), moment.getMinutes()], [12, 0]);
});

test("what never comes due is said to", () => {
  assert.equal(nextCron("0 0 L-30 2 *", "UTC", 0), null);
});

const minute = fc.oneof(
  fc.constant("*"),
  fc.integer({ min: 0, max: 59 }).map(String),
  fc.constantFrom("*/7", "5-20/5"),
);
const hour = fc.oneof(fc.constant("*"), fc.integer({ min: 0, max: 23 }).map(String), fc.constantFrom("*/5", "22-3"));
const day = fc.constantFrom("*", "*", "1-15", "L", "L-2", "15W");
const weekday = fc.constantFrom("*", "*", "1-5", "sun", "7", "5L", "1#2");

test("away from clock changes it is the first minute that node-cron itself matches", () => {
  const zones = fc.constantFrom("UTC", "Asia/Kathmandu", "America/Sao_Paulo", "Asia/Tokyo");
  const start = fc.integer({ min: Date.UTC(2025, 0, 1) / 60_000, max: Date.UTC(2029, 0, 1) / 60_000 });
  fc.assert(
    fc.property(fc.tuple(minute, hour, day, weekday), zones, start, (fields, timezone, at) => {
      const expression = `${fields[0]} ${fields[1]} ${fields[2]} * ${fields[3]}`;
      const task = createTask(expression, () => undefined, { timezone });
      const next = nextCron(expression, timezone, at * 60_000) ?? Number.POSITIVE_INFINITY;
      const last = Math.min(next, (at + 1_000) * 60_000);
      let first = Number.POSITIVE_INFINITY;
      for (let moment = (at + 1) * 60_000; moment <= last && first > last; moment += 60_000)
        if (task.match(new Date(moment))) first = moment;
      void task.destroy();
      assert.equal(first > last ? last : first, last);
      if (next === last) assert.equal(first, next);
    }),
    { numRuns: 60 },
  );
});

test("a thousand calls leave nothing in node-cron's registry", () => {
  for (let call = 0; call < 1_000; call += 1) nextCron("30 2 * * *", "Europe/Berlin", call * 86_400_000);
  assert.equal(cronMistake("*/5 * * * * *"), null);
  assert.equal(getTasks().size, 0);
});

for (const poll of ["5s", "1h30m", "0 8 * * 1-5", "*/5 * * * * *", "@hourly", "0 0 L * *", "0 3 * jan-mar sun"])
  test(`${poll} is a poll`, () => assert.equal(pollMistake(poll, "Europe/Berlin"), null));

test("a poll is a beat or an expression", () => {
  assert.deepEqual(parsePoll("1m30s"), { kind: "every", ms: 90_000 });
  assert.deepEqual(parsePoll("0 8 * * 1-5"), { kind: "cron", expression: "0 8 * * 1-5" });
});

const mistakes: readonly (readonly [string, RegExp])[] = [
  ["5sec", /^expected a duration such as 5s, or a cron expression of five or six fields, got "5sec"$/],
  ["", /^expected a duration such as 5s, or a cron expression .* got ""$/],
  ["* * *", /^expected a cron expression of five or six fields, got "\* \* \*": expected 5 or 6 fields but got 3$/],
  ["61 * * * *", /^expected minute as 0-59, .* got "61"$/],
  ["* 24 * * *", /^expected hour as 0-23, .* got "24"$/],
  ["61 25 * * *", /^expected minute .* got "61"; expected hour .* got "25"$/],
  ["0 0 31 2 *", /impossible day of month/],
  ["0 0 L-30 2 *", /which never does$/],
  ["*/0 * * * *", /^expected minute .* got "\*\/0"$/],
  ["0-99999999999 * * * *", /^expected numbers of one or two digits, got 99999999999$/],
  ["@reboot", /illegal characters/],
];

for (const [poll, mistake] of mistakes)
  test(`${JSON.stringify(poll)} is a mistake, and what is wrong is said`, () => {
    assert.match(pollMistake(poll) ?? "nothing", mistake);
  });

test("a time zone that nobody knows is a mistake", () => {
  assert.equal(cronMistake("0 8 * * *", "Mars/Base"), 'expected a time zone such as Europe/Berlin, got "Mars/Base"');
});

test("no text makes the check throw", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[-*/,#?0-9LWa-c ]{0,30}$/));
  fc.assert(
    fc.property(text, (expression) => {
      const mistake = cronMistake(expression);
      assert.ok(mistake === null || mistake.startsWith("expected "));
      if (mistake === null) assert.notEqual(nextCron(expression, "UTC", 0), null);
    }),
    { numRuns: 500 },
  );
});
