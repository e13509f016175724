import assert from "node:assert/strict";
import { test } from "node:test";
import {
  median,
  quantile,
  randomNumbers,
  ratioInterval,
  ratioOfMedians,
  shareInterval,
  summarize,
} from "./statistics.ts";

test("the summary of a hundred samples names the middle, the 99th and the ends", () => {
  const samples = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(summarize(samples), { count: 100, min: 1, median: 50.5, p99: 99, max: 100 });
});

test("with fewer than a hundred samples the 99th percentile is the largest of them", () => {
  assert.equal(quantile([3, 1, 2], 0.99), 3);
  assert.equal(median([3, 1, 2]), 2);
});

test("no sample is no figure", () => {
  assert.throws(() => median([]), /expected at least one sample/);
  assert.throws(() => quantile([], 0.5), /expected at least one sample/);
});

test("the interval of a ratio holds the ratio, and is narrow where the samples agree", () => {
  const random = randomNumbers(7);
  const noisy = Array.from({ length: 300 }, () => ({ figure: 3 + random(), floor: 2 + random() }));
  const { low, high } = ratioInterval(noisy, 200);
  const ratio = ratioOfMedians(noisy);
  assert.ok(low <= ratio && ratio <= high, `${low} ${ratio} ${high}`);
  assert.ok(high - low < 0.2, `${low} ${high}`);
  assert.deepEqual(ratioInterval([{ figure: 3, floor: 2 }], 10), { low: 1.5, high: 1.5 });
});

test("the interval of a share is Wilson's, and does not call twenty of twenty a certainty", () => {
  const all = shareInterval(20, 20);
  assert.ok(Math.abs(all.low - 0.839) < 0.001 && all.high === 1, JSON.stringify(all));
  const half = shareInterval(10, 20);
  assert.ok(Math.abs(half.low - 0.299) < 0.001 && Math.abs(half.high - 0.701) < 0.001, JSON.stringify(half));
});

test("the same seed gives the same numbers, evenly spread", () => {
  const [one, other] = [randomNumbers(1), randomNumbers(1)];
  const numbers = Array.from({ length: 10_000 }, one);
  assert.deepEqual(numbers.slice(0, 5), Array.from({ length: 5 }, other));
  assert.ok(numbers.every((number) => number >= 0 && number < 1));
  assert.ok(Math.abs(numbers.reduce((sum, number) => sum + number, 0) / 10_000 - 0.5) < 0.02);
});
