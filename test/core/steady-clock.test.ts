import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readClock, type SteadyClock, steadyAge } from "../../src/core/steady-clock.ts";
import { steadySnapshot } from "../../src/core/steady-snapshot.ts";
import { actsOf, type Being, type Story, seenAt } from "../support/clock-world.ts";
import { judge } from "../support/judge.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const distances = [2 * second, hour, day];

/** Looks every two seconds, at odd moments, so that a few ms decide nothing. */
const looks = Array.from({ length: 90 }, (_, at) => ({ atMs: 500 + at * 2 * second }));

const stuck: Being = { beganMs: 10_200, waitedForSinceMs: 12_200 };
const running: Being = { beganMs: 10_200, state: "active" };
const ages: readonly Readonly<[string, object, Being, string?]>[] = [
  ["idle_for", { idle_for: "30s" }, stuck],
  ["transaction_for", { transaction_for: "30s" }, stuck],
  ["query_for", { state: "active", query_for: "30s" }, running],
  ["connected_for", { connected_for: "30s" }, stuck],
  ["waits.for", { waits: { for: "30s" } }, stuck],
  ["blocks.for", { idle_for: "1s", blocks: { for: "30s" } }, stuck],
  [
    "prepared.for",
    { prepared: { gid: "gid-*", for: "30s" } },
    { beganMs: 10_200, prepared: true },
    "rollback-prepared",
  ],
];

for (const [name, match, being, step = "terminate"] of ages) {
  const story: Story = { rule: { name: "r", match, steps: [step] }, beings: [being], looks };
  const [due] = actsOf(story);

  test(`${name}: set forward, before and after the beginning, the clock makes nobody due sooner, nor later`, () => {
    assert.ok(due !== undefined && due.atMs > 35 * second && due.atMs < 50 * second);
    for (const byMs of distances) {
      for (const atMs of [3_000, 21_000, 38_000]) {
        assert.deepEqual(actsOf({ ...story, jumps: [{ atMs, byMs }] })[0], due, `${byMs} ms at ${atMs} ms`);
      }
    }
  });

  test(`${name}: set back, the clock makes nobody due sooner`, () => {
    for (const byMs of distances) {
      for (const atMs of [3_000, 21_000, 38_000]) {
        const [act] = actsOf({ ...story, jumps: [{ atMs, byMs: -byMs }] });
        const soonest = atMs < being.beganMs ? due : undefined;
        if (soonest !== undefined) assert.deepEqual(act, soonest);
        else assert.ok(act === undefined || act.atMs >= (due?.atMs ?? 0), `${byMs} ms at ${atMs} ms`);
      }
    }
  });

  test(`${name}: set back by two seconds, the clock makes nobody due later than these two seconds`, () => {
    const [act] = actsOf({ ...story, jumps: [{ atMs: 21_000, byMs: -2 * second }] });
    assert.ok(act !== undefined && act.atMs <= (due?.atMs ?? 0) + 2 * second);
  });

  test(`${name}: set wrong and put right again, it is as if nothing had been`, () => {
    for (const byMs of distances) {
      const jumps = [
        { atMs: 15_000, byMs },
        { atMs: 27_000, byMs: -byMs },
      ];
      assert.deepEqual(actsOf({ ...story, jumps })[0], due);
    }
  });
}

test("who began while the clock was set, between two looks, is as young as can be", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["terminate"] };
  for (const beganMs of [20_600, 20_999, 21_001, 22_400]) {
    const story: Story = { rule, beings: [{ beganMs }], looks };
    const [due] = actsOf(story);
    const [act] = actsOf({ ...story, jumps: [{ atMs: 21_000, byMs: hour }] });
    assert.deepEqual(act, due);
    const twice = [
      { atMs: 20_800, byMs: hour },
      { atMs: 21_500, byMs: hour },
    ];
    const [late] = actsOf({ ...story, jumps: twice });
    assert.ok(late !== undefined && due !== undefined && late.atMs >= due.atMs && late.atMs <= due.atMs + 2 * second);
  }
});

const jumpsOf = distances.flatMap((ms) => [ms, -ms]);

