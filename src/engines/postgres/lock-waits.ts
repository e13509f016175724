import { groupBy } from "../../core/group-by.ts";
import { conflictingModes, conflicts, covers, isAtLeast } from "../../core/lock-mode.ts";
import type { NodeKey, Relation } from "../../core/session.ts";
import type { Hold, LockWait } from "../../core/snapshot.ts";
import type { LockRow } from "./lock-rows.ts";

// Lock rows in, holds and waits with their blockers out; no clock, no server.

export type LockContext = Readonly<{
  /** The session or prepared transaction of a row, a parallel worker's leader for the worker; null: nobody that we can see. */
  nodeOf(row: LockRow): NodeKey | null;
  /** The table that the row is about, an index standing for its table; null: it has no name that we know. */
  relationOf(row: LockRow): Relation | null;
  /** No row of its own can be waited for: a sequence, a view, a partitioned table. */
  isRowless(row: LockRow): boolean;
  /** The rows carry the moment when each wait began (14+). */
  ordered: boolean;
  /** Where the server itself says behind whom a waiter queues: the waiting rows ahead of this one. Left out: it is worked out. */
  ahead?(row: LockRow): readonly LockRow[];
  /** False: locks that nobody waits for are missing, so nothing can be said of a table by what both sides hold. */
  holdsComplete: boolean;
}>;

export type Locks = Readonly<{ holds: readonly Hold[]; waits: readonly LockWait[] }>;
type Blocker = LockWait["blockers"][number];
type Blocked = Readonly<{ blockers: readonly Blocker[]; hidden: boolean }>;

/** Everything that a snapshot says of locks. Rows of a waiter that nobody can see are left out. */
export function lockWaits(rows: readonly LockRow[], context: LockContext): Locks {
  const byNode = grantedByNode(rows, context);
  const waits: LockWait[] = [];
  const byLock = groupBy(rows, (row) => row.lock);
  for (const [lock, onIt] of byLock) {
    if (onIt.every((row) => row.granted)) continue;
    const blocked = blockersOn(onIt, context);
    for (const row of onIt) {
      const waiter = row.granted ? null : context.nodeOf(row);
      if (waiter === null) continue;
      const { blockers, hidden } = blocked.get(row) ?? { blockers: [], hidden: true };
      waits.push({
        waiter,
        pid: row.pid,
        lock,
        locktype: row.locktype,
        mode: row.mode,
        ...contendedRelation(row, waiter, blockers, { byNode, context }),
        waitMs: row.waitMs,
        waitAt: row.waitAt,
        blockers,
        hiddenBlocker: hidden,
      });
    }
  }
  return { holds: holds(rows, byLock, context), waits };
}

function holds(rows: readonly LockRow[], byLock: Iterable<[string, LockRow[]]>, context: LockContext): readonly Hold[] {
  const again = repeated(byLock, context);
  const found: Hold[] = [];
  for (const row of rows) {
    const holder = row.granted && !again.has(row) ? context.nodeOf(row) : null;
    if (holder === null) continue;
    const { lock, locktype, mode } = row;
    found.push({ holder, lock, locktype, mode, relation: context.relationOf(row) });
  }
  return found;
}

/** Granted rows that say what one before them says: the workers of one query hold the same locks as their leader. */
function repeated(byLock: Iterable<[string, LockRow[]]>, context: LockContext): ReadonlySet<LockRow> {
  const again = new Set<LockRow>();
  for (const [, onIt] of byLock) {
    if (onIt.length === 1) continue;
    const holders = new Map<string, Set<NodeKey>>();
    for (const row of onIt) {
      const holder = row.granted ? context.nodeOf(row) : null;
      if (holder === null) continue;
      const before = holders.get(row.mode) ?? new Set();
      if (before.has(holder)) again.add(row);
      holders.set(row.mode, before.add(holder));
    }
  }
  return again;
}

