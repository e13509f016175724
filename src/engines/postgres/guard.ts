import type { Evidence, Guard, GuardEdge, Order, Sent } from "../../core/decision.ts";
import type { Session } from "../../core/session.ts";
import { LinkLost } from "../engine.ts";
import type { Connection, Value } from "./connection.ts";
import { codeOf } from "./failure.ts";
import { lockText } from "./lock-rows.ts";
import { reasonOf } from "./names.ts";
import { ownApplication } from "./snapshot.ts";
import { countBehind, stillBehind } from "./still-behind.ts";
import { forVersion, progressCommands } from "./versions.ts";

/**
 * The guarded signal. What takes time comes first, in materialized CTEs: who still waits, behind whom, who is in maintenance.
 * `judged` has its one row only when that holds. The sessions' activity is a copy that the server makes once a statement, at
 * the first call of any pg_stat_… function: `fresh` throws that copy away, and `a`, which needs its row, is made from a new
 * one, last of all: how old that is decides who may be hit by mistake. WHERE decides before the select list signals.
 */
export const actSql = (waitStart: string) => `/* lockwarden:act */
with recursive
waiting as materialized (
  select l.pid, l.mode, ${lockText} as lock, ${waitStart} as wait_start
    from pg_catalog.pg_lock_status() as l where not l.granted),${stillBehind("$1", {
      waiter: "$10",
      node: "$11",
      blocker: "$12",
      lock: "$13",
      mode: "$14",
      counts: "$20",
    })},
judged as materialized (
  select $1::int4 as pid
   where ($9::int4 = 0 or (${countBehind("$1")}) >= $9::int4)
     and ($15::int4 is null or exists (
       select from waiting as w where w.pid = $15::int4 and w.lock = $16::text and w.mode = $17::text
          and w.wait_start is not distinct from $18::timestamptz))
     and $1::int4 <> all (array(
       select p.pid from pg_catalog.unnest($19::text[]) as c(command)
        cross join lateral pg_catalog.pg_stat_get_progress_info(c.command) as p))),
fresh as materialized (select j.pid, pg_catalog.pg_stat_clear_snapshot() from judged as j)
select case $2::text when 'terminate' then pg_catalog.pg_terminate_backend(a.pid)
                     when 'cancel' then pg_catalog.pg_cancel_backend(a.pid) end as sent
  from fresh as j cross join lateral pg_catalog.pg_stat_get_activity(j.pid) as a
 where a.pid = j.pid and a.backend_start = $3::timestamptz
   and ($21::bool
     or a.xact_start is not distinct from $4::timestamptz and a.backend_xid is not distinct from $5::text::xid
    and case when a.state in ('active', 'idle', 'idle in transaction', 'idle in transaction (aborted)') then a.state
             when a.state <> 'disabled' then 'other' end = $6::text)
   and ($7::timestamptz is null or a.state_change = $7::timestamptz)
   and ($8::timestamptz is null or a.query_start = $8::timestamptz)
   and ($2::text <> 'cancel' or a.state = 'active')
   and ($15::int4 is null or $15::int4 <> a.pid or a.wait_event_type = 'Lock')
   and ($9::int4 = 0 or $15::int4 is not null or a.wait_event_type is distinct from 'Lock')
   and a.backend_type = 'client backend' and a.wait_event is distinct from 'SyncRep'
   and a.pid <> pg_catalog.pg_backend_pid()
   and (a.application_name <> '${ownApplication}' or a.usesysid <> (
     select me.usesysid from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) as me))`;

/** The guarded statement of each version; from 14 a wait is known by its start too. */
export const actStatements = [
  [120_000, actSql("null::timestamptz")],
  [140_000, actSql("l.waitstart")],
] as const;

// Only to tell two outcomes apart, after nothing was sent.
const afterwardsSql = `/* lockwarden:act-afterwards */
select a.xact_start is null as without_transaction
  from pg_catalog.pg_stat_get_activity($1::int4) as a where a.pid = $1::int4 and a.backend_start = $2::timestamptz`;

type Victim = Readonly<{ pid: string; identity: string; session: Session }>;