test("a ladder's waits are as long as they are, however the clock is set", () => {
  const steps = ["notify", { wait: "19s" }, "cancel", { wait: "29s" }, "terminate"];
  const rule = { name: "r", match: { query_for: "1s", state: "active" }, steps };
  const story: Story = { rule, beings: [{ beganMs: -2 * day, state: "active" }], looks };
  const due = actsOf(story);
  assert.deepEqual(
    due.map(({ what }) => what),
    ["act notify 1", "act cancel 1", "act terminate 1"],
  );
  for (const byMs of jumpsOf) {
    for (const atMs of [1_000, 13_000, 41_000]) {
      assert.deepEqual(actsOf({ ...story, jumps: [{ atMs, byMs }] }), due, `${byMs} ms at ${atMs} ms`);
    }
  }
});

test("the limits' windows are as long as they are, however the clock is set", () => {
  const rule = { name: "r", match: { idle_for: "1s" }, steps: ["terminate"] };
  const beings = ["a", "b", "c", "d"].map((user) => ({ beganMs: -2 * day, user }));
  const limits = { per_tick: 5, per_minute: 2, repeat: { times: 9, within: "10m" } };
  const odd = looks.map((_, at) => ({ atMs: 500 + at * 2_300 }));
  const story: Story = { rule, limits, beings, looks: odd };
  const due = actsOf(story);
  assert.deepEqual(
    due.map(({ atMs }) => Math.round(atMs / minute)),
    [0, 0, 1, 1],
  );
  for (const byMs of jumpsOf)
    assert.deepEqual(actsOf({ ...story, jumps: [{ atMs: 21_000, byMs }] }), due, `${byMs} ms`);

  const offenders = ["same", "same", "same"].map((user) => ({ beganMs: -2 * day, user }));
  const repeat = { per_tick: 1, per_minute: 9, repeat: { times: 1, within: "90s" } };
  const repeated: Story = { rule, limits: repeat, beings: offenders, looks: odd };
  const once = actsOf(repeated);
  assert.equal(once.length, 3);
  for (const byMs of jumpsOf) assert.deepEqual(actsOf({ ...repeated, jumps: [{ atMs: 21_000, byMs }] }), once);
});

test("a cooldown is as long as it is, however the clock is set", () => {
  const match = { idle_for: "1s", blocks: { for: "1s" } };
  const cooldownLeft = (jumps: Story["jumps"]) => {
    const judged = judge({ rules: [{ name: "r", match, steps: ["terminate"], cooldown: "30s" }] });
    const cooldown = { rule: "r", lineage: new Set(["2 started 2"]), locks: new Set<string>() };
    let clock: SteadyClock | null = null;
    const left: number[] = [];
    for (const { atMs } of looks) {
      const raw = seenAt(atMs, [], jumps ?? []);
      const reading = { serverMs: raw.atMs, fromMs: atMs, toMs: atMs };
      clock = readClock(clock, reading).clock;
      const seen = steadySnapshot(raw, clock, reading);
      if (left.length === 0) {
        const since = { atMs: seen.atMs, untilMs: seen.atMs + 30_000 };
        judged.setHistory({ ...judged.history(), cooldowns: [{ ...cooldown, ...since }] });
      }
      left.push(judged.look(seen).history.cooldowns.length);
    }
    return left.lastIndexOf(1);
  };
  const due = cooldownLeft([]);
  assert.equal(due, 14);
  // By a few ms longer, as the most that the jump can have been is taken out.
  for (const byMs of jumpsOf) assert.ok([due, due + 1].includes(cooldownLeft([{ atMs: 21_000, byMs }])), `${byMs} ms`);
});

test("the hours of a rule go by what the server's clock shows", () => {
  const active = [{ hours: "13:00-14:00", timezone: "UTC" }]; // the story begins at noon
  const rule = { name: "r", match: { idle_for: "1s" }, steps: ["terminate"], active };
  const story: Story = { rule, beings: [{ beganMs: -2 * day }], looks };
  assert.deepEqual(actsOf({ ...story, jumps: [] }), []);
  assert.equal(actsOf({ ...story, jumps: [{ atMs: 21_000, byMs: hour }] })[0]?.atMs, 22_500);
});

test("drift and a slow answer are no jumps, and small steps that add up are one", () => {
  let clock: SteadyClock | null = null;
  const hear = (serverMs: number, fromMs: number, toMs = fromMs) => {
    const told = readClock(clock, { serverMs, fromMs, toMs });
    clock = told.clock;
    return told.jumpMs;
  };
  for (let ms = 0; ms < day; ms += minute) assert.equal(hear(Math.round(ms * 1.0004), ms), 0);
  const fast = day * 1.0004;
  assert.equal(hear(fast, day, day + 30 * second), 0); // it may have been read at once
  assert.equal(hear(fast + 31 * second, day + 31 * second), 0);
  assert.equal(hear(fast + 32.9 * second, day + 32 * second), 0);
  assert.notEqual(hear(fast + 34.8 * second, day + 33 * second), 0);
});

