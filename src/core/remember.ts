import type { Limits } from "../config/schema.ts";
import { breakerMemoryMs } from "./breaker.ts";
import type { Decision, Evidence, Outcome, OutcomeKind } from "./decision.ts";
import {
  type Act,
  type Cooldown,
  type Freedom,
  type History,
  type Incident,
  incidentKey,
  isIn,
  lineageKey,
  offender,
  onServer,
  retried,
  subjectKey,
  unopened,
  untilRetryMs,
} from "./history.ts";
import { blockedMs } from "./lock-condition.ts";
import { standIn } from "./prepared.ts";
import type { CompiledRule, Evaluation } from "./rules.ts";
import type { NodeKey, Session } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";
import { unreachable } from "./unreachable.ts";

/** What a look adds to the memory, before anything is decided on it. */
export function remember(
  history: History,
  snapshot: Snapshot,
  evaluation: Evaluation,
  rules: readonly CompiledRule[],
): History {
  const before = onServer(history, snapshot.serverId);
  return {
    serverId: snapshot.serverId,
    blocking: blockingNow(before, snapshot, evaluation, rules),
    freedom: freedomNow(before, snapshot, evaluation.keys),
    incidents: incidentsNow(before, snapshot, evaluation),
    acts: before.acts,
    cooldowns: before.cooldowns
      .filter((cooldown) => cooldown.untilMs > snapshot.atMs)
      .map((cooldown) => grow(cooldown, snapshot)),
    verifying: before.verifying,
    breaker: before.breaker,
    crowds: before.crowds,
    probes: before.probes,
  };
}

function blockingNow(
  before: History,
  snapshot: Snapshot,
  { graph, sessions, keys }: Evaluation,
  rules: readonly CompiledRule[],
): History["blocking"] {
  const aboutBlockers = snapshot.waits === null ? [] : rules.filter((rule) => rule.rule.match.blocks !== undefined);
  if (aboutBlockers.length === 0) return new Map();
  const aboutWaiters = aboutBlockers.filter((rule) => rule.ownWait !== null);
  const since = new Map<CompiledRule, Map<string, number>>(aboutBlockers.map((rule) => [rule, new Map()]));
  const note = (session: Session, key: string | null) => {
    // A rule about roots counts from when the session became one.
    const asked = graph.isRoot(session.key) ? aboutBlockers : aboutWaiters;
    if (key === null || asked.length === 0) return;
    const subject = { session, key, snapshot, graph, sessions, history: before };
    for (const rule of asked) {
      const ms = blockedMs(rule.rule.name, subject, rule.nearest(subject));
      if (ms !== null) since.get(rule)?.set(key, snapshot.atMs - ms);
    }
  };
  const blockers = new Set<NodeKey>();
  for (const wait of snapshot.waits ?? []) for (const { node } of wait.blockers) blockers.add(node);
  for (const [at, session] of snapshot.sessions.entries())
    if (blockers.has(session.key)) note(session, keys[at] ?? null);
  for (const one of snapshot.prepared) if (blockers.has(one.key)) note(standIn(one), subjectKey(standIn(one)));
  return new Map(Array.from(since, ([rule, found]) => [rule.rule.name, found]));
}

const waits: Freedom = { sinceMs: null, waited: true };

function freedomNow(before: History, snapshot: Snapshot, keys: Evaluation["keys"]): Map<string, Freedom> {
  const now = new Map<string, Freedom>();
  const waiting = new Set<NodeKey>();
  for (const { waiter } of snapshot.waits ?? []) waiting.add(waiter);
  const unread = snapshot.waits === null && snapshot.contended;
  for (const [at, session] of snapshot.sessions.entries()) {
    const key = keys[at] ?? null;
    if (key === null) continue;
    const last = before.freedom.get(key);
    if (waiting.has(session.key)) now.set(key, waits);
    else if (last !== undefined && (unread || last.sinceMs !== null)) now.set(key, last);
    else if (!unread) now.set(key, { sinceMs: snapshot.atMs, waited: last?.waited === true });
  }
  return now;
}

