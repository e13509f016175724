import type { Evidence, Guard, GuardEdge, Order, Sent } from "../../core/decision.ts";
import type { Session } from "../../core/session.ts";
import { unreachable } from "../../core/unreachable.ts";
import { LinkLost } from "../engine.ts";
import type { Connection } from "./connection.ts";
import { classify } from "./errors.ts";
import { type Seen, seeSessions } from "./look.ts";
import { isSessionId } from "./session-id.ts";
import { locksSql, signalSql } from "./sql.ts";
import { type LockRow, lockRowOf } from "./waits.ts";

/** For the journal and people: the kill takes a bare id, and nothing that could be compared with it. */
export const unguarded =
  "on this server the check and the kill are two statements, sent right after each other, and a session id may be used again; what became of the session was checked afterwards";

type Victim = Readonly<{ id: string; session: Session; signal: "cancel" | "terminate" }>;

/**
 * Looks again at everything that the rule relied on, and sends one signal right after. The locks come first; the session
 * itself is the last thing that is looked at. Throws LinkLost only while nothing has been sent.
 */
export async function act(connection: Connection, order: Order, signal: AbortSignal): Promise<Sent> {
  const { action, evidence, guard } = order;
  const { server } = connection;
  if (action === "rollback-prepared") return failed("a session cannot be rolled back, only a prepared transaction");
  if (server.proxySessionIds)
    return {
      kind: "denied",
      unsent: true,
      error:
        "the connection leads through a proxy that numbers sessions itself, so a session id may mean another session there: connect to the server directly (port 2881), or set client_session_id_version = 2 at the proxy",
    };
  const victim = judgeable(evidence, guard, action);
  if (typeof victim === "string") return failed(`${victim}; nothing was sent`);
  const judged = { victim, evidence, guard };
  const verdict = await recheck(connection, judged, signal);
  if (verdict !== null) return verdict;
  const sent = await send(connection, victim, signal);
  if (sent.kind !== "gone") return sent;
  // A proxy answers so too of a session that came another way.
  const again = await recheck(connection, judged, signal).catch(() => sent);
  return again ?? failed(`the server does not know session ${victim.id} by this id, and lists it all the same`);
}

async function send(connection: Connection, { id, signal: action }: Victim, signal: AbortSignal): Promise<Sent> {
  // The last thing before it goes out, whatever came before.
  if (!isSessionId(id)) return failed(`${JSON.stringify(id)} is no session id; nothing was sent`);
  try {
    await connection.query(signalSql(connection.server.mode, action, id), signal);
    return { kind: "sent", unguarded };
  } catch (error) {
    if (signal.aborted && !(error instanceof LinkLost)) throw error;
    const { kind, error: text } = classify(error);
    switch (kind) {
      case "gone":
        return { kind };
      case "denied":
      case "failed":
        return { kind, error: text };
      case "lost":
        return { kind: "uncertain", error: `the connection was lost while the ${action} was under way: ${text}` };
      default:
        return unreachable(kind);
    }
  }
}

/** What may not even be looked for. */
function judgeable({ victim }: Evidence, guard: Guard, action: "cancel" | "terminate"): Victim | string {
  if (victim.kind !== "session") return "a prepared transaction has no session to signal";
  const { pid, identity, state, transaction } = victim;
  if (pid === null || !isSessionId(pid)) return `expected a session id of 1 to 4294967295, got ${JSON.stringify(pid)}`;
  if (identity === "") return `who session ${pid} is cannot be told apart`;
  if (victim.own) return `session ${pid} is Lockwarden's own`;
  const found = { id: pid, session: victim, signal: action };
  if (guard.sessionOnly === true) return found;
  if (state === null) return `the state of session ${pid} is unknown`;
  const unknown = transaction.kind === "unknown" || (transaction.kind === "open" && transaction.startedAt === null);
  if (unknown) return `the transaction of session ${pid} is unknown`;
  if (guard.sinceState && victim.stateMs === null) return `the last change of state of session ${pid} is unknown`;
  if (guard.sinceQuery && victim.queryAt === null) return `the statement of session ${pid} cannot be told apart`;
  return found;
}

type Judged = Readonly<{ victim: Victim; evidence: Evidence; guard: Guard }>;

/** null: it is all as it was judged. */
async function recheck(connection: Connection, judged: Judged, signal: AbortSignal): Promise<Sent | null> {
  const { guard, victim } = judged;
  const { server } = connection;
  const needsLocks = guard.blocks !== null || guard.waits !== null;
  if (needsLocks && !server.views.locks) return failed("locks cannot be read (GV$OB_LOCKS); nothing was sent");
  const edges = (guard.blocks?.edges ?? []).filter((edge) => [edge.waiterPid, edge.blockerPid].every(isSessionId));
  const which = [victim.id, ...edges.flatMap((edge) => [edge.waiterPid, edge.blockerPid])];
  try {
    const rows = needsLocks ? await connection.query(locksSql(server.mode, server.views, false), signal) : [];
    const seen = await seeSessions(connection, { which, own: [] }, signal);
    return compare({ ...judged, seen, waiting: rows.map(lockRowOf), edges });
  } catch (error) {
    if (signal.aborted || error instanceof LinkLost) throw error;
    return failed(`it could not be looked at again, so nothing was sent: ${classify(error).error}`);
  }
}

