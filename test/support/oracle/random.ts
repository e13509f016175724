/** Numbers that look random and come again with the same seed. */
export type Random = Readonly<{
  /** 0 to below - 1. */
  below(limit: number): number;
  chance(share: number): boolean;
  pick<T>(choices: readonly T[]): T;
}>;

/** Mulberry32: small, and good enough to shuffle what people do. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    chance: (share) => next() < share,
    pick: (choices) => {
      const choice = choices[below(choices.length)];
      if (choice === undefined) throw new Error("expected something to choose from, got an empty list");
      return choice;
    },
  };
}
