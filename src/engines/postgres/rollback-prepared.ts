import pg from "pg";
import type { Order, Sent } from "../../core/decision.ts";
import type { Prepared } from "../../core/session.ts";
import { LinkLost } from "../engine.ts";
import type { Connection, Value } from "./connection.ts";
import { quoteName } from "./grants.ts";
import { lockText } from "./lock-rows.ts";
import { reasonOf } from "./names.ts";
import type { OpenOther } from "./relation-names.ts";
import { countBehind, stillBehind } from "./still-behind.ts";

// The server takes ROLLBACK PREPARED neither in a function nor beside a condition, so it cannot be guarded like a signal:
// all that identifies the transaction is read again just before, on the same session, and one round trip remains between.
// Only its owner and superusers may end it. A member of the owner's role becomes that role, as the last part of the check.
const guardSql = `/* lockwarden:prepared-guard */
with recursive
waiting as materialized (
  select l.pid, l.mode, ${lockText} as lock from pg_catalog.pg_lock_status() as l where not l.granted),${stillBehind(
    "0",
    { waiter: "$7", node: "$8", blocker: "$9", lock: "$10", mode: "$11", counts: "$12" },
  )},
judged as materialized (select 1 where $6::int4 = 0 or (${countBehind("0")}) >= $6::int4)
select current_user as role,
       case when p.ownerid = me.oid or me.rolsuper then 'may'
            when pg_catalog.pg_has_role(p.ownerid, 'member')
            then pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(p.ownerid)::text, false) end as power
  from judged cross join lateral pg_catalog.pg_prepared_xact() as p
  join pg_catalog.pg_roles as me on me.rolname = current_user
 where p.transaction = $1::text::xid and p.gid = $2::text and p.prepared = $3::timestamptz
   and pg_catalog.pg_get_userbyid(p.ownerid) = $4::name
   and p.dbid = (select d.oid from pg_catalog.pg_database as d where d.datname = $5::name)
   and pg_catalog.current_database() = $5::name`;

// Only to tell two outcomes apart, after nothing was sent.
const afterwardsSql = `/* lockwarden:prepared-afterwards */
select from pg_catalog.pg_prepared_xact() as p where p.gid = $1::text`;

type Identified = Prepared & Readonly<{ preparedAt: string }>;

/** Rolls one prepared transaction back, if it is still what was judged, on a short session in its own database. */
export async function rollbackPrepared(open: OpenOther, order: Order, signal: AbortSignal): Promise<Sent> {
  const victim = judgeable(order);
  if (typeof victim === "string") return { kind: "failed", error: victim };
  signal.throwIfAborted();
  let connection: Connection;
  try {
    connection = await open(victim.database, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const denied = error instanceof LinkLost && error.kind === "denied";
    return { kind: denied ? "denied" : "failed", error: `nothing was sent: ${sayingOf(error)}` };
  }
  try {
    return await rollBack(connection, { victim, order }, signal);
  } finally {
    await connection.close();
  }
}

type Judged = Readonly<{ victim: Identified; order: Order }>;

async function rollBack(connection: Connection, { victim, order }: Judged, signal: AbortSignal): Promise<Sent> {
  let isSent = false;
  let role = "";
  try {
    const [row] = await connection.query(guardSql, guardValues(victim, order), signal);
    if (row === undefined) {
      const same = await connection.query(afterwardsSql, [victim.gid], signal);
      return { kind: same.length > 0 ? "changed" : "gone" };
    }
    role = row["role"] ?? "";
    isSent = true;
    // The statement takes no parameters.
    await connection.query(`rollback prepared ${pg.escapeLiteral(victim.gid).trim()}`, [], signal);
    return { kind: "sent" };
  } catch (error) {
    if (signal.aborted && !(error instanceof LinkLost)) throw error;
    if (error instanceof LinkLost)
      return isSent
        ? { kind: "uncertain", error: `the connection was lost while the rollback was under way: ${error.message}` }
        : { kind: "failed", error: `nothing was sent: ${error.message}` };
    return refusal(error, victim, role);
  }
}

/** Nothing goes to the server without all that identifies the transaction. */
function judgeable({ evidence: { victim } }: Order): Identified | string {
  if (victim.kind !== "prepared") return "expected a prepared transaction to roll back, got a session";
  const { gid, transactionId, preparedAt = null, user, database } = victim;
  if (!/^[1-9][0-9]*$/.test(transactionId)) return `the transaction of ${gid} is unknown`;
  if (preparedAt === null) return `the moment at which ${gid} was prepared is unknown`;
  if (user === "" || database === "") return `the owner or the database of ${gid} is unknown`;
  return { ...victim, preparedAt };
}

function guardValues(victim: Identified, { evidence, guard: { blocks } }: Order): readonly Value[] {
  // The process that sleeps may be a parallel worker; it is counted as its leader, as in the graph.
  const nodes = new Map(evidence.waits.map((wait) => [wait.pid, wait.waiter]));
  const edges = blocks?.edges ?? [];
  return [
    victim.transactionId,
    victim.gid,
    victim.preparedAt,
    victim.user,
    victim.database,
    String(blocks === null ? 0 : Math.max(1, blocks.waiters)),
    edges.map((edge) => edge.waiterPid),
    edges.map((edge) => nodes.get(edge.waiterPid) ?? edge.waiterPid),
    edges.map((edge) => edge.blockerPid),
    edges.map((edge) => edge.lock),
    edges.map((edge) => edge.mode),
    edges.map((edge) => (edge.counts ? "t" : "f")),
  ];
}

function refusal(error: unknown, { user }: Identified, role: string): Sent {
  const text = reasonOf(error);
  switch (error instanceof pg.DatabaseError ? (error.code ?? "") : "") {
    case "42704": // no such gid: somebody ended it in between
      return { kind: "gone" };
    case "0A000": // it belongs to another database: the gid was given anew
      return { kind: "changed" };
    case "42501": {
      const grant = role === "" ? "" : `: grant ${quoteName(user)} to ${quoteName(role)};`;
      return { kind: "denied", error: `${text}; only its owner, a member of its owner or a superuser may${grant}` };
    }
    default:
      return { kind: "failed", error: text };
  }
}

function sayingOf(error: unknown): string {
  return error instanceof LinkLost && error.hint !== null ? `${error.message}; ${error.hint}` : reasonOf(error);
}
