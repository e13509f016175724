/** What a list of measurements comes to. */
export type Summary = Readonly<{ count: number; min: number; median: number; p99: number; max: number }>;

export type Interval = Readonly<{ low: number; high: number }>;

/** The least value that at least this share of the samples does not exceed (nearest rank): always one that was measured. */
export function quantile(samples: readonly number[], share: number): number {
  if (samples.length === 0) throw new Error("expected at least one sample, got none");
  const sorted = samples.toSorted((a, b) => a - b);
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** The middle one, or halfway between the two in the middle. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  if (upper === undefined || lower === undefined) throw new Error("expected at least one sample, got none");
  return (lower + upper) / 2;
}

export function summarize(samples: readonly number[]): Summary {
  return {
    count: samples.length,
    min: quantile(samples, 0),
    median: median(samples),
    p99: quantile(samples, 0.99),
    max: quantile(samples, 1),
  };
}

export type Pair = Readonly<{ figure: number; floor: number }>;

/** figure / floor, of the medians. */
export function ratioOfMedians(pairs: readonly Pair[]): number {
  return median(pairs.map((pair) => pair.figure)) / median(pairs.map((pair) => pair.floor));
}

/** Where that ratio lies in 95 of 100 redraws of the pairs (percentile bootstrap); the same pairs give the same answer. */
export function ratioInterval(pairs: readonly Pair[], redraws = 1_000): Interval {
  const random = randomNumbers(1);
  const ratios = Array.from({ length: redraws }, () =>
    ratioOfMedians(pairs.map(() => pairs[Math.floor(random() * pairs.length)] ?? { figure: 0, floor: 0 })),
  );
  return { low: quantile(ratios, 0.025), high: quantile(ratios, 0.975) };
}

/** 95 % interval of a share that was seen in `hits` of `trials` (Wilson): of 20 out of 20 it says at least 84 %. */
export function shareInterval(hits: number, trials: number): Interval {
  const z = 1.96;
  const share = hits / trials;
  const middle = share + z ** 2 / (2 * trials);
  const spread = z * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2));
  const whole = 1 + z ** 2 / trials;
  return { low: hits === 0 ? 0 : (middle - spread) / whole, high: hits === trials ? 1 : (middle + spread) / whole };
}

/** Evenly distributed in [0, 1), and the same ones for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
