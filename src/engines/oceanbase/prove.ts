import type { Evidence, Proof } from "../../core/decision.ts";
import type { Session } from "../../core/session.ts";
import type { LockWait } from "../../core/snapshot.ts";
import type { Connection } from "./connection.ts";
import { type Seen, seeSessions } from "./look.ts";
import { heldSql, locksSql } from "./sql.ts";
import { type LockRow, lockRowOf } from "./waits.ts";

/** What became of the victim and of those who waited for it. That the server said OK to the kill proves nothing. */
export async function prove(connection: Connection, evidence: Evidence, signal: AbortSignal): Promise<Proof> {
  const began = performance.now();
  const { victim } = evidence;
  if (victim.kind !== "session" || victim.pid === null)
    throw new Error(`a proof needs a session with an id, got ${victim.key}`);
  const { server } = connection;
  const locks = server.views.locks ? await connection.query(locksSql(server.mode, server.views, false), signal) : [];
  const waiting = locks.map(lockRowOf).filter((row) => row.waiting);
  const seen = await seeSessions(connection, { which: "transactions", own: [] }, signal);
  // Of those without a transaction the list above shows only who runs something.
  const listed = seen.activities.get(victim.pid)?.session ?? (await seeOne(connection, victim.pid, signal));
  const now = listed !== undefined && listed.identity === victim.identity ? listed : null;
  const transaction = victim.transaction.kind === "open" ? victim.transaction.startedAt : null;
  const sameStatement = now !== null && isSameStatement(victim, now);
  const same =
    transaction === null
      ? lastsWithout(victim, now, sameStatement)
      : await stillHolds(connection, { transaction, now, waiting, seen }, signal);
  const current = now?.transaction.kind === "open" ? now.transaction.startedAt : null;
  const waits = evidence.waits.filter((wait) => wait.blockers.some((blocker) => blocker.node === victim.key));
  const behind = waits.map((wait) => ({ wait, rows: rowsOf(wait, evidence, waiting, seen) }));
  // A new transaction of the same session may keep out the same waiter anew, on another lock: that is no failure of ours.
  const still = behind.filter(({ wait, rows }) =>
    rows.some(
      ({ holderId, lock, mode }) =>
        holderId !== null &&
        (holderId === transaction || (holderId === current && lock === wait.lock && mode === wait.mode)),
    ),
  );
  const others = behind
    .filter((one) => !still.includes(one))
    .flatMap(({ rows }) => rows.map(({ holderId }) => holderId));
  return {
    alive: now !== null,
    sameTransaction: same,
    sameStatement,
    stillBlocked: [...new Set(still.map(({ wait }) => wait.waiter))],
    next: describe(others, seen),
    ms: Math.round(performance.now() - began),
  };
}

async function seeOne(connection: Connection, id: string, signal: AbortSignal): Promise<Session | undefined> {
  const seen = await seeSessions(connection, { which: [id], own: [] }, signal);
  return seen.activities.get(id)?.session;
}

/** The server may give a statement that it tries again another trace: in doubt it still runs. */
function isSameStatement(judged: Session, now: Session): boolean {
  if (now.state !== "active" || judged.state !== "active") return false;
  return (now.queryAt !== null && now.queryAt === judged.queryAt) || (now.query !== null && now.query === judged.query);
}

/** Without a transaction what was meant is the statement, or of an idle one the session. */
function lastsWithout(judged: Session, now: Session | null, sameStatement: boolean): boolean {
  return judged.state === "active" ? sameStatement : now !== null;
}

type Held = Readonly<{ transaction: string; now: Session | null; waiting: readonly LockRow[]; seen: Seen }>;

/** Some session has it; or, while that is listed no more, others wait for it or it has locks. */
async function stillHolds(
  { query, server }: Connection,
  { transaction, now, waiting, seen }: Held,
  signal: AbortSignal,
): Promise<boolean> {
  if (now?.transaction.kind === "open" && now.transaction.startedAt === transaction) return true;
  const listed = [...seen.activities.values()].some((activity) => activity.transactionId === transaction);
  if (listed || waiting.some((row) => row.holderId === transaction)) return true;
  if (!server.views.locks) return false;
  const [row] = await query(heldSql(server.mode, transaction), signal);
  return row?.["HELD"] !== "0";
}

/** What the waiter of this wait waits for now. */
function rowsOf(wait: LockWait, evidence: Evidence, waiting: readonly LockRow[], seen: Seen): readonly LockRow[] {
  const judged = evidence.waiters.find(({ key }) => key === wait.waiter)?.transaction;
  const transactions = [
    judged?.kind === "open" ? judged.startedAt : null,
    seen.activities.get(wait.waiter)?.transactionId ?? null,
  ].filter((id) => id !== null);
  return waiting.filter((row) =>
    row.transactionId === null ? row.sessionId === wait.pid : transactions.includes(row.transactionId),
  );
}

/** Who blocks the former waiters now, most of them first. */
function describe(holders: readonly (string | null)[], seen: Seen): string | null {
  const counts = new Map<string, number>();
  for (const holder of holders) {
    const id = holder === null ? undefined : seen.now.get(holder);
    const state = id === undefined ? null : (seen.activities.get(id)?.session.state ?? "state unknown");
    const name = id === undefined ? "a transaction of no listed session" : `session ${id} (${state})`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return null;
  const sorted = [...counts].toSorted((a, b) => b[1] - a[1]).slice(0, 3);
  const sentence = sorted.map(([name, count]) => `${name} now blocks ${count} of them`).join("; ");
  return counts.size > sorted.length ? `${sentence}; and ${counts.size - sorted.length} more` : sentence;
}
