import type { Ms } from "./session.ts";

// The server's clock may be set while its sessions are watched. Time that counts (how long somebody blocks, a ladder's waits,
// cooldowns, limits) then goes on by the steady clock: the server's, less all of its jumps. What began before a jump has its
// age without it. Where that cannot be told, the younger one is taken: to be late is fine, to be early is not.

/** The server's clock, and between which two moments of this process's own steady clock it was read. */
export type Reading = Readonly<{ serverMs: number; fromMs: number; toMs: number }>;

/** Somewhere between two looks; both moments are the steady clock's. `offsetMs`: what was taken out before it. */
type Jump = Readonly<{ offsetMs: number; lastMs: number; firstMs: number }>;

export type SteadyClock = Readonly<{
  /** The steady clock at the last reading. */
  atMs: number;
  /** What the server's clock has jumped, in all. */
  offsetMs: number;
  /** The server's clock less our own: it lies between these two. */
  ahead: Readonly<{ fromMs: number; toMs: number }>;
  /** Our own clock at the last reading. */
  readMs: number;
  jumps: readonly Jump[];
}>;

/** What a reading adds; `jumpMs`: the server's clock has jumped by so much since the last one, 0: it has not. */
export type Told = Readonly<{ clock: SteadyClock; jumpMs: number }>;

/** A step beyond what the time of the reading explains, that is still followed. */
export const toleranceMs = 1_000;
/** Two clocks part by some seconds in a day; where one is slewed by more than this, the rest is a jump now and then. */
const drift = 0.001;
/** Older jumps are told apart no longer. */
const mostJumps = 16;

export function readClock(last: SteadyClock | null, reading: Reading): Told {
  const { serverMs, fromMs, toMs } = reading;
  const now = { fromMs: serverMs - toMs, toMs: serverMs - fromMs };
  if (last === null) return { clock: { atMs: serverMs, offsetMs: 0, ahead: now, readMs: toMs, jumps: [] }, jumpMs: 0 };
  const driftMs = drift * Math.max(0, toMs - last.readMs);
  const before = { fromMs: last.ahead.fromMs - driftMs, toMs: last.ahead.toMs + driftMs };
  const apart = now.fromMs > before.toMs + toleranceMs || now.toMs < before.fromMs - toleranceMs;
  if (apart) return jumped(last, reading, { now, before });
  // A small step moves nothing here, so that several of them add up to a jump.
  const nearest = (ms: number) => Math.min(Math.max(ms, before.fromMs), before.toMs);
  const ahead = { fromMs: nearest(now.fromMs), toMs: nearest(now.toMs) };
  const atMs = Math.max(last.atMs, serverMs - last.offsetMs);
  return { clock: { ...last, atMs, ahead, readMs: toMs }, jumpMs: 0 };
}

type Ahead = SteadyClock["ahead"];

function jumped(
  last: SteadyClock,
  { serverMs, toMs }: Reading,
  { now, before }: Readonly<{ now: Ahead; before: Ahead }>,
): Told {
  // The most that it can be: then no more time has passed than has.
  const jumpMs = Math.ceil(now.toMs - before.fromMs);
  const offsetMs = last.offsetMs + jumpMs;
  const atMs = Math.max(last.atMs, serverMs - offsetMs);
  const jumps = fewer([...last.jumps, { offsetMs: last.offsetMs, lastMs: last.atMs, firstMs: atMs }]);
  return { clock: { atMs, offsetMs, ahead: now, readMs: toMs, jumps }, jumpMs };
}

/** What began before the second jump is then as young as either of the two offsets makes it. */
function fewer(jumps: readonly Jump[]): readonly Jump[] {
  const [first, second, ...rest] = jumps;
  if (jumps.length <= mostJumps || first === undefined || second === undefined) return jumps;
  return [{ ...second, offsetMs: Math.min(first.offsetMs, second.offsetMs) }, ...rest];
}

/** The time between two jumps, by the steady clock. */
type Stretch = Readonly<{ offsetMs: number; fromMs: number; untilMs: number }>;

function stretchesOf({ jumps, offsetMs }: SteadyClock): readonly Stretch[] {
  const offsets = [...jumps.map((jump) => jump.offsetMs), offsetMs];
  return offsets.map((offset, at) => ({
    offsetMs: offset,
    fromMs: jumps[at - 1]?.lastMs ?? Number.NEGATIVE_INFINITY,
    untilMs: jumps[at]?.firstMs ?? Number.POSITIVE_INFINITY,
  }));
}

/**
 * The age, without the jumps since, of what the server calls so old at this reading: never more than that. A beginning by the
 * server's clock may fall into more than one stretch (an hour that was set back comes twice): then the latest is taken.
 */
export function steadyAge(clock: SteadyClock, { serverMs }: Pick<Reading, "serverMs">): (ageMs: Ms) => Ms {
  const last = clock.jumps.at(-1);
  if (last === undefined) return (ageMs) => ageMs;
  const stretches = stretchesOf(clock);
  return (ageMs) => {
    if (ageMs === null) return null;
    let latest = Number.NEGATIVE_INFINITY;
    for (const { offsetMs, fromMs, untilMs } of stretches) {
      const beganMs = serverMs - ageMs - offsetMs;
      const falls = beganMs >= fromMs - toleranceMs && beganMs <= untilMs + toleranceMs;
      if (falls && beganMs > latest) latest = beganMs;
    }
    // In none: the clock jumped more than once between two looks, and it began there.
    const beganMs = latest === Number.NEGATIVE_INFINITY ? last.firstMs : latest;
    return Math.min(ageMs, Math.max(0, clock.atMs - beganMs));
  };
}
