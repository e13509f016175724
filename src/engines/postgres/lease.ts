import type { Lease } from "../engine.ts";
import type { Connection } from "./connection.ts";

/** Fixed for ever: daemons of different versions must ask for the same lock. "lock", "ward" in ASCII. */
export const leaseKeys = { class: 0x6c_6f_63_6b, object: 0x77_61_72_64 } as const;

// Never the form that waits: a waiting twin would look like a session that is blocked.
const tryLock = "select /* lockwarden:lease */ pg_catalog.pg_try_advisory_lock($1::int, $2::int) as held";

/**
 * Asks for the right to act, on the session that signals. Once held it is held for as long as that session lives, and
 * without the session there is nothing to act with: so the server is not asked again (each time would lock once more).
 */
export function leaseOn(actor: Connection): (signal: AbortSignal) => Promise<Lease> {
  let held = false;
  return async (signal) => {
    if (held && actor.isOpen()) return "held";
    const [row] = await actor.query(tryLock, [String(leaseKeys.class), String(leaseKeys.object)], signal);
    held = row?.["held"] === "t";
    return held ? "held" : "taken";
  };
}
