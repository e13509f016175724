import { openBreaker, openText } from "./breaker.ts";
import { byHandRule } from "./by-hand-outcome.ts";
import type { Decision } from "./decision.ts";
import { foldChains } from "./explain-chains.ts";
import { foreseen } from "./explain-hours.ts";
import { decidedOnly, explainRule, type Found } from "./explain-rule.ts";
import type { Basis, Explanation, Person, RuleExplanation, Scope, SessionExplanation } from "./explanation.ts";
import { groupBy } from "./group-by.ts";
import { readHandle } from "./handle.ts";
import { type Cooldown, type History, onServer, subjectKey } from "./history.ts";
import { judge } from "./judge.ts";
import { victimOf } from "./lazy-decision.ts";
import { limitText, overLimit, useLimits } from "./limits.ts";
import type { Circumstances } from "./plan.ts";
import { standIn } from "./prepared.ts";
import { type CompiledRule, type Evaluation, evaluate, type Finding } from "./rules.ts";
import { handleOf, type NodeKey, type Prepared, type Session, type Statement } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import { type NameOf, namesIn, neverText, standingOf } from "./standing.ts";
import { remembering } from "./wait-graph.ts";
import { hasWritten } from "./written.ts";

/** All that an explanation rests on. */
export type Question = Readonly<{
  snapshot: Snapshot;
  rules: readonly CompiledRule[];
  history: History;
  circumstances: Circumstances;
  basis: Basis;
  scope: Scope;
  /** A statement as it may be shown; null when it may not. */
  show(session: Statement): string | null;
}>;

/** So many are explained at once, unless all are asked for. */
const mostSessions = 100;

/** Every rule against every session that is asked about: matched or not, and what decided. Nothing is done or remembered. */
export function explain(question: Question): Explanation {
  const { frame, sessions } = explaining(question);
  return { ...frame, sessions: [...sessions] };
}

/** The same, one session at a time: in a jam of thousands all of them take seconds, and a daemon has other things to do. */
export function explaining(
  question: Question,
): Readonly<{ frame: Omit<Explanation, "sessions">; sessions: Iterable<SessionExplanation> }> {
  const { snapshot, circumstances, basis, scope } = question;
  const desk = deskOf(question);
  const everybody = [...snapshot.prepared, ...snapshot.sessions];
  const asked = scope.session;
  const ranked = everybody
    .filter((one) => (asked === null ? scope.all || rank(one, desk) !== null : isNamed(one, asked)))
    .toSorted(inOrder(desk));
  const whole = scope.all || asked !== null;
  const { listed: told, behind } = whole ? { listed: ranked, behind: [] } : foldChains(ranked, foldingOf(desk));
  const shown = whole ? told : told.slice(0, mostSessions);
  const listed = new Set(ranked);
  const left = asked === null ? everybody.filter((one) => !listed.has(one)) : [];
  return {
    frame: {
      target: snapshot.target,
      at: snapshot.at,
      basis,
      config: circumstances.config,
      hindrances: hindrancesOf(question),
      gaps: snapshot.gaps,
      rest: { behind, busy: told.length - shown.length, ...restOf(left) },
    },
    sessions: eachOf(shown, desk),
  };
}

function* eachOf(shown: readonly (Session | Prepared)[], desk: Desk): Generator<SessionExplanation> {
  for (const one of shown) yield one.kind === "prepared" ? explainPrepared(one, desk) : explainSession(one, desk);
}

/** What one look found, laid out by session and rule. */
type Desk = Question &
  Readonly<{
    evaluation: Evaluation;
    findings: ReadonlyMap<NodeKey, readonly Finding[]>;
    decisions: ReadonlyMap<NodeKey, readonly Decision[]>;
    blockers: ReadonlySet<NodeKey>;
    nameOf: NameOf;
  }>;

function deskOf(question: Question): Desk {
  const { snapshot, rules, history, circumstances } = question;
  const evaluation = evaluate(snapshot, rules, history);
  const { decisions } = judge({ snapshot, evaluation }, history, { rules, circumstances });
  const later = foreseen(question);
  return {
    ...question,
    evaluation,
    findings: groupBy([...evaluation.findings, ...later.findings], ({ subject }) => subject.session.key),
    decisions: groupBy([...decisions, ...later.decisions], (decision) => victimOf(decision).key),
    blockers: new Set((snapshot.waits ?? []).flatMap((wait) => wait.blockers.map(({ node }) => node))),
    nameOf: namesIn(snapshot),
  };
}

