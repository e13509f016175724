/** PostgreSQL's table lock modes, weakest first; row, tuple, transaction and advisory locks use the same table. */
export const lockModes = [
  "AccessShareLock",
  "RowShareLock",
  "RowExclusiveLock",
  "ShareUpdateExclusiveLock",
  "ShareLock",
  "ShareRowExclusiveLock",
  "ExclusiveLock",
  "AccessExclusiveLock",
] as const;

/** For each mode the modes that it conflicts with: PostgreSQL's LockConflicts, one bit a mode in the order above. */
const conflictBits: readonly number[] = [
  0b1000_0000, 0b1100_0000, 0b1111_0000, 0b1111_1000, 0b1110_1100, 0b1111_1100, 0b1111_1110, 0b1111_1111,
];

const places = new Map<string, number>(lockModes.map((mode, place) => [mode, place]));

function conflictsOf(mode: string): number {
  return conflictBits[places.get(mode) ?? -1] ?? 0;
}

/** Whether two different sessions cannot hold these modes on one lock. A mode that is not in the table (SIReadLock) never conflicts. */
export function conflicts(one: string, other: string): boolean {
  const place = places.get(other);
  return place !== undefined && (conflictsOf(one) & (1 << place)) !== 0;
}

/** Whether `wide` conflicts with everything that `narrow` conflicts with. */
export function covers(wide: string, narrow: string): boolean {
  return (conflictsOf(narrow) & ~conflictsOf(wide)) === 0;
}

/** The modes that this one conflicts with, weakest first. */
export function conflictingModes(mode: string): readonly string[] {
  return lockModes.filter((other) => conflicts(mode, other));
}

/** Whether the mode is this strong or stronger, in the order above; false for a mode outside the table. */
export function isAtLeast(mode: string, floor: (typeof lockModes)[number]): boolean {
  return (places.get(mode) ?? -1) >= lockModes.indexOf(floor);
}
