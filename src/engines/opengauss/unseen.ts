import type { ActivityLook } from "./activity.ts";
import type { GaussLocks } from "./lock-rows.ts";

/** Says in words who holds or waits for contended locks without being listed. */
export type Unseen = (locks: GaussLocks | null, activity: ActivityLook) => readonly string[];

/**
 * Without MONADMIN the sessions of other users are missing from the list, while their locks show. One that ended between the
 * two statements of a look is missing as well, so that only who is missing from two looks running counts.
 */
export function unseenHolders(): Unseen {
  let before: ReadonlySet<string> = new Set();
  return (locks, activity) => {
    if (locks === null) return [];
    const listed = new Set(activity.rows.map((row) => row.sessionId));
    const missing = new Set<string>();
    for (const { pid, sessionId, contended } of locks.rows) {
      if (contended && pid !== null && sessionId != null && !listed.has(sessionId)) missing.add(`${pid},${sessionId}`);
    }
    const still = [...missing].filter((one) => before.has(one)).length;
    before = missing;
    if (still === 0) return [];
    return [
      `${still} sessions that hold or wait for locks are hidden from our role, and never acted on; alter its user to MONADMIN`,
    ];
  };
}
