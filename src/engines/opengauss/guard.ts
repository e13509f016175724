import type { Evidence, Guard, Order, Sent } from "../../core/decision.ts";
import { conflictingModes } from "../../core/lock-mode.ts";
import type { Session } from "../../core/session.ts";
import { LinkLost } from "../engine.ts";
import type { Connection, Value } from "../postgres/connection.ts";
import { codeOf } from "../postgres/failure.ts";
import { reasonOf } from "../postgres/names.ts";
import { startOf } from "./activity.ts";
import { actSql, afterwardsSql, type Signalling } from "./guard-sql.ts";
import { killSessionAnswer, killSessionRefusal, killSessionSql, unguardedText } from "./kill-session.ts";
import type { Product } from "./product.ts";

/** How a session is ended: `kill-session`: by ALTER SYSTEM KILL SESSION, though there may be a way that can be guarded. */
export type ActingProduct = Product & Readonly<{ killWith?: "guarded" | "kill-session" | undefined }>;

type Victim = Readonly<{ pid: string; sessionId: string; start: string; session: Session }>;
type Way = Exclude<Signalling, "none"> | "kill-session";

/** Sends one signal, if the session is still what was judged. */
export async function act(
  connection: Connection,
  order: Order,
  product: ActingProduct,
  signal: AbortSignal,
): Promise<Sent> {
  const { action, evidence, guard } = order;
  if (action === "rollback-prepared") return failed("a session cannot be rolled back, only a prepared transaction");
  const way = wayOf(action, product);
  if ("impossible" in way) return failed(way.impossible);
  const victim = judgeable(evidence, guard);
  if (typeof victim === "string") return failed(victim);
  signal.throwIfAborted();
  const wasOpen = connection.isOpen();
  try {
    const acting = { connection, product, victim, order, signal };
    return way.way === "kill-session" ? await killSession(acting) : await signalGuarded(acting, way.way);
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
    return { kind: codeOf(error) === "42501" ? "denied" : "failed", error: reasonOf(error) };
  }
}

/** With a thread pool a function that knows only the thread would hit whoever is on it by then, so it is never called there. */
export function wayOf(
  action: "cancel" | "terminate",
  product: ActingProduct,
): Readonly<{ way: Way }> | Readonly<{ impossible: string }> {
  const { threadPool, terminateSession, cancelSession, killWith } = product;
  if (action === "cancel") {
    if (cancelSession) return { way: "pg_cancel_session" };
    if (!threadPool) return { way: "pg_cancel_backend" };
    return {
      impossible: "this server cannot cancel one session: the thread pool is on and it has no pg_cancel_session",
    };
  }
  if (killWith === "kill-session") return { way: "kill-session" };
  if (terminateSession) return { way: "pg_terminate_session" };
  return { way: threadPool ? "kill-session" : "pg_terminate_backend" };
}

type Acting = Readonly<{
  connection: Connection;
  product: Product;
  victim: Victim;
  order: Order;
  signal: AbortSignal;
}>;

async function signalGuarded(acting: Acting, way: Exclude<Way, "kill-session">): Promise<Sent> {
  const { connection, product, victim, order, signal } = acting;
  try {
    const [row] = await connection.query(actSql(way, product), valuesOf(victim, order), signal);
    if (row?.["ok"] === "t") return { kind: "sent" };
    return await notSent(acting, row === undefined);
  } catch (error) {
    if (notThere.includes(codeOf(error)) && (await afterwards(acting)) === "gone") return { kind: "gone" };
    throw error;
  }
}

/**
 * How the server refuses an ordinary user, who may well signal others, for a thread that has ended since the session was found;
 * and for one that has left its database. Nothing was sent then.
 */
const notThere: readonly unknown[] = ["42501", "3D000"];

/** Read again in the same session, then sent: between the two the id may have become somebody else's, which is said. */
async function killSession(acting: Acting): Promise<Sent> {
  const { connection, product, victim, order, signal } = acting;
  const { pid, sessionId } = victim;
  const refusal = killSessionRefusal(product, pid, sessionId);
  if (refusal !== null) return failed(refusal);
  const [seen] = await connection.query(actSql("none", product), valuesOf(victim, order), signal);
  if (seen === undefined) return await notSent(acting, true);
  const now = { pid: seen["pid"] ?? "", sessionId: seen["sessionid"] ?? "" };
  const sql = killSessionSql(now.pid, now.sessionId);
  if (sql === null || now.sessionId !== sessionId)
    return failed(`expected an id of digits, got ${now.pid},${now.sessionId}`);
  const again = killSessionRefusal(product, now.pid, now.sessionId);
  if (again !== null) return failed(again);
  const [row] = await connection.query(sql, [], signal);
  const answer = killSessionAnswer(row, product);
  if (answer === "t") return { kind: "sent", unguarded: unguardedText };
  if (answer === "f") return await notSent(acting, false);
  return {
    kind: "uncertain",
    error: `ALTER SYSTEM KILL SESSION answered ${JSON.stringify(row ?? null)}, expected one boolean called ${product.killSession ?? ""}`,
  };
}

