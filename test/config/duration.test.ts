import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatDuration, longestDurationMs, parseDuration } from "../../src/config/duration.ts";

const read: readonly (readonly [string, number | null])[] = [
  ["250ms", 250],
  ["30s", 30_000],
  ["1h30m", 5_400_000],
  ["1.5s", 1_500],
  ["2d", 172_800_000],
  ["3650d", longestDurationMs],
  ["3651d", null],
  ["0s", null],
  ["0.1ms", null],
  ["30", null],
  ["30 s", null],
  ["-1s", null],
  ["1e3s", null],
  ["1w", null],
  ["s", null],
  [".5s", null],
  ["", null],
  [`${"9".repeat(400)}s`, null],
];
for (const [text, ms] of read)
  test(`${JSON.stringify(text.slice(0, 20))} is ${ms === null ? "no duration" : `${ms} ms`}`, () => {
    assert.equal(parseDuration(text), ms);
  });

test("what formatDuration writes, parseDuration reads back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: longestDurationMs }), (ms) => {
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});

test("any text is a duration from 1 ms to ten years, or none", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.mshd]{0,30}$/u));
  fc.assert(
    fc.property(text, (written) => {
      const ms = parseDuration(written);
      assert.ok(ms === null || (Number.isInteger(ms) && ms >= 1 && ms <= longestDurationMs));
    }),
  );
});
