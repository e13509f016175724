import { type Interval, median, quantile, randomNumbers } from "../bench/statistics.ts";

export type Estimate = Readonly<{ value: number; within: Interval }>;

/** The mean, and where it lies in 95 of 100 redraws (percentile bootstrap); the same samples give the same answer. */
export function meanOf(samples: readonly number[], redraws = 2_000): Estimate {
  if (samples.length === 0) throw new Error("expected at least one sample, got none");
  const mean = (all: readonly number[]) => all.reduce((sum, one) => sum + one, 0) / all.length;
  const random = randomNumbers(1);
  const means = Array.from({ length: redraws }, () =>
    mean(samples.map(() => samples[Math.floor(random() * samples.length)] ?? 0)),
  );
  return { value: mean(samples), within: { low: quantile(means, 0.025), high: quantile(means, 0.975) } };
}

export type Point = Readonly<{ at: number; value: number }>;

const blocks = 12;
/** Of Student's distribution with ten degrees of freedom, for 95 %. */
const student = 2.228;

/**
 * The slope of a line through the medians of twelve stretches of equal length, with its 95 % interval: a garbage collector
 * makes neighbours alike, so that samples taken by themselves would pretend to more certainty.
 */
export function slopeOf(points: readonly Point[]): Estimate {
  const size = points.length / blocks;
  if (size < 1) throw new Error(`expected at least ${blocks} samples, got ${points.length}`);
  const middle = Array.from({ length: blocks }, (_, block) => {
    const some = points.slice(Math.floor(block * size), Math.floor((block + 1) * size));
    return { at: median(some.map(({ at }) => at)), value: median(some.map(({ value }) => value)) };
  });
  const mean = (of: (point: Point) => number) => middle.reduce((sum, point) => sum + of(point), 0) / blocks;
  const [at, value] = [mean((point) => point.at), mean((point) => point.value)];
  const spread = middle.reduce((sum, point) => sum + (point.at - at) ** 2, 0);
  const slope = middle.reduce((sum, point) => sum + (point.at - at) * (point.value - value), 0) / spread;
  const left = middle.reduce((sum, point) => sum + (point.value - value - slope * (point.at - at)) ** 2, 0);
  const error = student * Math.sqrt(left / (blocks - 2) / spread);
  return { value: slope, within: { low: slope - error, high: slope + error } };
}
