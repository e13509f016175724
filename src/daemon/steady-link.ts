import { readClock, type SteadyClock } from "../core/steady-clock.ts";
import { steadySnapshot } from "../core/steady-snapshot.ts";
import type { Link } from "../engines/engine.ts";

/**
 * What is known of one target's clock. It outlives every connection: a jump before a reconnect is none after it either. After a
 * failover the other server's clock is as one that has jumped, so that limits count on.
 */
export type KeptClock = { last: SteadyClock | null };

export type SteadyLinkOptions = Readonly<{
  clock: KeptClock;
  /** The server's clock has jumped by so many ms since the last look. */
  jumped(ms: number): void;
  now?: () => number;
}>;

/** The same link, whose looks do not show the jumps of the server's clock. */
export function steadyLink(link: Link, { clock, jumped, now = () => performance.now() }: SteadyLinkOptions): Link {
  return {
    ...link,
    read: async (look, signal) => {
      const fromMs = now();
      const seen = await link.read(look, signal);
      const reading = { serverMs: seen.atMs, fromMs, toMs: now() };
      const told = readClock(clock.last, reading);
      clock.last = told.clock;
      if (told.jumpMs !== 0) jumped(told.jumpMs);
      return steadySnapshot(seen, told.clock, reading);
    },
  };
}
