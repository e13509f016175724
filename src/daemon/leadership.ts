import { leaselessText } from "../core/abilities.ts";
import type { Link } from "../engines/engine.ts";
import type { Log } from "./log-port.ts";
import { createOnce } from "./once.ts";

/** A follower asks at every look, and at least this often: a daemon that died is replaced soon, whatever `poll` says. */
export const standByMs = 5_000;

/** Who of several daemons may act on one target. The right is the server's to give, and goes with the connection. */
export type Leadership = Readonly<{
  /** The right to act is ours, as long as this connection lasts. */
  held(): boolean;
  /** Asks for the right, unless it is ours. `tookOver`: it was another's before. */
  ask(link: Link, signal: AbortSignal): Promise<Readonly<{ held: boolean; tookOver: boolean }>>;
  /** The connection is gone. */
  lose(): void;
}>;

export function leadership({ target, log }: Readonly<{ target: string; log: Log }>): Leadership {
  const once = createOnce();
  let held = false;
  let follows = false;
  return {
    held: () => held,
    ask: async (link, signal) => {
      if (held) return { held, tookOver: false };
      const lease = await link.lease(signal);
      held = lease !== "taken";
      const tookOver = held && follows;
      follows = !held;
      const isNew = once.changed("lease", lease);
      if (isNew && lease === "unsupported") log.warn({ target }, leaselessText);
      if (isNew && follows) {
        log.warn(
          { target },
          "another Lockwarden acts on this target; this one observes, and takes over when that one ends",
        );
      }
      if (tookOver)
        log.warn({ target }, "this Lockwarden acts on this target now: the other one ended, or lost the server");
      return { held, tookOver };
    },
    lose: () => {
      held = false;
      once.clear("lease");
    },
  };
}