/** An incident lasts as long as its transaction, and until the outcome of its act is known; it opens when a rule matches it for the first time. */
function incidentsNow(before: History, snapshot: Snapshot, evaluation: Evaluation): Map<string, Incident> {
  const now = new Map<string, Incident>();
  if (before.incidents.size > 0) {
    const present = presentNow(snapshot, evaluation);
    const { verifying } = before;
    for (const [key, incident] of before.incidents)
      if (present.has(incident.subject) || verifying.has(key)) now.set(key, incident);
  }
  const { findings, untouchables } = evaluation;
  for (const { halted, incident: key } of findings) {
    const kept = halted ? now.get(key) : undefined;
    if (kept !== undefined && kept.halted !== true) now.set(key, { ...kept, halted: true });
  }
  const met = new Set<string>();
  const meet = (rule: string, subject: string, key: string) => {
    met.add(key);
    const kept = now.get(key);
    if (kept === undefined) now.set(key, { ...unopened(rule, subject, snapshot.atMs), matched: true });
    else if (!kept.matched) now.set(key, { ...afterRest(kept), stepSinceMs: snapshot.atMs, matched: true });
    else if (kept.halted === true) now.set(key, afterRest(kept));
    else if (untilRetryMs(kept, snapshot.atMs) === 0) now.set(key, retried(kept, snapshot.atMs));
  };
  for (const { rule, key, incident, inMs, excepted, halted } of findings) {
    if (inMs === 0 && excepted === null && !halted) meet(rule.rule.name, key, incident);
  }
  for (const { rule, key } of untouchables) meet(rule.rule.name, key, incidentKey(rule.rule.name, key));
  for (const [key, incident] of now)
    if (incident.matched && !met.has(key)) now.set(key, { ...incident, matched: false });
  return now;
}

function presentNow(snapshot: Snapshot, { keys, untouchables }: Evaluation): ReadonlySet<string | null> {
  const present = new Set(keys);
  for (const one of snapshot.prepared) present.add(subjectKey(standIn(one)));
  for (const { key } of untouchables) present.add(key);
  return present;
}

/** The rule's hours have come again: from its first step on; who was told of what stays known. */
function afterRest(incident: Incident): Incident {
  if (incident.halted !== true) return incident;
  const { denied: _denied, ...rest } = incident;
  return { ...rest, step: 0, cancelled: false, failures: 0, halted: false };
}

/** Whoever queues behind a successor becomes one. */
function grow(cooldown: Cooldown, snapshot: Snapshot): Cooldown {
  if (snapshot.waits === null || cooldown.lineage.size === 0) return cooldown;
  if (!snapshot.sessions.some(isIn(cooldown.lineage))) return cooldown;
  const people = new Map<NodeKey, string>(snapshot.sessions.map((session) => [session.key, lineageKey(session)]));
  const behind = new Map<NodeKey, NodeKey[]>();
  for (const { waiter, blockers } of snapshot.waits) {
    if (!people.has(waiter)) continue;
    for (const { node } of blockers) {
      const list = behind.get(node);
      if (list === undefined) behind.set(node, [waiter]);
      else list.push(waiter);
    }
  }
  const lineage = new Set(cooldown.lineage);
  const left = [...behind.keys()].filter((node) => lineage.has(people.get(node) ?? ""));
  for (let node = left.pop(); node !== undefined; node = left.pop()) {
    for (const waiter of behind.get(node) ?? []) {
      const identity = people.get(waiter) ?? "";
      if (lineage.has(identity)) continue;
      lineage.add(identity);
      left.push(waiter);
    }
  }
  return { ...cooldown, lineage };
}

/** What an outcome changes: one incident (null: it is over), and what counts on when a signal went out. */
export type Aftermath = Readonly<{
  key: string;
  incident: Incident | null;
  sent: Readonly<{ act: Act; cooldown: Cooldown }> | null;
}>;

/** What an outcome adds to the memory; null: the incident is not known any more. `atMs` by the server's clock. */
export function aftermathOf(
  history: Pick<History, "incidents">,
  decision: Decision,
  outcome: Pick<Outcome, "kind">,
  rule: CompiledRule["rule"],
  atMs: number,
): Aftermath | null {
  const before = history.incidents.get(decision.incident);
  if (before === undefined) return null;
  const incident = stepAfter(before, decision, outcome, rule, atMs);
  const key = before.key;
  if (decision.action === "notify" || !wentOut(outcome.kind)) return { key, incident, sent: null };
  const act: Act = { atMs, rule: decision.rule, who: offender(decision.evidence.victim), incident: key };
  return { key, incident, sent: { act, cooldown: cooldownAfter(decision, rule, atMs) } };
}

