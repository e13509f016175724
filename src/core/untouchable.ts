import type { Decision, Reason } from "./decision.ts";
import { incidentKey, subjectKey } from "./history.ts";
import { relationText } from "./relation.ts";
import type { CompiledRule } from "./rules.ts";
import type { NodeKey, Prepared, Session } from "./session.ts";
import { type Snapshot, serverText } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import type { Behind, WaitGraph } from "./wait-graph.ts";

/**
 * A root that a rule's `blocks` is about and no signal may reach: a prepared transaction, a process of the server's own, a
 * session that shows nothing of itself. Nobody is acted on in its place, and people are told.
 */
export type Untouchable = Readonly<{
  rule: CompiledRule;
  key: string;
  victim: Session | Prepared;
  counted: readonly Behind[];
  waiters: readonly Session[];
}>;

/** What is kept of one, at most. */
const mostWaiters = 100;
const prefix = "untouchable ";

export function isUntouchable(subject: string): boolean {
  return subject.startsWith(prefix);
}

/** Each such root of a look with locks, by the first rule that it concerns. */
export function untouchables(
  snapshot: Snapshot,
  rules: readonly CompiledRule[],
  graph: WaitGraph,
  sessions: ReadonlyMap<NodeKey, Session>,
): readonly Untouchable[] {
  if (snapshot.waits === null) return [];
  const prepared = new Map<NodeKey, Prepared>(snapshot.prepared.map((one) => [one.key, one]));
  return graph.roots().flatMap((node) => {
    const victim = prepared.get(node) ?? sessions.get(node);
    if (victim === undefined || (victim.kind === "session" && isOrdinary(victim))) return [];
    for (const rule of rules) {
      const counted = concerned(rule, victim, graph, sessions);
      if (counted === null) continue;
      const waiters = counted.flatMap(({ waiter }) => sessions.get(waiter) ?? []);
      return [{ rule, key: `${prefix}${node}`, victim, counted, waiters }];
    }
    return [];
  });
}

/** It is judged like everybody. */
function isOrdinary(session: Session): boolean {
  return session.own || session.group !== null || (session.role === "client" && subjectKey(session) !== null);
}

/** The waiters that the rule counts; null when they are too few, or have not waited for long enough. */
function concerned(
  { rule: { match }, ownWait, counted }: CompiledRule,
  { key }: Pick<Session, "key">,
  graph: WaitGraph,
  sessions: ReadonlyMap<NodeKey, Session>,
): readonly Behind[] | null {
  if (match.blocks === undefined || match.prepared !== undefined || ownWait !== null) return null;
  const all = counted({ session: { key }, graph, sessions });
  // Nobody knows how long it has been what the rule looks for; how long others have waited is known.
  const dueMs = Math.max(match.blocks.for ?? 0, match.idle_for ?? 0, match.transaction_for ?? 0);
  const waitedMs = Math.max(...all.filter(({ depth }) => depth === 1).map(({ wait }) => wait.waitMs ?? 0));
  return all.length >= match.blocks.waiters && waitedMs >= dueMs ? all.slice(0, mostWaiters) : null;
}

/** One decision each: it is spared, and why. */
export function spareUntouchables(
  found: readonly Untouchable[],
  { snapshot, config }: Readonly<{ snapshot: Snapshot; config: string }>,
): readonly Decision[] {
  return found.map(({ rule: { rule }, key, victim, counted, waiters }) => ({
    kind: "spare",
    by: isHidden(victim) ? "unknown" : "protect",
    incident: incidentKey(rule.name, key),
    rule: rule.name,
    config,
    evidence: {
      at: snapshot.at,
      serverId: snapshot.serverId,
      server: serverText(snapshot),
      victim,
      holds: [],
      waits: counted.map(({ wait }) => wait),
      waiters,
    },
    reason: reasonOf(victim, counted),
    step: 0,
    action: "notify",
  }));
}

function isHidden(victim: Session | Prepared): boolean {
  return victim.kind === "session" && (victim.role === "client" || victim.role === "unknown");
}

function reasonOf(victim: Session | Prepared, counted: readonly Behind[]): Reason {
  const relation = counted[0] === undefined ? null : relationText(counted[0].wait);
  const where = relation === null ? "" : ` on ${relation}`;
  const blocks = `blocks ${counted.length === 1 ? "1 session" : `${counted.length} sessions`}${where}`;
  const facts = { relation, waiters: counted.length };
  if (victim.kind === "prepared") {
    const age = victim.ageMs === null ? "" : ` ${spokenDuration(victim.ageMs)} ago`;
    const sql = `rollback prepared '${victim.gid.replaceAll("'", "''")}'`;
    const text = `prepared${age}, ${blocks}; it has no session to signal: its owner ${victim.user} or a superuser runs ${sql} (or commit prepared) in database ${victim.database}`;
    return { code: "prepared", text, facts };
  }
  if (!isHidden(victim))
    return { code: "not-client", text: `${blocks}; it is no client but ${victim.backendType ?? "unknown"}`, facts };
  const why =
    "its state and transaction do not show, as the server does not track them, or our role may not see them (lockwarden check says what is missing); what is unknown is spared";
  return { code: "unknown", text: `${blocks}; ${why}`, facts };
}
