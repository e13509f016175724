import type { Session } from "../../core/session.ts";
import type { LockWait } from "../../core/snapshot.ts";

/** The waits of a look with their ages, as far as they can be told. */
export type WaitAges = (waits: readonly LockWait[], sessions: readonly Session[], atMs: number) => readonly LockWait[];

/**
 * Before 14 the server does not say since when a lock is waited for: a wait is then as old as it has been seen. The same wait
 * is the same lock and mode of the same statement; of a session that shows neither its start nor its statement nobody knows.
 */
export function waitAges(): WaitAges {
  let seen: ReadonlyMap<string, number> = new Map();
  return (waits, sessions, atMs) => {
    if (waits.every(({ waitMs }) => waitMs !== null)) {
      seen = new Map();
      return waits;
    }
    const statements = new Map(sessions.map((session) => [session.key, statementOf(session)]));
    const now = new Map<string, number>();
    const aged = waits.map((wait) => {
      const statement = statements.get(wait.waiter) ?? null;
      if (wait.waitMs !== null || statement === null) return wait;
      const key = `${wait.pid ?? ""} ${statement} ${wait.lock} ${wait.mode}`;
      const since = seen.get(key) ?? atMs;
      now.set(key, since);
      return { ...wait, waitMs: Math.max(0, atMs - since) };
    });
    seen = now;
    return aged;
  };
}

function statementOf({ identity, queryAt, state }: Session): string | null {
  return state === null || queryAt === null ? null : `${identity} ${queryAt}`;
}
