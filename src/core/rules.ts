import type { Conditions, Rule } from "../config/schema.ts";
import { type Activity, activeHours } from "./active-window.ts";
import { ageConditions, type Condition, type Patterns, type Subject, sessionConditions } from "./condition.ts";
import { type CountedWaiters, countedWaiters } from "./counted-waiters.ts";
import { heldLocks } from "./held-locks.ts";
import { type History, type Incident, incidentKey, isOver, onServer, subjectKey } from "./history.ts";
import { lockConditions, matchingWait } from "./lock-condition.ts";
import { preparedConditions, standIn } from "./prepared.ts";
import { ruleIndex } from "./rule-index.ts";
import type { NodeKey, Session } from "./session.ts";
import { type LockWait, type Snapshot, serverClockMs } from "./snapshot.ts";
import { type Untouchable, untouchables } from "./untouchable.ts";
import { type WaitGraph, waitGraph } from "./wait-graph.ts";

/** A rule ready to judge. */
export type CompiledRule = Readonly<{
  rule: Rule;
  /** Its ladder has a step that signals. */
  acts: boolean;
  /** Whether it looks for anybody at this moment (ms since 1970, by the server's clock), and the ms until that changes. */
  activeAt: (atMs: number) => Activity;
  match: readonly Condition[];
  /** The same, cheapest first: whom an age already rules out is not asked for patterns and locks. */
  tests: readonly Condition[];
  except: readonly Condition[];
  /** The wait that its `waits` is about; null for a rule without. */
  ownWait: ((subject: Subject) => LockWait | null) | null;
}> &
  /** Of its `blocks`; of a rule without, every waiter. */
  CountedWaiters;

/** One session that one rule matched in one snapshot, or will match in `inMs` if nothing changes. */
export type Finding = Readonly<{
  rule: CompiledRule;
  subject: Subject;
  /** The transaction, or the session that has none. */
  key: string;
  /** The rule's dealings with it. */
  incident: string;
  inMs: number;
  /** The condition of `except` that spares it, and whether it did so because it is unknown. */
  excepted: Readonly<{ condition: Condition; unknown: boolean }> | null;
  /** The rule's hours are over while this one is on its ladder; it is not asked whether it still matches. */
  halted: boolean;
}>;

export type Evaluation = Readonly<{
  findings: readonly Finding[];
  /** These findings rest on a look without locks: look again with them before anything is decided. */
  needsLocks: boolean;
  /** Roots that no signal may reach. */
  untouchables: readonly Untouchable[];
  graph: WaitGraph;
  sessions: ReadonlyMap<NodeKey, Session>;
  /** subjectKey of each session of the snapshot, in their order. */
  keys: readonly (string | null)[];
  /** A session of this look as the conditions see it, whether a rule can be about it or not. */
  subjectOf(session: Session): Subject;
}>;

const everything: NonNullable<Conditions["blocks"]> = { waiters: 1, locktypes: ["relation", "tuple", "transactionid"] };

export function compileRules(rules: readonly Rule[], patterns: Patterns): CompiledRule[] {
  return rules.map((rule) => {
    const acts = rule.steps.some((step) => typeof step !== "object" && step !== "notify");
    const context = { rule: rule.name, acts, patterns };
    const compile = (source: Conditions) => {
      const session = [...preparedConditions(source), ...sessionConditions(source, context)];
      const ages = ageConditions(source);
      const locks = lockConditions(source, context);
      return { inOrder: [...session, ...ages, ...locks], cheapestFirst: [...ages, ...session, ...locks] };
    };
    const match = compile(rule.match);
    return {
      rule,
      acts,
      activeAt: activeHours(rule.active),
      match: match.inOrder,
      tests: match.cheapestFirst,
      except: rule.except === undefined ? [] : compile(rule.except).inOrder,
      ownWait: rule.match.waits === undefined ? null : matchingWait(rule.match.waits, acts),
      ...countedWaiters(rule.match.blocks ?? everything, acts && rule.match.blocks !== undefined),
    };
  });
}

/** Every rule against every session: who matches now, and who will by time alone. */
export function evaluate(snapshot: Snapshot, rules: readonly CompiledRule[], memory: History): Evaluation {
  const history = onServer(memory, snapshot.serverId);
  const graph = waitGraph(snapshot);
  const sessions = new Map<NodeKey, Session>();
  for (const session of snapshot.sessions) sessions.set(session.key, session);
  const keys = snapshot.sessions.map(subjectKey);
  const locks = snapshot.holds === null ? null : heldLocks(snapshot.holds);
  const subjectOf = (session: Session, key = subjectKey(session)): Subject => {
    return { session, key, snapshot, graph, sessions, history, locks };
  };
  const active = rules.filter((rule) => rule.activeAt(serverClockMs(snapshot)).active);
  const begun = begunWith(
    history,
    rules.filter((rule) => !active.includes(rule)),
  );
  const candidates = candidateRules(snapshot, graph, active);
  const findings: Finding[] = [];
  const judge = (subject: Subject, candidate: readonly CompiledRule[]) => {
    for (const rule of candidate) {
      const finding = find(rule, subject, begun);
      if (finding !== null) findings.push(finding);
    }
    for (const rule of begun.resting) {
      const halted = findHalted(rule, subject);
      if (halted !== null) findings.push(halted);
    }
  };
  for (const [at, session] of snapshot.sessions.entries()) {
    const key = keys[at] ?? null;
    if (key === null || session.role !== "client" || session.own || session.group !== null) continue;
    const candidate = candidates(session, begun.changed.size > 0 && begun.changed.has(key));
    if (candidate.length > 0 || begun.resting.length > 0) judge(subjectOf(session, key), candidate);
  }
  const aboutPrepared = active.filter(isAboutPrepared);
  for (const prepared of snapshot.prepared) {
    const session = standIn(prepared);
    if (subjectKey(session) !== null) judge({ ...subjectOf(session), prepared }, aboutPrepared);
  }
  const beyondReach = untouchables(snapshot, active, graph, sessions);
  const told = beyondReach.length === 0 ? beyondReach : notMet(beyondReach, findings);
  const needsLocks = wantsLocks(findings, snapshot, history);
  return { findings, needsLocks, untouchables: told, graph, sessions, keys, subjectOf };
}

