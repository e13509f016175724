import type { ActDecision, OutcomeKind } from "./decision.ts";
import {
  describedHold,
  describedPrepared,
  describedSession,
  describedSnapshot,
  describedWait,
  lockOf,
  preparedKey,
  type SaidPrepared,
  type SaidSession,
  type Since,
} from "./described.ts";
import type { Ms, NodeKey, Session, SessionState } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";

// A described server that goes on by itself: who was there stays, ages grow, and who is said to change changes.

type Actor = Readonly<{ said: SaidSession; since: Since; waitingSinceMs: Ms }>;
type PreparedActor = Readonly<{ said: SaidPrepared; sinceMs: Ms }>;

export type Scenario = Readonly<{
  sessions: ReadonlyMap<string, Actor>;
  prepared: ReadonlyMap<string, PreparedActor>;
}>;

export const emptyScenario: Scenario = { sessions: new Map(), prepared: new Map() };

/** What is new or other than before; the rest goes on. `gone`: pids and gids. */
export type Change = Readonly<{
  sessions: readonly SaidSession[];
  prepared: readonly SaidPrepared[];
  gone: readonly string[];
}>;

export function nextScenario(before: Scenario, { sessions, prepared, gone }: Change, atMs: number): Scenario {
  const left = gone.reduce((scenario, id) => withoutNode(withoutNode(scenario, id), preparedKey(id)), before);
  const actors = new Map(left.sessions);
  for (const said of sessions) actors.set(said.pid, actorAfter(actors.get(said.pid) ?? null, said, atMs));
  const transactions = new Map(left.prepared);
  for (const said of prepared) {
    const known = transactions.get(said.gid);
    const sinceMs = said.for === undefined ? (known?.sinceMs ?? atMs) : agoMs(said.for, atMs);
    transactions.set(said.gid, { said: { ...known?.said, ...said }, sinceMs });
  }
  return { sessions: actors, prepared: transactions };
}

function agoMs(ageMs: Ms, atMs: number): Ms {
  return ageMs === null ? null : atMs - ageMs;
}

function actorAfter(before: Actor | null, now: SaidSession, atMs: number): Actor {
  const state = stateAfter(before, now);
  const merged: SaidSession = { ...before?.said, ...now };
  const said = state === null || state === "active" ? merged : { ...merged, waits: null };
  const waitingSinceMs = waitingSince(before, said, now, atMs);
  const goesOn = before !== null && state === before.since.state && now.query === undefined;
  // Who waits has been at it at least as long.
  const startedMs = state === "active" ? Math.min(atMs, waitingSinceMs ?? atMs) : atMs;
  const stateAge = state === "active" ? now.query_for : now.idle_for;
  const stateMs = stateAge !== undefined ? agoMs(stateAge, atMs) : goesOn ? before.since.stateMs : startedMs;
  const queryMs =
    now.query_for !== undefined
      ? agoMs(now.query_for, atMs)
      : goesOn && stateAge === undefined
        ? before.since.queryMs
        : stateMs;
  const transactionMs = transactionSince(before, now, state, atMs) ?? Math.min(stateMs ?? atMs, startedMs);
  const began = typeof transactionMs === "number" ? transactionMs : atMs;
  const connectedMs =
    now.connected_for !== undefined
      ? agoMs(now.connected_for, atMs)
      : before === null
        ? Math.min(began, atMs - usualConnectionMs)
        : before.since.connectedMs;
  const inTransaction = state !== "idle";
  return {
    said,
    waitingSinceMs,
    since: { state, stateMs, queryMs, connectedMs, transactionMs: inTransaction ? transactionMs : null },
  };
}

const usualConnectionMs = 3_600_000;

function stateAfter(before: Actor | null, now: SaidSession): SessionState | null {
  if (now.state !== undefined) return now.state;
  const was = before === null ? "active" : before.since.state;
  if (now.idle_for !== undefined) return was === null || was === "active" ? "idle in transaction" : was;
  const works = now.query_for !== undefined || (now.waits !== undefined && now.waits !== null);
  return works ? "active" : was;
}

/** null: not said, and none that goes on. */
function transactionSince(
  before: Actor | null,
  now: SaidSession,
  state: SessionState | null,
  atMs: number,
): number | "unknown" | null {
  if (now.transaction_for === null) return "unknown";
  if (now.transaction_for !== undefined) return atMs - now.transaction_for;
  return state === "idle" ? null : (before?.since.transactionMs ?? null);
}

