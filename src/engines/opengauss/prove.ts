import type { Evidence, Proof } from "../../core/decision.ts";
import { conflicts } from "../../core/lock-mode.ts";
import type { LockWait } from "../../core/snapshot.ts";
import type { Connection, Row } from "../postgres/connection.ts";
import { startOf } from "./activity.ts";
import { lockText } from "./lock-text.ts";
import type { Product } from "./product.ts";

// Autocommit, one after the other. A session id is used again, without a thread pool at once: by the moment it connected.
const victimSql = ({ activity }: Product) => `/* lockwarden:prove */
select a.backend_start = $2::timestamptz as alive,
       a.backend_start = $2::timestamptz and a.xact_start = $3::timestamptz as same_transaction,
       a.backend_start = $2::timestamptz and a.query_start = $4::timestamptz and a.state = 'active' as same_statement
  from ${activity} as a where a.sessionid = $1::int8`;

// Its locks are there a little longer than its place in the list.
const preparedSql = `/* lockwarden:prove */
select same as alive, same as same_transaction
  from (select exists (select 1 from pg_catalog.pg_prepared_xacts as p
                        where p.transaction::text = $1::text and p.gid = $2::text)
            or exists (select 1 from pg_catalog.pg_locks as l
                        where l.pid is null and l.granted and l.transactionid::text = $1::text) as same) as victim`;

/** All locks of these sessions, and all on what they wait for. */
const locksSql = (product: Product) => `/* lockwarden:prove-locks */
with listed as (
  select l.pid, l.sessionid, l.granted, l.mode, ${lockText(product)} as lock
    from pg_catalog.pg_locks as l)
select case when l.pid is not null then l.sessionid::text end as sessionid, l.granted, l.mode, l.lock
  from listed as l
 where l.pid is not null and l.sessionid = any ($1::int8[])
    or l.lock in (select w.lock from listed as w where w.pid is not null and not w.granted and w.sessionid = any ($1::int8[]))`;

const aheadSql = `/* lockwarden:prove-ahead */
select s.sessionid::text as sessionid, s.block_sessionid::text as blocker
  from pg_catalog.pg_thread_wait_status as s where s.sessionid = any ($1::int8[]) and s.block_sessionid is not null`;

const nextSql = ({ activity }: Product) => `/* lockwarden:prove-next */
select a.pid::text as pid, a.sessionid::text as sessionid, a.state, a.application_name
  from ${activity} as a where a.sessionid = any ($1::int8[])`;

type Reading = Readonly<{ connection: Connection; product: Product }>;

/** The nearest waiters speak for the rest. */
const mostWaiters = 20;
/** No session's id. */
const preparedBlocker = "a prepared transaction";

/** What became of the victim and of those who waited for it; a few cheap statements. */
export async function prove(
  connection: Connection,
  evidence: Evidence,
  product: Product,
  signal: AbortSignal,
): Promise<Proof> {
  const began = performance.now();
  const { victim } = evidence;
  const waits = evidence.waits
    .filter((wait) => wait.waiter !== victim.key && wait.blockers.some((blocker) => blocker.node === victim.key))
    .slice(0, mostWaiters);
  const row = await readVictim({ connection, product }, victim, signal);
  const own = victim.kind === "session" ? [victim.sessionId] : [];
  const ids = [...new Set([...own, ...waits.map((wait) => wait.waiter)])];
  const locks = ids.length === 0 ? [] : await connection.query(locksSql(product), [ids], signal);
  const sameTransaction =
    victim.kind === "prepared" ? row?.["same_transaction"] === "t" : stillHolds(row, locks, evidence);

  const waiting = locks.filter((lock) => lock["granted"] === "f" && ids.includes(lock["sessionid"] ?? ""));
  const ahead = waiting.length === 0 || !product.lockTags ? [] : await connection.query(aheadSql, [ids], signal);
  const blockersOf = (wait: LockWait) => blockers(wait.waiter, locks, ahead);
  // A new transaction of the same session may block the same waiter anew, on another lock: that is no failure of ours.
  const sameWait = (wait: LockWait) =>
    waiting.some(
      (lock) => lock["sessionid"] === wait.waiter && lock["lock"] === wait.lock && lock["mode"] === wait.mode,
    );
  const key = victim.kind === "prepared" ? preparedBlocker : victim.sessionId;
  // Another session has the victim's id by now: whatever it blocks, it is not the victim.
  const isOther = victim.kind === "session" && row !== undefined && row["alive"] !== "t";
  const still = waits.filter(
    (wait) =>
      !isOther && blockersOf(wait).includes(key) && (sameTransaction || (victim.kind === "session" && sameWait(wait))),
  );
  const others = waits.filter((wait) => !still.includes(wait)).flatMap(blockersOf);
  return {
    alive: row !== undefined && row["alive"] === "t",
    sameTransaction,
    ...(victim.kind === "prepared" ? {} : { sameStatement: row?.["same_statement"] === "t" }),
    stillBlocked: [...new Set(still.map((wait) => wait.waiter))],
    next: await describe({ connection, product }, others, signal),
    ms: Math.round(performance.now() - began),
  };
}

