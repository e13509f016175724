import type { Connection, Row } from "./connection.ts";
import { momentOf } from "./moment.ts";
import { forVersion } from "./versions.ts";

/** One row of pg_lock_status(); ids are the server's own text. */
export type LockRow = Readonly<{
  /** null: a prepared transaction's. */
  pid: string | null;
  /** The holder's session, where the server names it beside the pid. */
  sessionId?: string | null;
  lock: string;
  locktype: string;
  databaseId: string | null;
  relationId: string | null;
  transactionId: string | null;
  /** Of a prepared transaction's; "" of others, which their pid names. */
  virtualTransaction: string;
  mode: string;
  granted: boolean;
  /** Somebody waits for this very lock (or it cannot be excluded that somebody does). */
  contended: boolean;
  waitAt: string | null;
  waitMs: number | null;
}>;

export type LockLook = Readonly<{
  rows: readonly LockRow[];
  /** Locks that nobody waits for were left out: there were too many. */
  holdsCapped: boolean;
  /** Even contended locks were left out: no graph can be trusted. */
  waitsCapped: boolean;
}>;

/**
 * Some 60 MB while a look lasts. A server at its defaults has room for 6,400 locks; a dump of 50,000 tables holds as many.
 * Those that somebody waits for come first, so that only the rest is left out.
 */
export const mostLocks = 100_000;
/** Below are the catalogs. */
const firstOrdinaryRelation = 16_384;

/** Names a lock: the kind, then the parts that this kind has. The guard and the proof ask with it, so `lockOf` makes the same text. */
export const lockText = `l.locktype || ' ' || pg_catalog.concat_ws('/', l.database, l.relation, l.page, l.tuple,
  l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid)`;

function lockOf(row: Row): string {
  const parts = [row["database"], row["relation"], row["page"], row["tuple"], row["virtualxid"]];
  parts.push(row["transactionid"], row["classid"], row["objid"], row["objsubid"]);
  return `${row["locktype"]} ${parts.filter((part) => part != null).join("/")}`;
}

const columns = (waitStart: string) => `l.pid, l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid,
  l.transactionid, l.classid, l.objid, l.objsubid, case when l.pid is null then l.virtualtransaction end as virtualtransaction, l.mode, l.granted, ${waitStart} as wait_at,
  case when not l.granted then pg_catalog.clock_timestamp() end as now`;

// One read of the lock table, as it is: to look for what somebody waits for costs the server more than to send it all. A
// virtual transaction that is still on the fast path is one that nobody waits for: who waits takes it off.
const allSql = (waitStart: string) => `/* lockwarden:locks */
select ${columns(waitStart)}
  from pg_catalog.pg_lock_status() as l
 where l.mode <> 'SIReadLock' and not (l.fastpath and l.locktype = 'virtualxid')
 limit $1::int8`;

// For a table with more locks than one look reads: the server chooses, and whatever somebody waits for comes first. By the
// whole name of a lock: who holds a hundred thousand that only resemble one that is waited for must not blind Lockwarden.
const chosenSql = (waitStart: string) => `/* lockwarden:locks */
with named as materialized (
  select l.*, ${lockText} as lock from pg_catalog.pg_lock_status() as l where l.mode <> 'SIReadLock'),
l as materialized (
  select n.*, n.lock in (select w.lock from named as w where not w.granted)
      or n.locktype = 'transactionid' and n.pid is null as contended
    from named as n)
select ${columns(waitStart)}, l.contended
  from l
 where l.contended
    or l.locktype in ('relation', 'tuple')
   and (l.relation >= ${firstOrdinaryRelation} or l.pid in (select w.pid from l as w where not w.granted))
 order by l.contended desc
 limit $1::int8`;

const statements = [
  [120_000, { all: allSql("null::timestamptz"), chosen: chosenSql("null::timestamptz") }],
  [140_000, { all: allSql("l.waitstart"), chosen: chosenSql("l.waitstart") }],
] as const;

/** From 14 the server says since when a lock is waited for. */
export const waitStartSince = 140_000;

/** One statement; two where there are more than `most` locks. */
export async function readLocks(connection: Connection, signal: AbortSignal, most = mostLocks): Promise<LockLook> {
  const { all, chosen } = forVersion(statements, connection.versionNumber);
  const dated = connection.versionNumber >= waitStartSince;
  const values = [String(most + 1)];
  const whole = await connection.queryPrepared(all, values, signal);
  if (whole.length <= most) return { rows: wantedRows(whole, dated), holdsCapped: false, waitsCapped: false };
  const rows = await connection.query(chosen, values, signal);
  const locks = rows.slice(0, most).map((row) => lockRow(row, row["contended"] === "t", dated));
  const capped = rows.length > most;
  return { rows: locks, holdsCapped: capped, waitsCapped: capped && locks.at(-1)?.contended === true };
}

/**
 * Wanted are: whoever waits, and whatever somebody waits for; every transaction id of prepared transactions, as their own is
 * among them; and tables held by anybody, for `holds` and to attribute row-lock waits. Catalogs only of those who wait.
 */
export function wantedRows(rows: readonly Row[], dated: boolean): readonly LockRow[] {
  const waitedFor = new Set<string>();
  const waiting = new Set<string | null>();
  for (const row of rows) {
    if (row["granted"] === "t") continue;
    waitedFor.add(lockOf(row));
    waiting.add(row["pid"] ?? null);
  }
  const wanted: LockRow[] = [];
  for (const row of rows) {
    const { locktype, relation, pid = null } = row;
    const contended = waitedFor.has(lockOf(row)) || (locktype === "transactionid" && pid === null);
    const ofTable = locktype === "relation" || locktype === "tuple";
    const kept = contended || (ofTable && (Number(relation) >= firstOrdinaryRelation || waiting.has(pid)));
    if (kept) wanted.push(lockRow(row, contended, dated));
  }
  return wanted;
}

function lockRow(row: Row, contended: boolean, dated: boolean): LockRow {
  const text = (name: string) => row[name] ?? null;
  const granted = text("granted") === "t";
  const shown = text("wait_at");
  const waitAt = shown === null ? null : momentOf(shown);
  return {
    pid: text("pid"),
    lock: lockOf(row),
    locktype: text("locktype") ?? "",
    databaseId: text("database"),
    relationId: text("relation"),
    transactionId: text("transactionid"),
    virtualTransaction: text("virtualtransaction") ?? "",
    mode: text("mode") ?? "",
    granted,
    contended,
    waitAt,
    waitMs: granted || !dated ? null : waitedMs(waitAt, text("now")),
  };
}

/** A wait that began this very moment has no start yet. */
function waitedMs(waitAt: string | null, now: string | null): number {
  return waitAt === null || now === null ? 0 : Math.max(0, Date.parse(momentOf(now)) - Date.parse(waitAt));
}
