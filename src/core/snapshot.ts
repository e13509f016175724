import type { Ms, NodeKey, Prepared, Relation, Session, Text } from "./session.ts";

/** The kinds of lock that PostgreSQL names in pg_locks.locktype. */
export type LockType = string;

/** A granted lock. */
export type Hold = Readonly<{
  holder: NodeKey;
  lock: string;
  locktype: LockType;
  mode: string;
  relation: Relation | null;
}>;

/** One ungranted lock. */
export type LockWait = Readonly<{
  waiter: NodeKey;
  /** The backend that sleeps; differs from the waiter's own pid in a parallel worker. */
  pid: Text;
  /** Names the lock: equal text is the same lock. */
  lock: string;
  locktype: LockType;
  mode: string;
  /** The contended relation, where it is certain. */
  relation: Relation | null;
  /** Where the server does not say which one it is: the relations that both sides hold. */
  candidates: readonly Relation[];
  /** Since the wait began; where the server does not say, since it was first seen. */
  waitMs: Ms;
  /** The moment the wait began, for the guard. (PostgreSQL 14+) waitstart. */
  waitAt: Text;
  /** Hard: holds the lock. Soft: queues ahead of it in a conflicting mode. */
  blockers: readonly Readonly<{ node: NodeKey; soft: boolean }>[];
  /** Blocked by something that cannot be seen or named. */
  hiddenBlocker: boolean;
}>;

/** What answered, for people. */
export function serverText({ engine, serverVersion }: Pick<Snapshot, "engine" | "serverVersion">): string {
  return `${engine} ${serverVersion}`;
}

export type Snapshot = Readonly<{
  version: 1;
  target: string;
  engine: string;
  serverVersion: string;
  /** Changes on failover. */
  serverId: string;
  /** The server's clock, ISO 8601. */
  at: string;
  /** The same moment in ms since 1970; where the clock jumped while Lockwarden watched, without its jumps. */
  atMs: number;
  /** What the server's own clock shows, where that is something else. */
  wallMs?: number;
  recovery: boolean;
  sessions: readonly Session[];
  prepared: readonly Prepared[];
  /** null: not read in this look. */
  holds: readonly Hold[] | null;
  waits: readonly LockWait[] | null;
  /** Somebody waits for a lock. */
  contended: boolean;
  /** What could not be seen, or was capped, in words. */
  gaps: readonly string[];
}>;

/** In ms since 1970, for the hours of rules: what people read off a clock. */
export function serverClockMs({ wallMs, atMs }: Pick<Snapshot, "wallMs" | "atMs">): number {
  return wallMs ?? atMs;
}