/** Who blocks whom on one lock. */
function blockersOn(rows: readonly LockRow[], context: LockContext): ReadonlyMap<LockRow, Blocked> {
  const held: (Blocker & { mode: string })[] = [];
  let unseen: readonly string[] = [];
  for (const row of rows) {
    if (!row.granted) continue;
    const node = context.nodeOf(row);
    if (node === null) unseen = [...unseen, row.mode];
    else held.push({ node, soft: false, mode: row.mode });
  }
  const hardOf = new Map<string, readonly Blocker[]>();
  const hard = (row: LockRow): readonly Blocker[] => {
    let all = hardOf.get(row.mode);
    if (all === undefined) {
      all = distinct(held.filter((one) => conflicts(one.mode, row.mode)).map(({ node }) => ({ node, soft: false })));
      hardOf.set(row.mode, all);
    }
    // A lock never keeps out its own group: one who upgrades a lock waits only for the other holders.
    const own = context.nodeOf(row);
    return all.some((one) => one.node === own) ? all.filter((one) => one.node !== own) : all;
  };
  const waiting = rows.filter((row) => !row.granted);
  const isKeptOut = (row: LockRow) => hard(row).length > 0 || unseen.some((mode) => conflicts(mode, row.mode));
  const { ahead: named } = context;
  const worked = () =>
    context.ordered
      ? queueEdges(possibleQueue(queueOf(waiting, rows, context), isKeptOut))
      : inferredEdges(waiting, hard);
  const soft = named === undefined ? worked() : new Map(waiting.map((row) => [row, named(row)]));
  const result = new Map<LockRow, Blocked>();
  for (const row of waiting) {
    const ahead = soft.get(row) ?? [];
    let blockers = hard(row);
    if (ahead.length > 0) {
      const own = context.nodeOf(row);
      const nodes = ahead.map((other) => context.nodeOf(other)).filter((node) => node !== null && node !== own);
      blockers = distinct([...blockers, ...nodes.map((node) => ({ node: node ?? "", soft: true }))]);
    }
    const hidden = unseen.some((mode) => conflicts(mode, row.mode)) || ahead.some((o) => context.nodeOf(o) === null);
    result.set(row, { blockers, hidden: hidden || blockers.length === 0 });
  }
  return result;
}

/** The first entry of each node: hard ones come first. */
function distinct(blockers: readonly Blocker[]): readonly Blocker[] {
  const seen = new Set<NodeKey>();
  return blockers.filter(({ node }) => !seen.has(node) && seen.add(node));
}

/**
 * The lock's queue, first to be served first, as the server's ProcSleep builds it: at the end, but one who already holds
 * the lock goes before the first waiter that conflicts with what it holds. (Without this, an upgrade behind an ALTER
 * would look like a deadlock.) A wait that has no start yet is the latest.
 */
function queueOf(waiting: readonly LockRow[], rows: readonly LockRow[], context: LockContext): readonly LockRow[] {
  const heldBy = new Map<NodeKey | null, string[]>();
  for (const row of rows) {
    const node = row.granted ? context.nodeOf(row) : null;
    if (node !== null) heldBy.set(node, [...(heldBy.get(node) ?? []), row.mode]);
  }
  const arrived = waiting.toSorted((a, b) => (since(a) < since(b) ? -1 : Number(since(a) > since(b))));
  const queue: LockRow[] = [];
  for (const row of arrived) {
    const held = heldBy.get(context.nodeOf(row)) ?? [];
    const before = held.length === 0 ? -1 : queue.findIndex((o) => held.some((mode) => conflicts(mode, o.mode)));
    queue.splice(before < 0 ? queue.length : before, 0, row);
  }
  return queue;
}

/**
 * Nobody waits for nothing: one whom no holder keeps out, and who has nobody ahead that does, was queued later than the
 * order so far says, right behind the next one that it conflicts with. (The moment is noted only after the queueing, so
 * that two who come at once may note it the other way round; and a deadlock check may change the order.)
 */
function possibleQueue(queue: readonly LockRow[], isKeptOut: (row: LockRow) => boolean): readonly LockRow[] {
  const placed: LockRow[] = [];
  const modes = new Set<string>();
  let early: readonly LockRow[] = [];
  const place = (row: LockRow): void => {
    placed.push(row);
    modes.add(row.mode);
    const next = early.filter((one) => conflicts(one.mode, row.mode));
    early = early.filter((one) => !next.includes(one));
    for (const one of next) place(one);
  };
  for (const row of queue) {
    if (isKeptOut(row) || conflictingModes(row.mode).some((mode) => modes.has(mode))) place(row);
    else early = [...early, row];
  }
  return [...placed, ...early];
}

const since = (row: LockRow) => row.waitAt ?? "9999";

/**
 * Soft edges: to whoever queues ahead in a conflicting mode, nearest first, as far as is needed to reach all of them:
 * past one whose own conflicts include ours, its edges lead to the rest. A thousand waiters make a thousand edges.
 */