/** What the rules have begun before this look, as far as it changes what they ask in it. */
type Begun = Readonly<{
  /** The incidents in which our own cancel went out, and their victims. */
  cancelled: ReadonlySet<string>;
  changed: ReadonlySet<string>;
  /** The rules whose hours are over while somebody is on their ladder. */
  resting: readonly CompiledRule[];
}>;

function begunWith({ incidents }: History, resting: readonly CompiledRule[]): Begun {
  const cancelled = new Set<string>();
  const changed = new Set<string>();
  const busy = new Set<string>();
  for (const incident of incidents.values()) {
    if (isOnLadder(incident)) busy.add(incident.rule);
    if (!incident.cancelled) continue;
    cancelled.add(incident.key);
    changed.add(incident.subject);
  }
  return { cancelled, changed, resting: resting.filter(({ rule }) => busy.has(rule.name)) };
}

/** A decision would rest on a look without locks. */
function wantsLocks(
  findings: readonly Finding[],
  { waits, contended, atMs }: Snapshot,
  { incidents }: History,
): boolean {
  if (waits !== null) return false;
  const isDue = ({ inMs, halted, incident }: Finding) =>
    inMs === 0 && !halted && !isOver(incidents.get(incident), atMs);
  return contended || findings.some(isDue);
}
/** What a rule is about by itself needs no other one that only tells of it. */
function notMet(found: readonly Untouchable[], findings: readonly Finding[]): readonly Untouchable[] {
  const met = findings.filter(({ inMs, excepted }) => inMs === 0 && excepted === null);
  const known = new Set(met.map(({ subject }) => subject.session.key));
  return found.filter(({ victim }) => !known.has(victim.key));
}

function isAboutPrepared({ rule }: CompiledRule): boolean {
  return rule.match.prepared !== undefined;
}

/** The rule has begun with it, and has something left to do. */
function isOnLadder(incident: Incident | undefined): boolean {
  return incident !== undefined && !incident.done && incident.step > 0;
}

/**
 * The rules that can be about a session, as far as it waits (which does not show before the locks have been read), and as
 * far as its words go: unless our own cancel has `changed` them.
 */
function candidateRules(snapshot: Snapshot, graph: WaitGraph, rules: readonly CompiledRule[]) {
  const aboutSessions = rules.filter((rule) => !isAboutPrepared(rule));
  // A rule without `waits` is about sessions that wait for nobody: the root of a chain, never one in its middle.
  const aboutWaiters = aboutSessions.filter((rule) => rule.ownWait !== null);
  const [forRoots, forWaiters] = [ruleIndex(aboutSessions), ruleIndex(aboutWaiters)];
  return (session: Session, changed: boolean): readonly CompiledRule[] => {
    // Whoever is in the snapshot and does not wait is a root.
    const root = snapshot.waits === null || graph.waitsOf(session.key).length === 0;
    if (!root && graph.inCycle(session.key)) return [];
    if (changed) return root ? aboutSessions : aboutWaiters;
    return root ? forRoots(session) : forWaiters(session);
  };
}

function find(rule: CompiledRule, subject: Subject, { cancelled }: Begun): Finding | null {
  const key = subject.key ?? "";
  const wasCancelled = cancelled.size > 0 && cancelled.has(incidentKey(rule.rule.name, key));
  let inMs = 0;
  for (const condition of rule.tests) {
    if (condition.resets && wasCancelled) continue;
    const distance = distanceOf(condition, subject);
    // NaN, unknown, is no number to compare with: it never matches.
    if (!(distance < Number.POSITIVE_INFINITY)) return null;
    if (distance > inMs) inMs = distance;
  }
  const incident = incidentKey(rule.rule.name, key);
  return { rule, subject, key, incident, inMs, excepted: exception(rule, subject), halted: false };
}

/** It is not asked whether it still matches. */
function findHalted(rule: CompiledRule, subject: Subject): Finding | null {
  const key = subject.key ?? "";
  const incident = incidentKey(rule.rule.name, key);
  if (!isOnLadder(subject.history.incidents.get(incident))) return null;
  return { rule, subject, key, incident, inMs: 0, excepted: null, halted: true };
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