async function readVictim(
  { connection, product }: Reading,
  victim: Evidence["victim"],
  signal: AbortSignal,
): Promise<Row | undefined> {
  if (victim.kind === "prepared") {
    const [row] = await connection.query(preparedSql, [victim.transactionId, victim.gid], signal);
    return row;
  }
  const start = startOf(victim.identity);
  if (start === null) throw new Error(`a proof needs the moment when the session connected, got ${victim.identity}`);
  const startedAt = victim.transaction.kind === "open" ? victim.transaction.startedAt : null;
  const rows = await connection.query(victimSql(product), [victim.sessionId, start, startedAt, victim.queryAt], signal);
  return rows.find((row) => row["alive"] === "t") ?? rows[0];
}

/** The transaction is open; or, while the thread ends and is listed no more, its locks are still there. */
function stillHolds(row: Row | undefined, locks: readonly Row[], { victim, holds }: Evidence): boolean {
  if (victim.kind !== "session") return false;
  const held = locks.filter((lock) => lock["sessionid"] === victim.sessionId && lock["granted"] === "t");
  // Listed no more: what it holds speaks.
  if (row === undefined) return held.length > 0;
  if (row["alive"] !== "t") return false;
  if (victim.transaction.kind === "open") return row["same_transaction"] === "t";
  // Without a transaction only session-level locks were held: they last as long as the session.
  const judged = new Set(holds.map((hold) => `${hold.lock} ${hold.mode}`));
  return held.some((lock) => judged.has(`${lock["lock"]} ${lock["mode"]}`));
}

/** Who keeps this session from what it waits for: all holders, and whom the server names ahead of it in the queue. */
function blockers(waiter: string, locks: readonly Row[], ahead: readonly Row[]): readonly string[] {
  const found = new Set<string>();
  for (const wait of locks) {
    if (wait["sessionid"] !== waiter || wait["granted"] === "t") continue;
    const named = ahead.find((one) => one["sessionid"] === waiter)?.["blocker"];
    for (const other of locks) {
      const { sessionid } = other;
      if (other["lock"] !== wait["lock"] || sessionid === waiter) continue;
      if (!conflicts(other["mode"] ?? "", wait["mode"] ?? "")) continue;
      if (other["granted"] === "t" || (sessionid != null && sessionid === named))
        found.add(sessionid ?? preparedBlocker);
    }
  }
  return [...found];
}

/** Who blocks the former waiters now, most of them first. */
async function describe(
  { connection, product }: Reading,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<string | null> {
  if (ids.length === 0) return null;
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const sessions = [...counts.keys()].filter((id) => id !== preparedBlocker);
  const rows = sessions.length === 0 ? [] : await connection.query(nextSql(product), [sessions], signal);
  const nameOf = (id: string) => {
    if (id === preparedBlocker) return id;
    const row = rows.find((one) => one["sessionid"] === id);
    const application = row?.["application_name"] ? `, application ${row["application_name"]}` : "";
    return `session ${row?.["pid"] ?? "?"},${id} (${row?.["state"] ?? "state unknown"}${application})`;
  };
  const sorted = [...counts].toSorted((a, b) => b[1] - a[1]).slice(0, 3);
  const sentence = sorted.map(([id, count]) => `${nameOf(id)} now blocks ${count} of them`).join("; ");
  return counts.size > sorted.length ? `${sentence}; and ${counts.size - sorted.length} more` : sentence;
}