function explainSession(session: Session, desk: Desk): SessionExplanation {
  const { snapshot, rules, circumstances, evaluation, nameOf, show } = desk;
  // Every rule and condition asks who is behind it, and in a jam that is thousands.
  const graph = remembering(evaluation.graph);
  const standing = standingOf(session.key, { snapshot, graph, nameOf });
  const subject = { ...evaluation.subjectOf(session), graph };
  const never = neverText(session, nameOf, subjectKey(session) !== null);
  const { mode } = circumstances;
  return {
    who: personOf(session, show),
    standing,
    never,
    protection: never === null ? (circumstances.protection(session)?.reason.text ?? null) : null,
    rules:
      never === null
        ? rules.map((rule) => explainRule(rule, { subject, standing }, { ...foundOf(rule, session.key, desk), mode }))
        : rules.flatMap((rule) => decidedRule(rule, session.key, desk)),
  };
}

function foundOf(rule: CompiledRule, node: NodeKey, { findings, decisions }: Desk): Found {
  return {
    // One that the end of the hours has stopped was not asked whether it matches.
    finding: findings.get(node)?.find((one) => one.rule === rule && !one.halted) ?? null,
    decision: decisions.get(node)?.find((one) => one.rule === rule.rule.name) ?? null,
  };
}

function explainPrepared(prepared: Prepared, desk: Desk): SessionExplanation {
  const { snapshot, rules, circumstances, evaluation, nameOf } = desk;
  const { key, ...who } = prepared;
  const graph = remembering(evaluation.graph);
  const standing = standingOf(key, { snapshot, graph, nameOf });
  const session = standIn(prepared);
  const subject = { ...evaluation.subjectOf(session), graph, prepared };
  const { mode } = circumstances;
  let reachable = false;
  const explained = rules.flatMap((rule) => {
    if (rule.rule.match.prepared === undefined) return decidedRule(rule, key, desk);
    const said = explainRule(rule, { subject, standing }, { ...foundOf(rule, key, desk), mode });
    reachable ||= rule.acts && mayMatch(said);
    return [said];
  });
  return {
    who,
    standing,
    never: reachable ? null : "it is a prepared transaction, and has no session to signal",
    protection: reachable ? (circumstances.protection(session)?.reason.text ?? null) : null,
    rules: explained,
  };
}

/** What stays as it is for as long as the prepared transaction does. */
const lasting = new Set(["prepared.gid", "users", "databases"]);

function mayMatch({ conditions }: RuleExplanation): boolean {
  return !conditions.some(({ name, holds }) => lasting.has(name) && (holds === "no" || holds === "unknown"));
}

function decidedRule(rule: CompiledRule, node: NodeKey, { decisions, circumstances: { mode } }: Desk) {
  const decision = decisions.get(node)?.find((one) => one.rule === rule.rule.name);
  return decision === undefined ? [] : [decidedOnly(rule, { decision, mode })];
}

/** A session for people and programs, its statement as it may be shown. */
export function personOf(session: Session, show: Question["show"]): Person {
  const { kind, pid, sessionId, handle, user, database, application, client } = session;
  const { backendType, state, stateMs } = session;
  const { transaction } = session;
  const open = transaction.kind === "open" ? transaction : null;
  return {
    kind,
    pid,
    sessionId,
    ...(handle !== undefined && { handle }),
    user,
    database,
    application,
    client,
    backendType,
    state,
    stateMs,
    query: show(session),
    transaction: transaction.kind,
    transactionMs: open?.ageMs ?? null,
    hasWritten: open === null ? null : hasWritten(open),
  };
}

/** What is acted on comes first, what only waits last; null: it is of no interest. */
function rank(one: Session | Prepared, { findings, decisions, blockers, evaluation: { graph } }: Desk): number | null {
  const found = findings.get(one.key) ?? [];
  if (found.some(({ inMs }) => inMs === 0)) return 0;
  const waits = graph.waitsOf(one.key).length > 0;
  if (blockers.has(one.key) && !waits) return 1;
  if (found.length > 0 || decisions.has(one.key)) return 2;
  if (blockers.has(one.key)) return 3;
  if (waits) return 4;
  if (one.kind === "prepared") return 5;
  const ordinary = one.role === "client" && !one.own && one.group === null;
  return ordinary && one.transaction.kind === "open" ? 6 : null;
}

