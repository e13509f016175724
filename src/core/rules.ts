import type { Conditions, Rule } from "../config/schema.ts";
import { ageConditions, type Condition, type Patterns, type Subject, sessionConditions } from "./condition.ts";
import { type History, type Incident, incidentKey, onServer, subjectKey } from "./history.ts";
import { countedWaiters, lockConditions, matchingWait } from "./lock-condition.ts";
import type { NodeKey, Session } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";
import { type Behind, type WaitGraph, waitGraph } from "./wait-graph.ts";

/** A rule ready to judge. */
export type CompiledRule = Readonly<{
  rule: Rule;
  /** Its ladder has a step that signals. */
  acts: boolean;
  match: readonly Condition[];
  except: readonly Condition[];
  /** The wait that its `waits` is about; null for a rule without. */
  ownWait: ((subject: Subject) => LockWait | null) | null;
  /** The waiters that its `blocks` counts. */
  counted: (subject: Subject) => readonly Behind[];
}>;

/** One session that one rule matched in one snapshot, or will match in `inMs` if nothing changes. */
export type Finding = Readonly<{
  rule: CompiledRule;
  subject: Subject;
  /** The transaction, or the session that has none. */
  key: string;
  inMs: number;
  /** The condition of `except` that spares it, and whether it did so because it is unknown. */
  excepted: Readonly<{ condition: Condition; unknown: boolean }> | null;
}>;

export type Evaluation = Readonly<{
  findings: readonly Finding[];
  /** These findings rest on a look without locks: look again with them before anything is decided. */
  needsLocks: boolean;
  graph: WaitGraph;
}>;

const everything: NonNullable<Conditions["blocks"]> = { waiters: 1, locktypes: ["relation", "tuple", "transactionid"] };

export function compileRules(rules: readonly Rule[], patterns: Patterns): CompiledRule[] {
  return rules.map((rule) => {
    const acts = rule.steps.some((step) => step === "cancel" || step === "terminate");
    const context = { rule: rule.name, acts, patterns };
    const compile = (source: Conditions) => [
      ...sessionConditions(source, context),
      ...ageConditions(source),
      ...lockConditions(source, context),
    ];
    return {
      rule,
      acts,
      match: compile(rule.match),
      except: rule.except === undefined ? [] : compile(rule.except),
      ownWait: rule.match.waits === undefined ? null : matchingWait(rule.match.waits, acts),
      counted: countedWaiters(rule.match.blocks ?? everything, acts && rule.match.blocks !== undefined),
    };
  });
}

/** Every rule against every session: who matches now, and who will by time alone. */
export function evaluate(snapshot: Snapshot, rules: readonly CompiledRule[], memory: History): Evaluation {
  const history = onServer(memory, snapshot.serverId);
  const graph = waitGraph(snapshot);
  const sessions = new Map<NodeKey, Session>(snapshot.sessions.map((session) => [session.key, session]));
  const findings: Finding[] = [];
  let needsLocks = snapshot.waits === null && snapshot.contended;
  for (const session of snapshot.sessions) {
    if (session.role !== "client" || session.own || session.group !== null) continue;
    const key = subjectKey(session);
    if (key === null) continue;
    const subject: Subject = { session, snapshot, graph, sessions, history };
    for (const rule of rules) {
      const incident = history.incidents.get(incidentKey(rule.rule.name, key));
      const finding = find(rule, subject, key, incident);
      if (finding === null) continue;
      findings.push(finding);
      needsLocks ||= snapshot.waits === null && finding.inMs === 0 && incident?.done !== true;
    }
  }
  return { findings, needsLocks, graph };
}

function find(rule: CompiledRule, subject: Subject, key: string, incident: Incident | undefined): Finding | null {
  const { graph, session, snapshot } = subject;
  const locksRead = snapshot.waits !== null;
  // A rule without `waits` is about sessions that wait for nobody: the root of a chain, never one in its middle.
  if (locksRead && rule.ownWait === null && !graph.isRoot(session.key)) return null;
  if (locksRead && graph.inCycle(session.key)) return null;
  let inMs = 0;
  for (const condition of rule.match) {
    if (condition.resets && incident?.cancelled === true) continue;
    const distance = distanceOf(condition, subject);
    // NaN, unknown, is no number to compare with: it never matches.
    if (!(distance < Number.POSITIVE_INFINITY)) return null;
    inMs = Math.max(inMs, distance);
  }
  return { rule, subject, key, inMs, excepted: exception(rule, subject) };
}

/** Without the locks, a condition on them is passed over when somebody might fulfil it, and false when nobody waits. */
function distanceOf(condition: Condition, subject: Subject): number {
  const { snapshot } = subject;
  if (!condition.needsLocks || snapshot.waits !== null) return condition.distance(subject);
  return snapshot.contended || condition.name === "holds" ? 0 : Number.POSITIVE_INFINITY;
}

function exception(rule: CompiledRule, subject: Subject): Finding["excepted"] {
  for (const condition of rule.except) {
    if (condition.needsLocks && subject.snapshot.waits === null) continue;
    const distance = condition.distance(subject);
    if (distance === 0) return { condition, unknown: false };
    if (Number.isNaN(distance)) return { condition, unknown: true };
  }
  return null;
}
