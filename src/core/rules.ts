import type { Conditions, Rule } from "../config/schema.ts";
import { ageConditions, type Condition, type Patterns, type Subject, sessionConditions } from "./condition.ts";
import { type History, incidentKey, onServer, subjectKey } from "./history.ts";
import { type CountedFrom, countedWaiters, lockConditions, matchingWait } from "./lock-condition.ts";
import { ruleIndex } from "./rule-index.ts";
import type { NodeKey, Session } from "./session.ts";
import type { Hold, LockWait, Snapshot } from "./snapshot.ts";
import { type Untouchable, untouchables } from "./untouchable.ts";
import { type Behind, type WaitGraph, waitGraph } from "./wait-graph.ts";

/** A rule ready to judge. */
export type CompiledRule = Readonly<{
  rule: Rule;
  /** Its ladder has a step that signals. */
  acts: boolean;
  match: readonly Condition[];
  /** The same, cheapest first: whom an age already rules out is not asked for patterns and locks. */
  tests: readonly Condition[];
  except: readonly Condition[];
  /** The wait that its `waits` is about; null for a rule without. */
  ownWait: ((subject: Subject) => LockWait | null) | null;
  /** The waiters that its `blocks` counts. */
  counted: (subject: CountedFrom) => Iterable<Behind>;
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
  /** Roots that no signal may reach. */
  untouchables: readonly Untouchable[];
  graph: WaitGraph;
  /** A session of this look as the conditions see it, whether a rule can be about it or not. */
  subjectOf(session: Session): Subject;
}>;

const everything: NonNullable<Conditions["blocks"]> = { waiters: 1, locktypes: ["relation", "tuple", "transactionid"] };

export function compileRules(rules: readonly Rule[], patterns: Patterns): CompiledRule[] {
  return rules.map((rule) => {
    const acts = rule.steps.some((step) => step === "cancel" || step === "terminate");
    const context = { rule: rule.name, acts, patterns };
    const compile = (source: Conditions) => {
      const session = sessionConditions(source, context);
      const ages = ageConditions(source);
      const locks = lockConditions(source, context);
      return { inOrder: [...session, ...ages, ...locks], cheapestFirst: [...ages, ...session, ...locks] };
    };
    const match = compile(rule.match);
    return {
      rule,
      acts,
      match: match.inOrder,
      tests: match.cheapestFirst,
      except: rule.except === undefined ? [] : compile(rule.except).inOrder,
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
  const holds = snapshot.holds === null ? null : holdsByHolder(snapshot.holds);
  const subjectOf = (session: Session): Subject => {
    const held = holds === null ? null : (holds.get(session.key) ?? []);
    return { session, snapshot, graph, sessions, history, holds: held };
  };
  const afterCancel = [...history.incidents.values()].filter((one) => one.cancelled);
  const cancelled = new Set(afterCancel.map((one) => one.key));
  const changed = new Set(afterCancel.map((one) => one.subject));
  const candidates = candidateRules(snapshot, graph, rules);
  const findings: Finding[] = [];
  let needsLocks = snapshot.waits === null && snapshot.contended;
  for (const session of snapshot.sessions) {
    if (session.role !== "client" || session.own || session.group !== null) continue;
    const key = subjectKey(session);
    if (key === null) continue;
    const subject = subjectOf(session);
    for (const rule of candidates(session, changed.has(key))) {
      const finding = find(rule, subject, key, cancelled);
      if (finding === null) continue;
      findings.push(finding);
      if (needsLocks || snapshot.waits !== null || finding.inMs > 0) continue;
      needsLocks = history.incidents.get(incidentKey(rule.rule.name, key))?.done !== true;
    }
  }
  return { findings, needsLocks, untouchables: untouchables(snapshot, rules, graph, sessions), graph, subjectOf };
}

function holdsByHolder(holds: readonly Hold[]): ReadonlyMap<NodeKey, readonly Hold[]> {
  const found = new Map<NodeKey, Hold[]>();
  for (const hold of holds) {
    const list = found.get(hold.holder);
    if (list === undefined) found.set(hold.holder, [hold]);
    else list.push(hold);
  }
  return found;
}

/**
 * The rules that can be about a session, as far as it waits (which does not show before the locks have been read), and as
 * far as its words go: unless our own cancel has `changed` them.
 */
function candidateRules(snapshot: Snapshot, graph: WaitGraph, rules: readonly CompiledRule[]) {
  // A rule without `waits` is about sessions that wait for nobody: the root of a chain, never one in its middle.
  const aboutWaiters = rules.filter((rule) => rule.ownWait !== null);
  const [forRoots, forWaiters] = [ruleIndex(rules), ruleIndex(aboutWaiters)];
  return (session: Session, changed: boolean): readonly CompiledRule[] => {
    const root = snapshot.waits === null || graph.isRoot(session.key);
    if (snapshot.waits !== null && graph.inCycle(session.key)) return [];
    if (changed) return root ? rules : aboutWaiters;
    return root ? forRoots(session) : forWaiters(session);
  };
}

/** `cancelled`: the incidents in which our own cancel went out. */
function find(rule: CompiledRule, subject: Subject, key: string, cancelled: ReadonlySet<string>): Finding | null {
  const wasCancelled = cancelled.size > 0 && cancelled.has(incidentKey(rule.rule.name, key));
  let inMs = 0;
  for (const condition of rule.tests) {
    if (condition.resets && wasCancelled) continue;
    const distance = distanceOf(condition, subject);
    // NaN, unknown, is no number to compare with: it never matches.
    if (!(distance < Number.POSITIVE_INFINITY)) return null;
    inMs = Math.max(inMs, distance);
  }
  return { rule, subject, key, inMs, excepted: exception(rule, subject) };
}

/** Without the locks, a condition on them is passed over when somebody might fulfil it, and false when nobody waits. */
export function distanceOf(condition: Condition, subject: Subject): number {
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