const unranked = 7;

/** Those of whom no rule has found anything: whoever is acted on is told in full. */
function foldingOf(desk: Desk): Parameters<typeof foldChains>[1] {
  const { evaluation, nameOf } = desk;
  return { graph: evaluation.graph, nameOf, onlyWaits: (one) => [3, 4].includes(rank(one, desk) ?? unranked) };
}

function inOrder(desk: Desk) {
  const due = ({ key }: Session | Prepared) =>
    Math.min(longestMs, ...(desk.findings.get(key) ?? []).map(({ inMs }) => inMs));
  return (a: Session | Prepared, b: Session | Prepared): number =>
    (rank(a, desk) ?? unranked) - (rank(b, desk) ?? unranked) || due(a) - due(b) || ageOf(b) - ageOf(a);
}

const longestMs = Number.MAX_SAFE_INTEGER;

function ageOf(one: Session | Prepared): number {
  if (one.kind === "prepared") return one.ageMs ?? 0;
  return (one.transaction.kind === "open" ? one.transaction.ageMs : one.connectedMs) ?? 0;
}

function isNamed(one: Session | Prepared, asked: string): boolean {
  if (one.kind === "prepared") return one.gid === asked;
  if (one.pid === asked || handleOf(one) === asked.replaceAll(/\s/g, "")) return true;
  // Named by one id: what is written after it, the vendor reserves.
  const read = one.handle === undefined ? null : readHandle(asked);
  return read !== null && read.kind !== "wrong" && read.pid === one.handle;
}

function restOf(left: readonly (Session | Prepared)[]): Omit<Explanation["rest"], "behind" | "busy"> {
  const sessions = left.filter((one) => one.kind === "session");
  const own = sessions.filter((one) => one.own).length;
  const idle = sessions.filter((one) => !one.own && one.role === "client").length;
  return { idle, own, internal: sessions.length - own - idle };
}

/** What holds back every act on the target, and the successors of the last ones. */
function hindrancesOf({ snapshot, history, circumstances }: Question): Explanation["hindrances"] {
  const { mode, barred = null, paused, leader, journalled, limits, atMs } = circumstances;
  const memory = onServer(history, snapshot.serverId);
  const { acts, cooldowns } = memory;
  const switches: readonly [boolean, string, string][] = [
    [barred !== null, "barred", `nothing is signalled: ${barred}`],
    [mode === "observe" && barred === null, "observe", "mode is observe: nothing is signalled"],
    [paused, "paused", "paused by hand: nothing is signalled"],
    [!leader, "follower", "another Lockwarden acts on this target: this one signals nothing"],
    [!journalled, "journal", "the journal cannot be written: nothing is signalled"],
  ];
  const open = openBreaker(memory, limits.breaker, atMs);
  const anybody = { subject: "", who: "", rule: { name: "", limits: undefined } };
  const over = overLimit(useLimits(acts, limits, atMs), anybody, limits);
  const active = cooldowns.filter(({ untilMs }) => untilMs > atMs);
  return [
    ...switches.filter(([holds]) => holds).map(([, code, text]) => ({ code, text })),
    ...(open === null ? [] : [{ code: "breaker", text: `${openText(open, limits.breaker)}: nothing is signalled` }]),
    ...(over === null || over === "breaker"
      ? []
      : [{ code: over, text: limitText(over, { limits, rule: anybody.rule }) }]),
    ...coolingTexts(active, atMs).map((text) => ({ code: "cooldown", text })),
  ];
}

/** One line for each rule, however often it has acted. */
function coolingTexts(active: readonly Cooldown[], atMs: number): readonly string[] {
  const rules = [...new Set(active.map(({ rule }) => rule))];
  return rules.map((name) => {
    const ends = active.filter(({ rule }) => rule === name).map(({ untilMs }) => untilMs - atMs);
    const left = spokenDuration(Math.max(...ends));
    const actor = name === byHandRule ? "somebody has acted by hand" : `rule ${name} has acted`;
    return ends.length === 1
      ? `${actor}: who came to block its lock since is left alone for another ${left}`
      : `${actor} ${ends.length} times: who came to block one of its locks since is left alone, the last for another ${left}`;
  });
}
