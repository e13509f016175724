import { conflicts } from "../../core/lock-mode.ts";
import type { NodeKey, Relation } from "../../core/session.ts";
import type { LockRow } from "../postgres/lock-rows.ts";
import { type Locks, lockWaits } from "../postgres/lock-waits.ts";
import { preparedByVirtual } from "../postgres/prepared.ts";
import type { Activity, ActivityLook } from "./activity.ts";
import type { GaussLocks } from "./lock-rows.ts";

export type WaitsOf = Readonly<{
  locks: GaussLocks;
  activity: ActivityLook;
  /** The server names one blocker of each waiter. */
  namesBlocker: boolean;
  /** Keys of the prepared transactions that are listed. */
  prepared: ReadonlySet<NodeKey>;
  relationOf(row: LockRow): Relation | null;
  isRowless(row: LockRow): boolean;
}>;

/**
 * Holds and waits of a look. The holders are worked out from the lock rows, all of them: the server names one blocker only.
 * Who queues ahead is what the server names, where it is a waiter on the same lock.
 */
export function waitsOf({ locks, activity, namesBlocker, prepared, relationOf, isRowless }: WaitsOf): Locks {
  const sessions = new Map(activity.rows.map((row) => [row.sessionId, row]));
  const preparedOf = preparedByVirtual(locks.rows, prepared);
  const nodeOf = (row: LockRow): NodeKey | null => {
    if (row.pid === null) return preparedOf.get(row.virtualTransaction) ?? null;
    const session = sessions.get(row.sessionId ?? "");
    return session !== undefined && isHolder(session, row, locks.at) ? session.sessionId : null;
  };
  const context = { nodeOf, relationOf, isRowless, ordered: false, holdsComplete: !locks.holdsCapped };
  return lockWaits(locks.rows, namesBlocker ? { ...context, ahead: namedAhead(locks.rows, sessions) } : context);
}

/**
 * The locks were read first. A session that connected later, or is on another thread by now, has the id of who held them
 * and nothing else: ids are used again at once.
 */
function isHolder({ start, session }: Activity, row: LockRow, at: string | null): boolean {
  // Both in the same form, to the microsecond: the order of the texts is that of the moments.
  return session.pid === row.pid && start !== null && at !== null && start <= at;
}

/** The waiter that the server names as this one's blocker, if it does wait for the same lock, in a mode that keeps this one out. */
function namedAhead(
  rows: readonly LockRow[],
  sessions: ReadonlyMap<string, Activity>,
): (row: LockRow) => readonly LockRow[] {
  const waiting = new Map<string, LockRow>();
  for (const row of rows) if (!row.granted && row.sessionId != null) waiting.set(`${row.sessionId} ${row.lock}`, row);
  // The id of a prepared transaction's holder is that of the session which prepared it: where such a one holds, a name is no waiter's.
  const twoPhase = new Set(rows.filter((row) => row.pid === null && row.granted).map((row) => row.lock));
  return (row) => {
    const blocker = sessions.get(row.sessionId ?? "")?.blockSessionId ?? null;
    if (blocker === null || blocker === row.sessionId || twoPhase.has(row.lock)) return [];
    const other = waiting.get(`${blocker} ${row.lock}`);
    return other !== undefined && conflicts(other.mode, row.mode) ? [other] : [];
  };
}
