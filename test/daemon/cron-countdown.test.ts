import assert from "node:assert/strict";
import { test } from "node:test";
import { cronCountdown } from "../../src/daemon/cron-countdown.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** A host on which it is eight, and whose clock can be set. */
function host() {
  let wallMs = Date.UTC(2026, 0, 5, 8);
  let steadyMs = 0;
  return {
    clocks: { wall: () => wallMs, steady: () => steadyMs },
    pass: (ms: number) => {
      wallMs += ms;
      steadyMs += ms;
    },
    set: (ms: number) => {
      wallMs += ms;
    },
  };
}

test("a cron poll comes due by the host's clock", () => {
  const { clocks, pass } = host();
  const left = cronCountdown("0 9 * * *", "UTC", clocks);
  assert.equal(left(), hour);
  pass(59 * minute);
  assert.equal(left(), minute);
});

test("a clock set forward over several moments makes it due at once, and once", () => {
  const { clocks, pass, set } = host();
  const left = cronCountdown("*/10 * * * *", "UTC", clocks);
  pass(minute);
  set(hour);
  assert.ok(left() <= 0);
  assert.equal(cronCountdown("*/10 * * * *", "UTC", clocks)(), 9 * minute);
});

test("a clock that was days ahead and is set right leaves no days without looks", () => {
  const { clocks, pass, set } = host();
  const left = cronCountdown("*/10 * * * *", "UTC", clocks);
  pass(minute);
  set(-2 * day);
  assert.equal(left(), 9 * minute);
  pass(8 * minute);
  assert.equal(left(), minute);
});

test("a clock put right by seconds just after a moment came due does not make it due again", () => {
  const { clocks, set } = host();
  const left = cronCountdown("0 8 * * *", "UTC", clocks);
  set(-2_000);
  assert.equal(left(), day + 2_000);
});
