import type { Config } from "../config/schema.ts";
import type { Decision, Outcome } from "./decision.ts";
import {
  type Act,
  type Cooldown,
  type Freedom,
  type History,
  type Incident,
  incidentKey,
  offender,
  onServer,
  sessionIdentity,
  subjectKey,
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
    probes: before.probes,
  };
}

function blockingNow(
  before: History,
  snapshot: Snapshot,
  { graph, sessions }: Evaluation,
  rules: readonly CompiledRule[],
): Map<string, number> {
  const now = new Map<string, number>();
  if (snapshot.waits === null) return now;
  const aboutBlockers = rules.filter((rule) => rule.rule.match.blocks !== undefined);
  if (aboutBlockers.length === 0) return now;
  const prepared = new Map<NodeKey, Session>(snapshot.prepared.map((one) => [one.key, standIn(one)]));
  const blockers = new Set<NodeKey>();
  for (const wait of snapshot.waits) for (const { node } of wait.blockers) blockers.add(node);
  for (const node of blockers) {
    const session = prepared.get(node) ?? sessions.get(node);
    const key = session === undefined ? null : subjectKey(session);
    if (session === undefined || key === null) continue;
    const subject = { session, snapshot, graph, sessions, history: before };
    const root = graph.isRoot(node);
    for (const rule of aboutBlockers) {
      // A rule about roots counts from when the session became one.
      if (rule.ownWait === null && !root) continue;
      const ms = blockedMs(rule.rule.name, subject, rule.counted(subject));
      if (ms !== null) now.set(incidentKey(rule.rule.name, key), snapshot.atMs - ms);
    }
  }
  return now;
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

/** An incident lasts as long as its transaction; it opens when a rule matches it for the first time. */
function incidentsNow(before: History, snapshot: Snapshot, evaluation: Evaluation): Map<string, Incident> {
  const present = new Set([...evaluation.keys, ...snapshot.prepared.map((one) => subjectKey(standIn(one)))]);
  for (const { key } of evaluation.untouchables) present.add(key);
  const now = new Map<string, Incident>();
  for (const [key, incident] of before.incidents) {
    if (present.has(incident.subject)) now.set(key, incident.matched ? { ...incident, matched: false } : incident);
  }
  const halted = new Set(evaluation.findings.filter((one) => one.halted).map(keyOf));
  for (const [key, incident] of now) if (halted.has(key)) now.set(key, { ...incident, halted: true });
  const met = evaluation.findings.filter(({ inMs, excepted }) => inMs === 0 && excepted === null);
  const open = met.filter((one) => !one.halted);
  for (const { rule, key: subject } of [...open, ...evaluation.untouchables]) {
    const key = incidentKey(rule.rule.name, subject);
    const known = before.incidents.get(key);
    const stepSinceMs = known?.matched === true ? known.stepSinceMs : snapshot.atMs;
    const kept = now.get(key);
    const fresh = {
      key,
      rule: rule.rule.name,
      subject,
      openedMs: snapshot.atMs,
      step: 0,
      cancelled: false,
      done: false,
      told: null,
    };
    const incident = kept?.halted === true ? anew(kept) : (kept ?? fresh);
    now.set(key, { ...incident, stepSinceMs, matched: true });
  }
  return now;
}

function keyOf({ rule, key }: Evaluation["findings"][number]): string {
  return incidentKey(rule.rule.name, key);
}

/** The rule's hours have come again: from its first step on; who was told of what stays known. */
function anew(incident: Incident): Incident {
  return { ...incident, step: 0, cancelled: false, failures: 0, halted: false };
}

/** Whoever queues behind a successor becomes one. */
function grow(cooldown: Cooldown, snapshot: Snapshot): Cooldown {
  if (snapshot.waits === null || cooldown.lineage.size === 0) return cooldown;
  const people = new Map<NodeKey, string>(snapshot.sessions.map((session) => [session.key, sessionIdentity(session)]));
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

/** What an outcome adds to the memory. `atMs` by the server's clock. */
export function afterOutcome(
  history: History,
  decision: Decision,
  outcome: Outcome,
  rule: CompiledRule["rule"],
  atMs: number,
): History {
  const { victim } = decision.evidence;
  const incident = history.incidents.get(decision.incident);
  if (incident === undefined) return history;
  const incidents = new Map(history.incidents);
  const next = stepAfter(incident, decision, outcome, rule, atMs);
  if (next === null) incidents.delete(incident.key);
  else incidents.set(incident.key, next);
  if (decision.action === "notify" || !wentOut(outcome)) return { ...history, incidents };
  const act: Act = { atMs, rule: decision.rule, who: offender(victim), incident: incident.key };
  const cooldown: Cooldown = {
    rule: decision.rule,
    atMs,
    untilMs: atMs + rule.cooldown,
    lineage: new Set(decision.evidence.waiters.map(sessionIdentity)),
    locks: new Set(decision.evidence.waits.map((wait) => wait.lock)),
  };
  return { ...history, incidents, acts: [...history.acts, act], cooldowns: [...history.cooldowns, cooldown] };
}

/** What a rule's probe adds to the memory: `sparedMs`, when it spared somebody; null: it found the way stuck. */
export function afterProbe(history: History, rule: string, sparedMs: number | null): History {
  const probes = new Map(history.probes);
  if (sparedMs === null) probes.delete(rule);
  else probes.set(rule, sparedMs);
  return { ...history, probes };
}

/** A signal was sent, or may have been. */
function wentOut(outcome: Outcome): boolean {
  return outcome.kind === "released" || outcome.kind === "survived" || outcome.kind === "unknown";
}

/** A full server lets nobody in, a statement took too long: past these it is for a person. */
const mostFailures = 3;

function stepAfter(
  incident: Incident,
  decision: Decision,
  outcome: Outcome,
  rule: CompiledRule["rule"],
  atMs: number,
): Incident | null {
  const step = decision.step + 1;
  const onward = { ...incident, step, stepSinceMs: atMs, done: step >= rule.steps.length };
  if (decision.action === "notify") return onward;
  switch (outcome.kind) {
    case "released":
    case "gone":
      return null;
    case "changed":
      return incident; // it is judged anew
    case "denied":
      // What the role may not do now, it may not do with the next step either.
      return { ...onward, step: rule.steps.length, done: true };
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

/** Acts that no limit looks at any more are forgotten. */
export function forgetOldActs(history: History, limits: Config["limits"], atMs: number): History {
  const longest = Math.max(60_000, limits.repeat.within);
  return { ...history, acts: history.acts.filter((act) => atMs - act.atMs < longest) };
}