type Anew = Judged & Readonly<{ seen: Seen; waiting: readonly LockRow[]; edges: readonly GuardEdge[] }>;

function compare(anew: Anew): Sent | null {
  const { victim, guard, seen } = anew;
  const found = seen.activities.get(victim.id);
  // Another session by this id: the judged one has ended.
  if (found === undefined || (found.session.identity !== "" && found.session.identity !== victim.session.identity))
    return { kind: "gone" };
  const { session } = found;
  if (session.identity === "" || session.own || session.role !== "client") return { kind: "changed" };
  // A cancel of an idle session does nothing, or hits what it begins next.
  if (victim.signal === "cancel" && session.state !== "active") return gone(victim, session, guard);
  if (guard.sessionOnly === true) return null;
  const same = sameTransaction(victim.session, session) && sameState(anew, session) && sameLocks(anew);
  return same ? null : gone(victim, session, guard);
}

/** Nothing is sent: because its transaction is over, or because it is no longer what was judged. */
function gone({ session: judged }: Victim, session: Session, guard: Guard): Sent {
  const ended = judged.transaction.kind === "open" && session.transaction.kind === "none";
  return { kind: ended && guard.sessionOnly !== true ? "gone" : "changed" };
}

function sameTransaction({ transaction: judged }: Session, { transaction }: Session): boolean {
  if (judged.kind === "open") return transaction.kind === "open" && transaction.startedAt === judged.startedAt;
  return judged.kind === "none" && transaction.kind === "none";
}

/** Ages come in whole seconds: one that has begun anew is younger than the time since it was judged. */
const roundingMs = 1_500;

function sameState({ victim, guard, seen, evidence }: Anew, session: Session): boolean {
  const judged = victim.session;
  if (session.state === null || session.state !== judged.state) return false;
  if (guard.sinceQuery && (session.queryAt === null || session.queryAt !== judged.queryAt)) return false;
  if (!guard.sinceState) return true;
  if (session.stateMs === null || judged.stateMs === null) return false;
  const sinceMs = Math.max(0, seen.atMs - Date.parse(evidence.at));
  // However it is rounded, an age that goes on never becomes less.
  return session.stateMs >= Math.max(judged.stateMs, judged.stateMs + sinceMs - roundingMs);
}

function sameLocks(anew: Anew): boolean {
  const { guard, victim, waiting } = anew;
  const transaction = victim.session.transaction;
  const mine = transaction.kind === "open" ? transaction.startedAt : null;
  const own = waiting.filter((row) => isOf(row, victim.id, mine));
  if (guard.waits !== null) {
    const { lock, mode } = guard.waits;
    if (!own.some((row) => row.lock === lock && row.mode === mode)) return false;
  } else if (guard.blocks !== null && own.length > 0) return false;
  return guard.blocks === null || stillBehind(anew) >= Math.max(1, guard.blocks.waiters);
}

/** By its transaction; where the server names none, by its id. */
function isOf(row: LockRow, id: string, transaction: string | null): boolean {
  return row.transactionId === null ? row.sessionId === id : row.transactionId === transaction;
}

/** How many of those that count are behind the victim, over waits that are still there; whose is told by transactions alone. */
function stillBehind({ edges, seen, victim, waiting }: Anew): number {
  const transactionOf = (id: string) => {
    const found = seen.activities.get(id)?.transactionId ?? null;
    return found !== null && seen.now.get(found) === id ? found : null;
  };
  const stands = ({ waiterPid, blockerPid, lock, mode }: GuardEdge) => {
    const blocker = transactionOf(blockerPid);
    const is = (row: LockRow) => isOf(row, waiterPid, transactionOf(waiterPid));
    return (
      blocker !== null &&
      waiting.some((row) => row.holderId === blocker && row.lock === lock && row.mode === mode && is(row))
    );
  };
  const confirmed = edges.filter(stands);
  const behind = new Set([victim.id]);
  for (let size = 0; size !== behind.size; ) {
    size = behind.size;
    for (const edge of confirmed) if (behind.has(edge.blockerPid)) behind.add(edge.waiterPid);
  }
  const counted = confirmed.filter((edge) => edge.counts && behind.has(edge.waiterPid) && edge.waiterPid !== victim.id);
  return new Set(counted.map((edge) => edge.waiterPid)).size;
}

function failed(error: string): Sent {
  return { kind: "failed", error };
}
