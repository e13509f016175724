import type { Ms, Prepared, Session } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";
import { type Reading, type SteadyClock, steadyAge } from "./steady-clock.ts";

/** A look whose moments and ages are the steady clock's; what the server's own clock shows stays known beside. */
export function steadySnapshot(seen: Snapshot, clock: SteadyClock, reading: Reading): Snapshot {
  const { serverMs } = reading;
  const dated = clock.atMs === serverMs ? seen : { ...seen, atMs: clock.atMs, wallMs: serverMs };
  if (clock.jumps.length === 0) return dated;
  const age = steadyAge(clock, reading);
  return {
    ...dated,
    sessions: seen.sessions.map((session) => steadySession(session, age)),
    prepared: seen.prepared.map((prepared): Prepared => ({ ...prepared, ageMs: age(prepared.ageMs) })),
    waits: seen.waits?.map((wait): LockWait => ({ ...wait, waitMs: age(wait.waitMs) })) ?? null,
  };
}

function steadySession(session: Session, age: (ageMs: Ms) => Ms): Session {
  const { transaction, stateMs, queryMs, connectedMs } = session;
  return {
    ...session,
    stateMs: age(stateMs),
    queryMs: age(queryMs),
    connectedMs: age(connectedMs),
    transaction: transaction.kind === "open" ? { ...transaction, ageMs: age(transaction.ageMs) } : transaction,
  };
}
