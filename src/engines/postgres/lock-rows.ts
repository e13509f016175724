import type { Connection, Row } from "./connection.ts";
import { forVersion } from "./versions.ts";

/** One row of pg_lock_status(); ids are the server's own text. */
export type LockRow = Readonly<{
  /** null: a prepared transaction's. */
  pid: string | null;
  lock: string;
  locktype: string;
  databaseId: string | null;
  relationId: string | null;
  transactionId: string | null;
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

/** Names a lock: the kind, then the parts that this kind has. The guard builds the same text, from the same expression. */
export const lockText = `l.locktype || ' ' || pg_catalog.concat_ws('/', l.database, l.relation, l.page, l.tuple,
  l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid)`;

// One read of the lock table. Wanted are: whoever waits; whatever somebody may be waiting for (by one column each, so that
// the server can hash; a few rows too many do no harm); every lock of prepared transactions, as their id is among them; and
// tables held by anybody, for `holds` and to attribute row-lock waits. Catalogs (below 16384) only of those who wait.
const locksSql = (waitStart: string) => `/* lockwarden:locks */
with l as materialized (select * from pg_catalog.pg_lock_status() where mode <> 'SIReadLock'),
wanted as (
  select l.*, not l.granted
      or l.relation in (select w.relation from l as w where not w.granted)
      or l.transactionid in (select w.transactionid from l as w where not w.granted)
      or l.virtualxid in (select w.virtualxid from l as w where not w.granted)
      or l.objid in (select w.objid from l as w where not w.granted)
      or l.locktype = 'transactionid' and l.pid is null as contended
    from l)
select l.pid, ${lockText} as lock, l.locktype, l.database, l.relation, l.transactionid, l.virtualtransaction, l.mode,
       l.granted, coalesce(l.contended, false) as contended,
       to_char(${waitStart} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as wait_at,
       pg_catalog.trunc(extract(epoch from pg_catalog.clock_timestamp() - ${waitStart}) * 1000) as wait_ms
  from wanted as l
 where l.contended
    or l.locktype in ('relation', 'tuple')
   and (l.relation >= 16384 or l.pid in (select w.pid from l as w where not w.granted))
 order by coalesce(l.contended, false) desc
 limit $1::int8`;

const statements = [
  [120_000, locksSql("null::timestamptz")],
  [140_000, locksSql("l.waitstart")],
] as const;

/** From 14 the server says since when a lock is waited for. */
export const waitStartSince = 140_000;

/** One statement. */
export async function readLocks(connection: Connection, signal: AbortSignal, most = mostLocks): Promise<LockLook> {
  const rows = await connection.query(forVersion(statements, connection.versionNumber), [String(most + 1)], signal);
  const dated = connection.versionNumber >= waitStartSince;
  const locks = rows.slice(0, most).map((row) => lockRow(row, dated));
  const capped = rows.length > most;
  return { rows: locks, holdsCapped: capped, waitsCapped: capped && locks.at(-1)?.contended === true };
}

function lockRow(row: Row, dated: boolean): LockRow {
  const text = (name: string) => row[name] ?? null;
  const granted = text("granted") === "t";
  // A wait that began this very moment has no start yet.
  const waitMs = granted || !dated ? null : Math.max(0, Number(text("wait_ms") ?? "0"));
  return {
    pid: text("pid"),
    lock: text("lock") ?? "",
    locktype: text("locktype") ?? "",
    databaseId: text("database"),
    relationId: text("relation"),
    transactionId: text("transactionid"),
    virtualTransaction: text("virtualtransaction") ?? "",
    mode: text("mode") ?? "",
    granted,
    contended: text("contended") === "t",
    waitAt: text("wait_at"),
    waitMs,
  };
}