function waitingSince(before: Actor | null, { waits }: SaidSession, now: SaidSession, atMs: number): Ms {
  if (waits === undefined || waits === null) return null;
  if (now.waits === undefined || now.waits === null) return before?.waitingSinceMs ?? null;
  if (now.waits.for !== undefined) return agoMs(now.waits.for, atMs);
  const was = before?.said.waits;
  if (before !== null && was !== undefined && was !== null && lockOf(was) === lockOf(waits))
    return before.waitingSinceMs;
  return agoMs(now.query_for ?? 0, atMs);
}

/** It has ended, and nobody waits for it any more. */
function withoutNode({ sessions, prepared }: Scenario, key: NodeKey): Scenario {
  const others = [...prepared].filter(([gid]) => preparedKey(gid) !== key);
  const left = [...sessions].filter(([pid]) => pid !== key).map(([pid, actor]) => [pid, freed(actor, key)] as const);
  return { sessions: new Map(left), prepared: new Map(others) };
}

function freed(actor: Actor, key: NodeKey): Actor {
  const { waits } = actor.said;
  if (waits === undefined || waits === null) return actor;
  const on = waits.on.filter((id) => id !== key && preparedKey(id) !== key);
  if (on.length === waits.on.length) return actor;
  if (on.length > 0) return { ...actor, said: { ...actor.said, waits: { ...waits, on } } };
  return { ...actor, waitingSinceMs: null, said: { ...actor.said, waits: null } };
}

/** What the server makes of a signal. Whatever was not released stays as it is until the next look says otherwise. */
export function afterSignal(
  scenario: Scenario,
  { action, evidence: { victim } }: ActDecision,
  outcome: OutcomeKind,
  atMs: number,
): Scenario {
  if (action === "notify" || (outcome !== "released" && outcome !== "gone")) return scenario;
  const left = withoutNode(scenario, victim.key);
  const actor = scenario.sessions.get(victim.key);
  if (action !== "cancel" || actor === undefined) return left;
  // A statement outside of a transaction block: the connection stays.
  const said = { ...actor.said, holds: [], waits: null };
  const sessions = new Map(left.sessions).set(victim.key, actorAfter({ ...actor, said }, idleNow(actor), atMs));
  return { ...left, sessions };
}

function idleNow({ said: { pid } }: Actor): SaidSession {
  return { pid, state: "idle" };
}

/** A full look at it. */
export function snapshotOf(scenario: Scenario, target: string, atMs: number): Snapshot {
  const waits = waitsOf(scenario, atMs);
  const writers = new Set(
    waits.filter(({ locktype }) => locktype === "transactionid").flatMap(({ blockers }) => blockers.map(nodeOf)),
  );
  const sessions: Session[] = [];
  const holds = [];
  for (const { said, since } of scenario.sessions.values()) {
    const session = describedSession(said, since, atMs, writers.has(said.pid));
    sessions.push(session);
    for (const hold of said.holds ?? []) holds.push(describedHold(session.key, session.database, hold));
  }
  const prepared = [...scenario.prepared.values()].map(({ said, sinceMs }) => {
    const one = describedPrepared(said, sinceMs, atMs);
    for (const hold of said.holds ?? []) holds.push(describedHold(one.key, one.database, hold));
    return one;
  });
  return describedSnapshot(target, atMs, { sessions, prepared, holds, waits });
}

const nodeOf = ({ node }: LockWait["blockers"][number]): NodeKey => node;

function waitsOf({ sessions, prepared }: Scenario, atMs: number): readonly LockWait[] {
  return [...sessions.values()].flatMap(({ said, waitingSinceMs }) => {
    const { pid, waits, database = "app" } = said;
    if (waits === undefined || waits === null) return [];
    const lock = lockOf(waits);
    const blockers = waits.on.map((id) => {
      const blocker = sessions.get(id)?.said;
      const queued = blocker?.waits ?? null;
      const node = blocker === undefined && prepared.has(id) ? preparedKey(id) : id;
      // Who waits for the very same lock does not hold it.
      return { node, soft: queued !== null && lockOf(queued) === lock };
    });
    return [describedWait(pid, database, { said: waits, sinceMs: waitingSinceMs, blockers }, atMs)];
  });
}
