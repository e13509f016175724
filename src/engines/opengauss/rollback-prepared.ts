import pg from "pg";
import type { Order, Sent } from "../../core/decision.ts";
import type { Prepared } from "../../core/session.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { LinkLost } from "../engine.ts";
import type { Connection } from "../postgres/connection.ts";
import { reasonOf } from "../postgres/names.ts";
import type { OpenOther } from "../postgres/relation-names.ts";

// The server takes ROLLBACK PREPARED neither in a function nor beside a condition, so it cannot be guarded like a signal:
// who waits is looked at again, then all that identifies the transaction, on the session that rolls it back.
const guardSql = `/* lockwarden:prepared-guard */
select 1 as same from pg_catalog.pg_prepared_xacts as p
 where p.transaction::text = $1 and p.gid = $2::text and p.prepared = $3::timestamptz
   and p.owner::text = $4 and p.database::text = $5 and pg_catalog.current_database()::text = $5`;

const afterwardsSql = `/* lockwarden:prepared-afterwards */
select 1 as same from pg_catalog.pg_prepared_xacts as p where p.gid = $1::text`;

type Identified = Prepared & Readonly<{ preparedAt: string }>;

type Means = Readonly<{
  open: OpenOther;
  /** A fresh look, with locks and prepared transactions. */
  look(signal: AbortSignal): Promise<Snapshot>;
}>;

/** Rolls one prepared transaction back, if it is still what was judged, on a short session in its own database. */
export async function rollbackPrepared({ open, look }: Means, order: Order, signal: AbortSignal): Promise<Sent> {
  const victim = judgeable(order);
  if (typeof victim === "string") return { kind: "failed", error: victim };
  signal.throwIfAborted();
  if (!stillBlocks(order, victim, await look(signal))) return { kind: "changed" };
  let connection: Connection;
  try {
    connection = await open(victim.database, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const denied = error instanceof LinkLost && error.kind === "denied";
    return { kind: denied ? "denied" : "failed", error: `nothing was sent: ${sayingOf(error)}` };
  }
  try {
    return await rollBack(connection, victim, signal);
  } finally {
    await connection.close();
  }
}

async function rollBack(connection: Connection, victim: Identified, signal: AbortSignal): Promise<Sent> {
  const { transactionId, gid, preparedAt, user, database } = victim;
  let isSent = false;
  try {
    const [row] = await connection.query(guardSql, [transactionId, gid, preparedAt, user, database], signal);
    if (row === undefined) {
      const same = await connection.query(afterwardsSql, [gid], signal);
      return { kind: same.length > 0 ? "changed" : "gone" };
    }
    isSent = true;
    // The statement takes no parameters.
    await connection.query(`rollback prepared ${pg.escapeLiteral(gid).trim()}`, [], signal);
    return { kind: "sent" };
  } catch (error) {
    if (signal.aborted && !(error instanceof LinkLost)) throw error;
    if (error instanceof LinkLost)
      return isSent
        ? { kind: "uncertain", error: `the connection was lost while the rollback was under way: ${error.message}` }
        : { kind: "failed", error: `nothing was sent: ${error.message}` };
    return refusal(error);
  }
}

/** Nothing goes to the server without all that identifies the transaction. */
function judgeable({ evidence: { victim } }: Order): Identified | string {
  if (victim.kind !== "prepared") return "expected a prepared transaction to roll back, got a session";
  const { gid, transactionId, preparedAt = null, user, database } = victim;
  if (!/^[1-9][0-9]*$/.test(transactionId)) return `the transaction of ${gid} is unknown`;
  if (preparedAt === null) return `the moment at which ${gid} was prepared is unknown`;
  if (gid === "" || user === "" || database === "") return `the owner or the database of ${gid} is unknown`;
  return { ...victim, preparedAt };
}

/** At least so many of the waiters that the rule counted are still behind it, each over the waits that it was judged by. Pure. */
export function stillBlocks({ guard: { blocks }, evidence }: Order, victim: Prepared, now: Snapshot): boolean {
  if (blocks === null) return true;
  if (now.waits === null) return false;
  const waits = now.waits;
  const nodes = new Map(evidence.waits.map((wait) => [wait.pid, wait.waiter]));
  const nodeOf = (pid: string) => nodes.get(pid) ?? pid;
  const standing = blocks.edges.filter((edge) =>
    waits.some(
      (wait) =>
        wait.pid === edge.waiterPid &&
        wait.lock === edge.lock &&
        wait.mode === edge.mode &&
        wait.blockers.some(({ node }) => node === (edge.blockerPid === "0" ? victim.key : nodeOf(edge.blockerPid))),
    ),
  );
  const behind = new Set(["0"]);
  const counted = new Set<string>();
  for (let grown = true; grown; ) {
    const next = standing.filter((edge) => behind.has(edge.blockerPid) && !behind.has(edge.waiterPid));
    for (const edge of next) behind.add(edge.waiterPid);
    grown = next.length > 0;
  }
  for (const edge of standing) if (edge.counts && behind.has(edge.blockerPid)) counted.add(nodeOf(edge.waiterPid));
  return counted.size >= Math.max(1, blocks.waiters);
}

function refusal(error: unknown): Sent {
  const text = reasonOf(error);
  switch (error instanceof pg.DatabaseError ? (error.code ?? "") : "") {
    case "42704": // no such gid: somebody ended it in between
      return { kind: "gone" };
    case "0A000": // it belongs to another database: the gid was given anew
      return { kind: "changed" };
    case "42501":
      return { kind: "denied", error: `${text}; only the user who prepared it and system administrators may` };
    default:
      return { kind: "failed", error: text };
  }
}

function sayingOf(error: unknown): string {
  return error instanceof LinkLost && error.hint !== null ? `${error.message}; ${error.hint}` : reasonOf(error);
}
