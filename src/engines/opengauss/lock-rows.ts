import type { Connection, Row } from "../postgres/connection.ts";
import { type LockLook, type LockRow, mostLocks } from "../postgres/lock-rows.ts";
import { momentOf } from "../postgres/moment.ts";
import { lockText } from "./lock-text.ts";
import type { Product } from "./product.ts";

export type GaussLocks = LockLook &
  Readonly<{
    /** The server's clock before the locks were read; null: there were none. */
    at: string | null;
    /** The transaction id of each thread and session that has one. */
    written: ReadonlyMap<string, string>;
  }>;

export const writer = (pid: string | null, sessionId: string | null) => `${pid ?? "0"} ${sessionId ?? ""}`;

/** Below are the catalogs. */
const firstOrdinaryRelation = 16_384;

const columns = (lockTags: boolean) => `l.pid::text as pid, l.sessionid::text as sessionid, l.locktype,
       l.database::text as database, l.relation::text as relation, l.transactionid::text as transactionid,
       case when l.pid is null then l.virtualtransaction end as virtualtransaction, l.mode, l.granted,
       ${lockTags ? "case when l.locktype = 'partition' then l.locktag end" : "null::text"} as locktag`;

// The clock first (WHERE asks for it before it asks for rows): who connected later has none of these locks, though the id
// may be the same.
const allSql = (lock: string, lockTags: boolean) => `/* lockwarden:locks */
with clock as (select pg_catalog.clock_timestamp() as now)
select (select c.now::text from clock as c) as now, ${columns(lockTags)}, ${lock} as lock
  from pg_catalog.pg_locks as l
 where (select c.now from clock as c) is not null
   and l.mode <> 'SIReadLock' and not (l.fastpath and l.locktype = 'virtualxid')
 limit $1::int8`;

// For a table with more locks than one look reads: the server chooses, and whatever somebody waits for comes first.
const chosenSql = (lock: string, lockTags: boolean) => `/* lockwarden:locks */
with clock as (select pg_catalog.clock_timestamp() as now),
named as (
  select l.*, ${lock} as lock from pg_catalog.pg_locks as l
   where (select c.now from clock as c) is not null and l.mode <> 'SIReadLock'),
chosen as (
  select n.*, n.lock in (select w.lock from named as w where not w.granted)
      or n.locktype = 'transactionid' and n.pid is null as contended
    from named as n)
select (select c.now::text from clock as c) as now, ${columns(lockTags)}, l.lock, l.contended
  from chosen as l
 where l.contended or l.locktype = 'transactionid'
    or l.locktype in ('relation', 'partition', 'tuple')
   and (l.relation >= ${firstOrdinaryRelation} or l.sessionid in (select w.sessionid from chosen as w where not w.granted))
 order by l.contended desc, l.locktype = 'transactionid' desc
 limit $1::int8`;

type Reading = Readonly<{ connection: Connection; product: Product; most?: number | undefined }>;

/** One statement; two where there are more than `most` locks. */
export async function readLocks(
  { connection, product, most = mostLocks }: Reading,
  signal: AbortSignal,
): Promise<GaussLocks> {
  const lock = lockText(product);
  const values = [String(most + 1)];
  const whole = await connection.queryPrepared(allSql(lock, product.lockTags), values, signal);
  if (whole.length <= most) return lockLook(whole);
  const rows = await connection.query(chosenSql(lock, product.lockTags), values, signal);
  const capped = rows.length > most;
  const last = rows[most - 1]?.["contended"];
  return { ...lockLook(rows.slice(0, most)), holdsCapped: capped, waitsCapped: capped && last === "t" };
}

/**
 * What is wanted of all rows: whoever waits, and whatever somebody waits for; the transaction ids of prepared transactions;
 * and tables held by anybody, for `holds` and to attribute row-lock waits. Catalogs only of those who wait. Pure.
 */
export function lockLook(rows: readonly Row[]): GaussLocks {
  const waitedFor = new Set<string | null>();
  const waiting = new Set<string | null>();
  const written = new Map<string, string>();
  for (const row of rows) {
    const { pid = null, sessionid = null, locktype, transactionid, mode, granted } = row;
    if (granted !== "t") {
      waitedFor.add(row["lock"] ?? null);
      waiting.add(sessionid);
    } else if (locktype === "transactionid" && mode === "ExclusiveLock" && pid !== null && transactionid != null) {
      written.set(writer(pid, sessionid), transactionid);
    }
  }
  const wanted: LockRow[] = [];
  for (const row of rows) {
    const { locktype, sessionid = null, lock = null } = row;
    const contended = waitedFor.has(lock) || (locktype === "transactionid" && row["pid"] == null);
    const ofTable = locktype === "relation" || locktype === "partition" || locktype === "tuple";
    const found = contended || ofTable ? lockRow(row, contended) : null;
    if (found === null) continue;
    if (contended || Number(found.relationId) >= firstOrdinaryRelation || waiting.has(sessionid)) wanted.push(found);
  }
  return { rows: wanted, at: clockOf(rows), written, holdsCapped: false, waitsCapped: false };
}

function clockOf([first]: readonly Row[]): string | null {
  const now = first?.["now"];
  return now == null ? null : momentOf(now);
}

function lockRow(row: Row, contended: boolean): LockRow {
  const text = (name: string) => row[name] ?? null;
  const pid = text("pid");
  const locktype = text("locktype") ?? "";
  return {
    // A prepared transaction's rows name the session that prepared it, which may be gone, or be somebody else by now.
    pid,
    sessionId: pid === null ? null : text("sessionid"),
    lock: text("lock") ?? "",
    // A partition is waited for as its table is.
    locktype: locktype === "partition" ? "relation" : locktype,
    databaseId: text("database"),
    relationId: locktype === "partition" ? partitioned(text("locktag")) : text("relation"),
    transactionId: text("transactionid"),
    virtualTransaction: text("virtualtransaction") ?? "",
    mode: text("mode") ?? "",
    granted: text("granted") === "t",
    contended,
    waitAt: null,
    waitMs: null,
  };
}

/** The table of a partition, from the lock's tag: database:table:partition:…, in hexadecimal. */
function partitioned(locktag: string | null): string | null {
  const [, table] = /^[0-9a-f]+:([0-9a-f]+):/i.exec(locktag ?? "") ?? [];
  return table === undefined ? null : String(Number.parseInt(table, 16));
}