function queueEdges(queue: readonly LockRow[]): ReadonlyMap<LockRow, readonly LockRow[]> {
  const edges = new Map<LockRow, readonly LockRow[]>();
  const placesOf = new Map<string, number[]>();
  for (const [place, row] of queue.entries()) {
    const lanes = conflictingModes(row.mode).map((mode) => placesOf.get(mode) ?? []);
    const nearestCover = Math.max(
      -1,
      ...conflictingModes(row.mode)
        .filter((mode) => covers(mode, row.mode))
        .map((mode) => placesOf.get(mode)?.at(-1) ?? -1),
    );
    const ahead: number[] = [];
    for (const lane of lanes) {
      for (let at = lane.length - 1; at >= 0 && (lane[at] ?? -1) >= nearestCover; at--) ahead.push(lane[at] ?? 0);
    }
    ahead.sort((a, b) => b - a);
    edges.set(
      row,
      ahead.map((other) => queue[other]).filter((other) => other !== undefined),
    );
    const own = placesOf.get(row.mode);
    if (own === undefined) placesOf.set(row.mode, [place]);
    else own.push(place);
  }
  return edges;
}

/**
 * Before 14 the queue's order does not show. What can be inferred: a waiter that no holder keeps out waits behind others
 * in the queue, and only behind some that a holder keeps out. There may be an edge too many; the guard asks the server
 * about each before an act. No edge at all is drawn between two that a holder keeps out: no cycles by guessing.
 */
function inferredEdges(
  waiting: readonly LockRow[],
  hard: (row: LockRow) => readonly Blocker[],
): ReadonlyMap<LockRow, readonly LockRow[]> {
  const keptOut = waiting.filter((row) => hard(row).length > 0);
  const free = waiting.filter((row) => hard(row).length === 0);
  return new Map(free.map((row) => [row, keptOut.filter((other) => conflicts(other.mode, row.mode))]));
}

/** Waits for who writes a row: for the end of the transaction, or of an insert that may yet be taken back (on conflict). */
const ofRows: ReadonlySet<string> = new Set(["transactionid", "spectoken", "speculative token"]);

type Granted = ReadonlyMap<NodeKey, readonly LockRow[]>;

function grantedByNode(rows: readonly LockRow[], context: LockContext): Granted {
  const waiting = new Set(rows.filter((row) => !row.granted).map((row) => row.lock));
  if (waiting.size === 0) return new Map();
  const tables = rows.filter((row) => row.granted && (row.locktype === "relation" || row.locktype === "tuple"));
  return groupBy(tables, (row) => context.nodeOf(row) ?? "");
}

type Attribution = Pick<LockWait, "relation" | "candidates">;
type Held = Readonly<{ byNode: Granted; context: LockContext }>;

/** The table that a wait is about. */
function contendedRelation(row: LockRow, waiter: NodeKey, blockers: readonly Blocker[], held: Held): Attribution {
  if (row.relationId !== null) return { relation: held.context.relationOf(row), candidates: [] };
  if (!ofRows.has(row.locktype)) return { relation: null, candidates: [] };
  const own = (held.byNode.get(waiter) ?? []).filter((one) => one.pid === row.pid);
  // Who waits for a row's writer holds the row's place in the queue meanwhile: a granted tuple lock.
  const rows = distinctTables(own.filter((one) => one.locktype === "tuple"));
  const [only] = rows;
  if (only !== undefined && rows.length === 1) return { relation: held.context.relationOf(only), candidates: [] };
  return { relation: null, candidates: sharedTables(own, blockers, held) };
}

/**
 * No tuple lock: a unique key, say. The table is one of those that both sides hold for rows. Nothing is said when one of them
 * has no name, or when the waiter holds a catalog: it may be the nameless one, or the catalog, that the wait is about.
 */
function sharedTables(own: readonly LockRow[], blockers: readonly Blocker[], held: Held): readonly Relation[] {
  const mine = forRows(own);
  if (!held.context.holdsComplete || mine.some((row) => Number(row.relationId) < firstOrdinaryRelation)) return [];
  const theirs = new Set<string>();
  for (const { node } of blockers) for (const row of forRows(held.byNode.get(node) ?? [])) theirs.add(tableKey(row));
  const named = new Map<string, Relation>();
  for (const row of distinctTables(mine)) {
    if (!theirs.has(tableKey(row)) || held.context.isRowless(row)) continue;
    const relation = held.context.relationOf(row);
    if (relation === null) return [];
    named.set(`${relation.database}.${relation.schema}.${relation.name}`, relation);
  }
  return [...named.values()];
}

function forRows(rows: readonly LockRow[]): readonly LockRow[] {
  return rows.filter((row) => row.locktype === "relation" && isAtLeast(row.mode, "RowShareLock"));
}

const firstOrdinaryRelation = 16_384;
const tableKey = (row: LockRow) => `${row.databaseId}/${row.relationId}`;

function distinctTables(rows: readonly LockRow[]): readonly LockRow[] {
  return [...new Map(rows.map((row) => [tableKey(row), row])).values()];
}