export function cooldownAfter(decision: Decision, rule: CompiledRule["rule"], atMs: number): Cooldown {
  return { rule: decision.rule, atMs, untilMs: atMs + rule.cooldown, ...standingBehind(decision.evidence) };
}

/** A person's act is no rule's: its successors have what is usual. */
export const handCooldownMs = 30_000;

/** After an act by hand rules leave its successors alone for a while. */
export function cooldownByHand({ evidence, rule }: Decision, { tookMs }: Outcome, atMs: number): Cooldown {
  return { rule, atMs, untilMs: atMs + tookMs + handCooldownMs, ...standingBehind(evidence) };
}

/** Whoever stood behind the victim, and for what. */
export function standingBehind(evidence: Pick<Evidence, "waiters" | "waits">): Pick<Cooldown, "lineage" | "locks"> {
  return {
    lineage: new Set(evidence.waiters.map(lineageKey)),
    locks: new Set(evidence.waits.map((wait) => wait.lock)),
  };
}

/** The memory with it. */
export function afterOutcome(
  history: History,
  decision: Decision,
  outcome: Outcome,
  rule: CompiledRule["rule"],
  atMs: number,
): History {
  const aftermath = aftermathOf(history, decision, outcome, rule, atMs);
  if (aftermath === null) return history;
  const incidents = new Map(history.incidents);
  enter(incidents, aftermath);
  return withSent({ ...history, incidents }, aftermath);
}

/** For whoever has a map of incidents of its own: a copy of it for each of many decisions would take long. */
export function enter(incidents: Map<string, Incident>, { key, incident }: Aftermath): void {
  if (incident === null) incidents.delete(key);
  else incidents.set(key, incident);
}

export function withSent(history: History, { sent }: Aftermath): History {
  if (sent === null) return history;
  return { ...history, acts: [...history.acts, sent.act], cooldowns: [...history.cooldowns, sent.cooldown] };
}

/** What a rule's probe adds to the memory: `sparedMs`, when it spared somebody; null: it found the way stuck. */
export function afterProbe(history: History, rule: string, sparedMs: number | null): History {
  const probes = new Map(history.probes);
  if (sparedMs === null) probes.delete(rule);
  else probes.set(rule, sparedMs);
  return { ...history, probes };
}

/** A signal was sent, or may have been. */
export function wentOut(kind: OutcomeKind): boolean {
  return kind === "released" || kind === "survived" || kind === "unknown";
}

/** A full server lets nobody in, a statement took too long: past these it is for a person. */
const mostFailures = 3;

function stepAfter(
  incident: Incident,
  decision: Decision,
  outcome: Pick<Outcome, "kind">,
  rule: CompiledRule["rule"],
  atMs: number,
): Incident | null {
  const step = decision.step + 1;
  const onward = { ...incident, step, stepSinceMs: atMs, done: step >= rule.steps.length, refusals: 0 };
  if (decision.action === "notify") return onward;
  switch (outcome.kind) {
    case "released":
    case "gone":
      return null;
    case "changed":
      // It is judged anew.
      return { ...incident, refusals: (incident.refusals ?? 0) + 1 };
    case "denied":
      // What the role may not do now, it may not do with the next step either; it is tried again after a while.
      return { ...onward, step: rule.steps.length, done: true, denied: { step: decision.step, atMs } };
    case "failed": {
      // Nothing was sent, and there is no further step: what was in the way may be gone at a later look.
      const failures = (incident.failures ?? 0) + 1;
      return onward.done && failures < mostFailures ? { ...incident, failures } : onward;
    }
    case "survived":
    case "unknown":
      return {
        ...onward,
        cancelled: incident.cancelled || decision.action === "cancel",
      };
    default:
      return unreachable(outcome.kind);
  }
}

/** Acts that no limit looks at any more are forgotten. A clock that was set back has none in the future: they count as now. */
export function forgetOldActs(history: History, limits: Limits, atMs: number): History {
  const longest = actMemoryMs(limits);
  const recent = history.acts.filter((act) => atMs - act.atMs < longest);
  return { ...history, acts: recent.map((act) => (act.atMs > atMs ? { ...act, atMs } : act)) };
}

/** How far back acts count. */
export function actMemoryMs({ repeat, breaker }: Limits): number {
  return Math.max(60_000, repeat.within, breakerMemoryMs(breaker));
}
