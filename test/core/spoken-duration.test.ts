import assert from "node:assert/strict";
import { test } from "node:test";
import { spokenDuration } from "../../src/core/spoken-duration.ts";

for (const [ms, expected] of [
  [0, "0 ms"],
  [-5, "0 ms"],
  [340, "340 ms"],
  [999, "999 ms"],
  [1_000, "1 s"],
  [59_999, "59 s"],
  [192_000, "3 min 12 s"],
  [180_000, "3 min"],
  [7_500_000, "2 h 5 min"],
  [273_600_000, "3 d 4 h"],
  [Number.NaN, "unknown"],
] as const) {
  test(`${ms} ms is spoken as ${expected}`, () => assert.equal(spokenDuration(ms), expected));
}
