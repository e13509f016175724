import type { ActivityLook } from "./activity.ts";
import type { GaussLocks } from "./lock-rows.ts";

/** Says in words who holds or waits for contended locks without being listed. */
export type Unseen = (
  locks: GaussLocks | null,
  activity: ActivityLook,
  /** The ids of those who are hidden, read anew. */
  hidden: () => Promise<readonly string[]>,
) => Promise<readonly string[]>;

/**
 * Without MONADMIN the sessions of other users are missing from the list, while their locks show. One that ended between the
 * two statements of a look is missing as well, so that only who is missing from two looks running counts; beside the first
 * look, which may be the only one, they are asked for once more.
 */
export function unseenHolders(): Unseen {
  let before: ReadonlySet<string> | null = null;
  return async (locks, activity, hidden) => {
    if (locks === null) return [];
    const listed = new Set(activity.rows.map((row) => row.sessionId));
    const missing = new Set<string>();
    for (const { pid, sessionId, contended } of locks.rows) {
      if (contended && pid !== null && sessionId != null && !listed.has(sessionId)) missing.add(sessionId);
    }
    const known = before ?? new Set(missing.size === 0 ? [] : await hidden());
    const still = [...missing].filter((one) => known.has(one)).length;
    before = missing;
    if (still === 0) return [];
    const who =
      still === 1 ? "1 session that holds or waits for a lock is" : `${still} sessions that hold or wait for locks are`;
    return [`${who} hidden from our role, and never acted on; alter its user to MONADMIN`];
  };
}
