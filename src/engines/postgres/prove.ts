import type { Evidence, Proof } from "../../core/decision.ts";
import type { LockWait } from "../../core/snapshot.ts";
import type { Connection, Row } from "./connection.ts";
import { lockText } from "./lock-rows.ts";

// Autocommit, one after the other: inside a transaction the activity would stand still.
const victimSql = `/* lockwarden:prove */
select a.backend_start = $2::timestamptz as alive,
       a.backend_start = $2::timestamptz and a.xact_start = $3::timestamptz as same_transaction,
       a.backend_start = $2::timestamptz and a.query_start = $4::timestamptz and a.state = 'active' as same_statement
  from pg_catalog.pg_stat_get_activity($1::int4) as a where a.pid = $1::int4`;

// Its locks are there a little longer than its place in the list.
const preparedSql = `/* lockwarden:prove */
select same as alive, same as same_transaction
  from (select exists (select from pg_catalog.pg_prepared_xact() as p
                        where p.transaction = $1::text::xid and p.gid = $2::text)
            or exists (select from pg_catalog.pg_lock_status() as l
                        where l.pid is null and l.granted and l.transactionid = $1::text::xid) as same) as victim`;
/** What pg_blocking_pids calls a prepared transaction. */
const preparedPid = "0";

const locksSql = `/* lockwarden:prove-locks */
select l.pid, l.granted, l.mode, ${lockText} as lock
  from pg_catalog.pg_lock_status() as l where l.pid = any ($1::int4[])`;

const blockingSql = `/* lockwarden:prove-blocking */
select w.pid, b.pid as blocker
  from pg_catalog.unnest($1::int4[]) as w(pid)
 cross join lateral pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) as b(pid)`;

const nextSql = `/* lockwarden:prove-next */
select a.pid, a.state, a.application_name
  from pg_catalog.unnest($1::int4[]) as n(pid) cross join lateral pg_catalog.pg_stat_get_activity(n.pid) as a`;

/** pg_blocking_pids stops the lock table for a moment at each call; the nearest waiters speak for the rest. */
const mostWaiters = 20;

/** What became of the victim and of those who waited for it; a few cheap statements. */
export async function prove(connection: Connection, evidence: Evidence, signal: AbortSignal): Promise<Proof> {
  const began = performance.now();
  const { victim } = evidence;
  const pid = victim.kind === "prepared" ? preparedPid : victim.pid;
  if (pid === null) throw new Error(`a proof needs a session with a process id, got ${victim.key}`);
  const waits = evidence.waits
    .filter((wait) => wait.pid !== null && wait.blockers.some((blocker) => blocker.node === victim.key))
    .slice(0, mostWaiters);
  const row = await readVictim(connection, victim, signal);
  const pids = [pid, ...waits.map((wait) => wait.pid)];
  const locks = await connection.query(locksSql, [pids], signal);
  const sameTransaction =
    victim.kind === "prepared" ? row?.["same_transaction"] === "t" : stillHolds(row, locks, evidence, pid);

  const waiting = locks.filter((lock) => lock["granted"] === "f").map((lock) => lock["pid"] ?? null);
  const blocking = waiting.length === 0 ? [] : await connection.query(blockingSql, [[...new Set(waiting)]], signal);
  const blockersOf = (wait: LockWait) =>
    blocking.filter((one) => one["pid"] === wait.pid).map((one) => one["blocker"] ?? "0");
  // A new transaction of the same session may block the same waiter anew, on another lock: that is no failure of ours.
  const sameWait = (wait: LockWait) =>
    locks.some(
      (lock) =>
        lock["pid"] === wait.pid && lock["granted"] === "f" && lock["lock"] === wait.lock && lock["mode"] === wait.mode,
    );
  const still = waits.filter(
    (wait) => blockersOf(wait).includes(pid) && (sameTransaction || (victim.kind === "session" && sameWait(wait))),
  );
  const others = waits.filter((wait) => !still.includes(wait)).flatMap(blockersOf);
  return {
    alive: row !== undefined && row["alive"] !== "f",
    sameTransaction,
    ...(victim.kind === "prepared" ? {} : { sameStatement: row?.["same_statement"] === "t" }),
    stillBlocked: [...new Set(still.map((wait) => wait.waiter))],
    next: await describe(connection, others, signal),
    ms: Math.round(performance.now() - began),
  };
}

async function readVictim(
  connection: Connection,
  victim: Evidence["victim"],
  signal: AbortSignal,
): Promise<Row | undefined> {
  const prepared = victim.kind === "prepared";
  const startedAt = !prepared && victim.transaction.kind === "open" ? victim.transaction.startedAt : null;
  const values = prepared
    ? [victim.transactionId, victim.gid]
    : [victim.pid, victim.identity, startedAt, victim.queryAt];
  const [row] = await connection.query(prepared ? preparedSql : victimSql, values, signal);
  return row;
}

/** The transaction is open; or, while the process ends and is listed no more, its locks are still there. */
function stillHolds(row: Row | undefined, locks: readonly Row[], evidence: Evidence, pid: string): boolean {
  const held = locks.filter((lock) => lock["pid"] === pid && lock["granted"] === "t");
  // Listed no more, or hidden from us by now: what it holds speaks.
  if (row === undefined || row["alive"] === null) return held.length > 0;
  if (row["alive"] !== "t") return false;
  if (evidence.victim.kind === "session" && evidence.victim.transaction.kind === "open")
    return row["same_transaction"] === "t";
  // Without a transaction only session-level locks were held: they last as long as the session.
  const judged = new Set(evidence.holds.map((hold) => `${hold.lock} ${hold.mode}`));
  return held.some((lock) => judged.has(`${lock["lock"]} ${lock["mode"]}`));
}

/** Who blocks the former waiters now, most of them first. */
async function describe(
  connection: Connection,
  blockers: readonly string[],
  signal: AbortSignal,
): Promise<string | null> {
  if (blockers.length === 0) return null;
  const counts = new Map<string, number>();
  for (const pid of blockers) counts.set(pid, (counts.get(pid) ?? 0) + 1);
  const pids = [...counts.keys()].filter((pid) => pid !== preparedPid);
  const rows = pids.length === 0 ? [] : await connection.query(nextSql, [pids], signal);
  const nameOf = (pid: string) => {
    if (pid === preparedPid) return "a prepared transaction";
    const row = rows.find((one) => one["pid"] === pid);
    const application = row?.["application_name"] ? `, application ${row["application_name"]}` : "";
    return `session ${pid} (${row?.["state"] ?? "state unknown"}${application})`;
  };
  const sorted = [...counts].toSorted((a, b) => b[1] - a[1]).slice(0, 3);
  const sentence = sorted.map(([pid, count]) => `${nameOf(pid)} now blocks ${count} of them`).join("; ");
  return counts.size > sorted.length ? `${sentence}; and ${counts.size - sorted.length} more` : sentence;
}
