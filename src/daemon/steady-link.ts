import { readClock, type SteadyClock } from "../core/steady-clock.ts";
import { steadySnapshot } from "../core/steady-snapshot.ts";
import type { Link } from "../engines/engine.ts";

/** What is known of one server's clock. It outlives every connection: a jump before a reconnect is none after it either. */
export type KeptClock = { last: SteadyClock | null; serverId?: string };

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
      // After a failover there is another clock, which has not jumped.
      const told = readClock(clock.serverId === seen.serverId ? clock.last : null, reading);
      clock.serverId = seen.serverId;
      clock.last = told.clock;
      if (told.jumpMs !== 0) jumped(told.jumpMs);
      return steadySnapshot(seen, told.clock, reading);
    },
  };
}