/** Nothing was sent: the session is gone, or is not what was judged; or the server could not signal it. */
async function notSent(acting: Acting, changed: boolean): Promise<Sent> {
  const { victim } = acting;
  const after = await afterwards(acting);
  if (changed || after === "gone") return { kind: after };
  return failed(`the server could not signal session ${victim.pid},${victim.sessionId}; its log says why`);
}

/** Nothing goes to the server with a NULL where an identity belongs. */
function judgeable(evidence: Evidence, guard: Guard): Victim | string {
  const session = evidence.victim;
  if (session.kind !== "session") return "a prepared transaction has no session to signal";
  const { pid, sessionId, identity, state, transaction } = session;
  // 0: on no thread.
  const thread = pid ?? "0";
  if (!/^\d{1,19}$/.test(thread)) return `the session has no thread id (got ${thread})`;
  if (!/^[1-9]\d{0,18}$/.test(sessionId)) return `the session has no session id (got ${sessionId})`;
  const start = startOf(identity);
  const handle = `${thread},${sessionId}`;
  if (start === null || session.key !== sessionId) return `the start of session ${handle} is unknown`;
  if (session.own) return `session ${handle} is Lockwarden's own`;
  if (session.role !== "client") return `session ${handle} is no client`;
  const victim = { pid: thread, sessionId, start, session };
  if (guard.sessionOnly === true) return victim;
  if (state === null) return `the state of session ${handle} is unknown`;
  const unknown = transaction.kind === "unknown" || (transaction.kind === "open" && transaction.startedAt === null);
  if (unknown) return `the transaction of session ${handle} is unknown`;
  if (pid === null && transaction.kind === "open") return `session ${handle} is in a transaction on no thread`;
  if (guard.sinceState && session.stateAt === null) return `the last change of state of session ${handle} is unknown`;
  if (guard.sinceQuery && session.queryAt === null) return `the start of the statement of session ${handle} is unknown`;
  return victim;
}

/** $1 to $20. */
function valuesOf(victim: Victim, { evidence, guard }: Order): readonly Value[] {
  const { session } = victim;
  const { transaction } = session;
  const open = transaction.kind === "open" ? transaction : null;
  const edges = guard.blocks?.edges ?? [];
  // What is known of a waiter beside its thread; a hop between waiters has only that.
  const nodes = new Map(evidence.waits.map((wait) => [wait.pid, wait.waiter]));
  return [
    victim.pid,
    victim.sessionId,
    victim.start,
    open?.startedAt ?? null,
    open?.writeId ?? null,
    session.state,
    guard.sinceState ? session.stateAt : null,
    guard.sinceQuery ? session.queryAt : null,
    String(guard.blocks === null ? 0 : Math.max(1, guard.blocks.waiters)),
    edges.map((edge) => edge.waiterPid),
    edges.map((edge) => nodes.get(edge.waiterPid) ?? "?"),
    edges.map((edge) => edge.blockerPid),
    edges.map((edge) => edge.lock),
    edges.map((edge) => edge.mode),
    edges.map((edge) => conflictingModes(edge.mode).join(",")),
    edges.map((edge) => (edge.counts ? "t" : "f")),
    guard.waits?.lock ?? null,
    guard.waits?.mode ?? null,
    guard.notMaintenance ? "t" : "f",
    guard.sessionOnly === true ? "t" : "f",
  ];
}

async function afterwards({
  connection,
  product,
  victim,
  order: { guard },
  signal,
}: Acting): Promise<"gone" | "changed"> {
  const [row] = await connection
    .query(afterwardsSql(product), [victim.sessionId, victim.start], signal)
    .catch((error: unknown) => (signal.aborted ? Promise.reject(error) : [{ without_transaction: "f" }]));
  if (row === undefined) return "gone";
  const ended =
    guard.sessionOnly !== true && victim.session.transaction.kind === "open" && row["without_transaction"] === "t";
  return ended ? "gone" : "changed";
}

function failed(error: string): Sent {
  return { kind: "failed", error };
}