/** Sends one signal, if the session is still what was judged; one autocommit statement. */
export async function act(connection: Connection, order: Order, signal: AbortSignal): Promise<Sent> {
  const { action, evidence, guard } = order;
  if (action === "rollback-prepared") return failed("a session cannot be rolled back, only a prepared transaction");
  const victim = judgeable(evidence, guard);
  if (typeof victim === "string") return failed(victim);
  signal.throwIfAborted();
  const wasOpen = connection.isOpen();
  try {
    const commands = guard.notMaintenance ? forVersion(progressCommands, connection.versionNumber) : [];
    const edges = guard.blocks?.edges ?? [];
    const counts = edges.map((edge) => (edge.counts ? "t" : "f"));
    const locks = lockValues({ victim, evidence, guard, edges });
    const sessionOnly = guard.sessionOnly === true ? "t" : "f";
    const values = [...identityValues(action, victim, guard), ...locks, commands, counts, sessionOnly];
    const sql = forVersion(actStatements, connection.versionNumber);
    const [row] = await connection.query(sql, values, signal);
    if (row?.["sent"] === "t") return { kind: "sent" };
    const after = await afterwards(connection, victim, guard, signal);
    if (row === undefined || after === "gone") return { kind: after };
    return failed(`the server could not signal process ${victim.pid}; its log says why`);
  } catch (error) {
    if (signal.aborted && !(error instanceof LinkLost)) throw error;
    if (error instanceof LinkLost) {
      // Not open before: then nothing can have been sent, and the caller connects anew.
      if (!wasOpen) throw error;
      return {
        kind: "uncertain",
        error: `the connection was lost while the ${action} was under way: ${error.message}`,
      };
    }
    const kind = codeOf(error) === "42501" ? "denied" : "failed";
    return { kind, error: reasonOf(error) };
  }
}

/** Nothing goes to the server with a NULL where an identity belongs: pg_stat_get_activity(NULL) is everybody. */
function judgeable(evidence: Evidence, guard: Guard): Victim | string {
  const session = evidence.victim;
  if (session.kind !== "session") return "a prepared transaction has no session to signal";
  const { pid, identity, state, transaction } = session;
  if (pid === null || !/^[1-9][0-9]*$/.test(pid)) return `the session has no process id (got ${pid ?? "none"})`;
  if (identity === "" || Number.isNaN(Date.parse(identity))) return `the start of session ${pid} is unknown`;
  if (session.own) return `session ${pid} is Lockwarden's own`;
  if (guard.sessionOnly === true) return { pid, identity, session };
  if (state === null) return `the state of session ${pid} is unknown`;
  const unknown = transaction.kind === "unknown" || (transaction.kind === "open" && transaction.startedAt === null);
  if (unknown) return `the transaction of session ${pid} is unknown`;
  if (guard.sinceState && session.stateAt === null) return `the last change of state of session ${pid} is unknown`;
  if (guard.sinceQuery && session.queryAt === null) return `the start of the statement of session ${pid} is unknown`;
  return { pid, identity, session };
}

/** $1 to $8. */
function identityValues(action: string, { pid, identity, session }: Victim, guard: Guard): readonly Value[] {
  const { transaction } = session;
  const open = transaction.kind === "open";
  return [
    pid,
    action,
    identity,
    open ? transaction.startedAt : null,
    open ? transaction.writeId : null,
    session.state,
    guard.sinceState ? session.stateAt : null,
    guard.sinceQuery ? session.queryAt : null,
  ];
}

type Locked = Readonly<{ victim: Victim; evidence: Evidence; guard: Guard; edges: readonly GuardEdge[] }>;

/** $9 to $18. */
function lockValues({ victim, evidence, guard: { blocks, waits }, edges }: Locked): readonly Value[] {
  // The process that sleeps may be a parallel worker; it is counted as its leader, as in the graph.
  const nodes = new Map(evidence.waits.map((wait) => [wait.pid, wait.waiter]));
  const nodeOf = (pid: string) => nodes.get(pid) ?? pid;
  const own = evidence.waits.find((wait) => wait.waiter === victim.session.key && wait.lock === waits?.lock);
  return [
    String(blocks === null ? 0 : Math.max(1, blocks.waiters)),
    edges.map((edge) => edge.waiterPid),
    edges.map((edge) => nodeOf(edge.waiterPid)),
    edges.map((edge) => edge.blockerPid),
    edges.map((edge) => edge.lock),
    edges.map((edge) => edge.mode),
    waits === null ? null : (own?.pid ?? victim.pid),
    waits?.lock ?? null,
    waits?.mode ?? null,
    waits?.waitAt ?? null,
  ];
}

async function afterwards(
  connection: Connection,
  victim: Victim,
  guard: Guard,
  signal: AbortSignal,
): Promise<"gone" | "changed"> {
  const [row] = await connection
    .query(afterwardsSql, [victim.pid, victim.identity], signal)
    .catch((error: unknown) => (signal.aborted ? Promise.reject(error) : [{ without_transaction: "f" }]));
  if (row === undefined) return "gone";
  const ended =
    guard.sessionOnly !== true && victim.session.transaction.kind === "open" && row["without_transaction"] === "t";
  return ended ? "gone" : "changed";
}

function failed(error: string): Sent {
  return { kind: "failed", error };
}