test("however often the clock jumps, what is remembered stays bounded and nobody gets older", () => {
  let clock: SteadyClock | null = null;
  let jumpedMs = 0;
  for (let at = 0; at < 200; at++) {
    const told = readClock(clock, { serverMs: at * second + jumpedMs, fromMs: at * second, toMs: at * second });
    clock = told.clock;
    const age = steadyAge(clock, { serverMs: at * second + jumpedMs })(at * second + jumpedMs);
    assert.ok(age !== null && age <= at * second);
    jumpedMs += at % 3 === 0 ? -5 * second : 7 * second;
  }
  assert.ok((clock?.jumps.length ?? 0) <= 16);
});

const being = fc.record({
  beganMs: fc.integer({ min: -100, max: 150 }).map((tenths) => tenths * 611),
  state: fc.constantFrom("active" as const, "idle in transaction" as const),
  waits: fc.option(fc.integer({ min: 0, max: 400 }), { nil: null }),
});
const beings = fc.array(being, { minLength: 1, maxLength: 4 }).map((made) =>
  made.map(({ beganMs, state, waits }, at): Being => {
    const waited = waits === null ? {} : { waitedForSinceMs: beganMs + waits * 173 };
    return { beganMs, state, user: `user ${at}`, ...waited };
  }),
);
const timedLooks = fc
  .array(
    fc.record({
      pauseMs: fc.integer({ min: 600, max: 7_000 }),
      askedMs: fc.integer({ min: 0, max: 300 }),
      heardMs: fc.integer({ min: 0, max: 300 }),
    }),
    { minLength: 20, maxLength: 60 },
  )
  .map((pauses) => {
    let atMs = 0;
    return pauses.map(({ pauseMs, askedMs, heardMs }) => {
      atMs += pauseMs;
      return { atMs, askedMs, heardMs };
    });
  });
const clockJumps = fc.array(
  fc.record({
    // From the first look on: of what was before it nobody knows.
    atMs: fc.integer({ min: 7_001, max: 200 * second }),
    byMs: fc.oneof(
      fc.integer({ min: 2_500, max: 20 * second }),
      fc.integer({ min: -20 * second, max: -2_500 }),
      fc.constantFrom(hour, -hour, day, -day),
    ),
  }),
  { maxLength: 4 },
);
/** One between two looks: of two nobody can know, as they may cancel each other out. */
function knowable(jumps: NonNullable<Story["jumps"]>, times: readonly Readonly<{ atMs: number }>[]): typeof jumps {
  const lookAfter = ({ atMs }: Readonly<{ atMs: number }>) => times.findIndex((look) => look.atMs >= atMs);
  return jumps.filter((jump, at) => jumps.findIndex((one) => lookAfter(one) === lookAfter(jump)) === at);
}
const ladder = ["notify", { wait: "7s" }, "cancel", { wait: "11s" }, "terminate"];
const rules = fc.constantFrom(
  { match: { idle_for: "15s" }, steps: ["terminate"] },
  { match: { transaction_for: "40s" }, steps: ladder },
  { match: { query_for: "20s", state: "active" }, steps: ladder },
  { match: { connected_for: "30s", idle_for: "5s" }, steps: ["terminate"] },
  { match: { waits: { for: "12s" } }, steps: ladder },
  { match: { blocks: { for: "25s" } }, steps: ladder },
  { match: { idle_for: "10s", blocks: { for: "8s" } }, steps: ["terminate"] },
);

test("whatever the looks, the rule and the jumps: no act comes sooner than it would without any jump", () => {
  fc.assert(
    fc.property(rules, beings, timedLooks, clockJumps, (rule, people, times, jumps) => {
      const limits = { per_tick: 100, per_minute: 1_000, repeat: { times: 1_000, within: "1m" } };
      const story: Story = { rule: { name: "r", ...rule }, limits, beings: people, looks: times };
      const without = new Map(actsOf(story).map(({ atMs, what }) => [what, atMs]));
      for (const { atMs, what } of actsOf({ ...story, jumps: knowable(jumps, times) })) {
        const dueMs = without.get(what) ?? Number.POSITIVE_INFINITY;
        assert.ok(atMs >= dueMs, `${what} at ${atMs} ms, without jumps at ${dueMs} ms`);
      }
    }),
    { numRuns: 500 },
  );
});
