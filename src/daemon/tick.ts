import type { ActDecision, Decision, Outcome, Probe, Signal } from "../core/decision.ts";
import type { History, Incident } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { judge, type Look } from "../core/judge.ts";
import { nextText } from "../core/ladder.ts";
import { type News, newsOfDecision, newsOfOutcome, subjectText, toldBy } from "../core/news.ts";
import { nextChangeMs, nextHoursMs } from "../core/next-change.ts";
import type { Circumstances } from "../core/plan.ts";
import { aftermathOf, afterProbe, enter, withSent } from "../core/remember.ts";
import { type CompiledRule, evaluate } from "../core/rules.ts";
import { type Snapshot, serverClockMs } from "../core/snapshot.ts";
import { unruledRoots } from "../core/unruled.ts";
import { afterSending, afterVerifying } from "../core/verifying.ts";
import type { Link } from "../engines/engine.ts";
import { begin, type Carried, type Gate, NotJournalled, type OpenAct } from "../executor.ts";
import type { Notice } from "../notify/channel.ts";
import { maskDecision, type QueryText, queryText } from "../query-text.ts";
import { tellBreaker, tellCrowds } from "./limit-notices.ts";
import { lookSentence } from "./look-sentence.ts";
import type { OpenActs } from "./open-acts.ts";
import type { TickedLook } from "./recorder.ts";
import type { Settings } from "./settings.ts";
import { type Bundles, type Together, tellEnded, together } from "./together.ts";

/** What one target's watcher keeps from look to look. */
export type Memory = {
  history: History;
  /** Acts of earlier looks whose outcome is not known yet. */
  readonly open: OpenActs;
  bundles?: Bundles;
};

export type TickContext = Readonly<{
  settings: Settings;
  link: Link;
  memory: Memory;
  leader: boolean;
  paused: boolean;
  /** The same, at the moment when a signal goes out. */
  gate: Gate;
  journal: Readonly<{ works(): boolean; write(event: JournalEvent): Promise<void> }>;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  /** One line per action, for the log. */
  report(level: "info" | "warn" | "error", facts: object, text: string): void;
  /** Takes what this look saw and decided; the flight recorder is the daemon's alone. */
  record?(ticked: TickedLook): void;
  newId(): string;
  now(): Date;
  alive(): void;
  signal: AbortSignal;
}>;

type Journalled = Readonly<{ journal: Pick<TickContext["journal"], "works"> }>;

/** Only what is written down or told has its query text masked: whoever shows the evidence of another one masks it. */
export type Judgement = Readonly<{
  decision: Decision;
  outcome: Outcome | null;
  /** Of an act that is out: its outcome, when it is known. */
  coming?: Promise<Outcome>;
}>;

export type TickResult = Readonly<{
  judgements: readonly Judgement[];
  /** What was decided, without figures that change by themselves. */
  sentence: string;
  /** When a decision can change by time alone, in ms after `lookedAt`; Infinity when none can. */
  nextMs: number;
  /** performance.now() when the decisive snapshot arrived. */
  lookedAt: number;
  snapshot: Snapshot;
}>;

/** While one look is carried out. */
type Looking = TickContext &
  Readonly<{
    /** The memory's own, changed in place: with a copy for each of many decisions a storm would take minutes. */
    incidents: Map<string, Incident>;
    together: Together;
    /** The server's clock now, in ms. */
    clock(): number;
  }>;

/** Most outcomes are there by then; who takes longer keeps nobody else waiting. */
const patienceMs = 500;
/** With somebody who takes longer, the next ones may, too. */
const shortPatienceMs = 100;

/** Past it, what a look has seen is too old to act on: the rest is judged anew. */
const staleMs = 2_000;

/** One pass over one target: look, judge, act, prove, write, tell. */
export async function tick(given: TickContext): Promise<TickResult> {
  const { settings, memory } = given;
  const seen = await freshLook(given);
  const { snapshot } = seen;
  const lookedAt = performance.now();
  const before = memory.history;
  const circumstances = circumstancesOf(given, snapshot);
  const { decisions, history } = judge(seen, before, { rules: settings.rules, circumstances });
  const incidents = new Map(history.incidents);
  memory.history = { ...history, incidents };
  const clock = (): number => snapshot.atMs + performance.now() - lookedAt;
  const context: Looking = { ...given, incidents, together: together(given), clock };
  tellEnded(before, context);
  const show = decisions.some(leavesTrace) ? await queryText(settings.queryText) : () => null;
  const judgements: Judgement[] = [];
  let again = false;
  try {
    for (const decision of decisions) {
      const stale = performance.now() - lookedAt > staleMs;
      const judgement = stale && decision.kind === "act" ? null : await carryOut(decision, show, context);
      again ||= judgement === null ? !isProbed(decision, memory) : mayGoOn(judgement, memory);
      judgements.push(judgement ?? { decision, outcome: null });
    }
  } finally {
    context.together.tell();
    // A connection that is lost over an act makes this look no less telling.
    const left = decisions.slice(judgements.length).map((decision) => ({ decision, outcome: null }));
    context.record?.({ snapshot, circumstances, judgements: [...judgements, ...left], freedom: before.freedom });
  }
  await tellBreaker(context, context.clock());
  await tellCrowds(decisions, context, show);
  const changeMs = nextChangeMs(decisions, memory.history, circumstances);
  const nextMs = again ? 0 : Math.min(changeMs, nextHoursMs(settings.rules, serverClockMs(snapshot)));
  const unruled = unruledRoots(seen);
  return { judgements, sentence: lookSentence(snapshot, judgements, unruled), nextMs, lookedAt, snapshot };
}

/**
 * A look that took so long was slow, or this process stood still in the middle of it: then somebody may be gone whom it saw.
 * Once more, and not for ever: a server that stays slow must not keep us from acting.
 */
async function freshLook(context: TickContext): Promise<Look> {
  const askedAt = performance.now();
  const seen = await look(context);
  const isStale = performance.now() - askedAt > staleMs;
  context.alive();
  return isStale && seen.evaluation.findings.length > 0 ? await look(context) : seen;
}

/** The cheap look, and the one with locks when somebody waits or a decision would rest on it. */
async function look({ settings, link, memory, signal }: TickContext): Promise<Look> {
  const { rules, sessions, prepared, written } = settings;
  const calm = await link.read({ sessions, prepared, written, locks: false }, signal);
  const first = evaluate(calm, rules, memory.history);
  if (!first.needsLocks) return { snapshot: calm, evaluation: first };
  const snapshot = await link.read({ sessions, prepared, locks: true }, signal);
  return { snapshot, evaluation: evaluate(snapshot, rules, memory.history) };
}

/** What decides besides the look: `explain` judges by it too. */
export function circumstancesOf(
  { settings, paused, leader, journal }: Pick<TickContext, "settings" | "paused" | "leader"> & Journalled,
  snapshot: Pick<Snapshot, "atMs">,
): Circumstances {
  return {
    config: settings.digest,
    mode: settings.mode,
    barred: settings.barred,
    paused,
    leader,
    journalled: journal.works(),
    protection: settings.protection,
    protectMaintenance: settings.protect.maintenance,
    limits: settings.limits,
    cannot: settings.cannot,
    atMs: snapshot.atMs,
  };
}

function leavesTrace(decision: Decision): boolean {
  return decision.kind !== "wait";
}

/** After an action the ladder may have a next step at once. */
function mayGoOn({ decision, outcome }: Judgement, { history }: Memory): boolean {
  if (decision.kind !== "act") return false;
  if (decision.action === "notify" || outcome?.kind === "survived") return true;
  // The same step is tried again when a look is due anyway.
  return outcome?.kind === "failed" && history.incidents.get(decision.incident)?.step !== decision.step;
}

async function carryOut(raw: Decision, show: QueryText, context: Looking): Promise<Judgement> {
  if (raw.kind === "wait") return { decision: raw, outcome: null };
  if (raw.kind === "act" && isSignalled(raw)) return actOn(maskDecision(raw, show), context);
  const decision = newsFor(raw, context) === null ? raw : maskDecision(raw, show);
  return await tell(decision, context);
}

/** Without an incident it has not matched yet: a protected one is told when it would have been a victim. */
function newsFor(decision: Decision, { incidents, leader }: Looking): News | null {
  const incident = incidents.get(decision.incident);
  if (incident === undefined || decision.kind === "wait") return null;
  // Whoever led before may have died before it told: rather twice than never.
  const isKnown = incident.told === toldBy(decision) && !(leader && incident.unheard === true);
  return isKnown ? null : newsOfDecision(decision);
}

/** What sends nothing to the server: written down and told where it is news. */
async function tell(decision: Decision, context: Looking): Promise<Judgement> {
  const news = newsFor(decision, context);
  if (news !== null) {
    await observe(decision, context);
    publish(news, decision, null, context);
  }
  if (decision.kind === "act")
    settle(decision, { kind: "released", tookMs: 0, freed: [], next: null, text: "told" }, context);
  return { decision, outcome: null };
}

function isSignalled(decision: ActDecision): decision is ActDecision & { action: Signal } {
  return decision.action !== "notify";
}

async function actOn(decision: ActDecision & { action: Signal }, context: Looking): Promise<Judgement> {
  const { settings, link, gate, journal, newId, now, alive, signal } = context;
  const { verifyMs, target } = settings;
  const before = context.incidents.get(decision.incident);
  const told = before === undefined || before.unheard === true ? null : before.told;
  let carried: Carried | Readonly<{ open: OpenAct }>;
  try {
    carried = await begin(decision, {
      target: target.name,
      link,
      write: journal.write,
      newId,
      now,
      verifyMs,
      patienceMs: context.memory.open.count() > 0 ? shortPatienceMs : patienceMs,
      probe: probeOf(decision, settings),
      gate,
      alive,
      signal,
    });
  } catch (error) {
    if (!(error instanceof NotJournalled)) throw error;
    context.report("error", { incident: decision.incident }, error.message);
    return { decision: { ...decision, kind: "spare", by: "journal" }, outcome: null };
  }
  if (probeOf(decision, settings) !== null)
    context.memory.history = afterProbe(
      context.memory.history,
      decision.rule,
      isByProbe(carried) ? context.clock() : null,
    );
  if ("spared" in carried) return await tell(carried.spared, context);
  if ("open" in carried) return leaveOpen(decision, carried.open, { told, context });
  const { outcome } = carried;
  say(decision, outcome, { told, last: settle(decision, outcome, context), context });
  return { decision, outcome };
}

/** `told`: what people heard of it last. */
type Saying = Readonly<{ told: string | null; context: Looking }>;

/** In the log, and told where it is news. `last`: the rule has no further step. */
function say(
  decision: Decision,
  outcome: Outcome,
  { told, last, context }: Saying & Readonly<{ last: boolean }>,
): void {
  context.report(
    outcome.kind === "released" ? "info" : "warn",
    factsOf(decision, outcome),
    `${decision.action} ${subjectText(decision)}: ${outcome.kind}: ${outcome.text}`,
  );
  const refusals = context.incidents.get(decision.incident)?.refusals ?? 0;
  const news = newsOfOutcome(decision, outcome, { last, told, refusals });
  if (news !== null) publish(news, decision, outcome, context);
}

/** Its outcome comes between later looks; until then it counts as sent, and no rule acts on its victim. */
function leaveOpen(decision: ActDecision & { action: Signal }, act: OpenAct, { told, context }: Saying): Judgement {
  const { memory, settings, clock } = context;
  const rule = ruleOf(decision, settings);
  if (rule === undefined) throw new Error(`an act of rule ${decision.rule}, which is not in force`);
  const sent = afterSending(memory.history, decision, rule, clock());
  const incident = sent.incidents.get(decision.incident);
  if (incident !== undefined) context.incidents.set(incident.key, incident);
  memory.history = { ...sent, incidents: context.incidents };
  const coming = memory.open.add(act, (outcome) => {
    const history = afterVerifying(memory.history, decision, outcome, rule, clock());
    const incidents = new Map(history.incidents);
    memory.history = { ...history, incidents };
    const last = incidents.get(decision.incident)?.done ?? true;
    say(decision, outcome, { told, last, context: { ...context, incidents } });
  });
  return { decision, outcome: null, coming };
}

function isByProbe(carried: object & Partial<Extract<Carried, { spared: Decision }>>): boolean {
  return carried.spared?.kind === "spare" && carried.spared.by === "probe";
}

/** Its rule's probe spares: it takes its time at the next look, and need not be asked again before. */
function isProbed({ rule }: Decision, { history }: Memory): boolean {
  return history.probes.has(rule);
}

function probeOf(decision: Decision, { rules }: Settings): Probe | null {
  return ruleOf(decision, { rules })?.probe ?? null;
}

function ruleOf({ rule: name }: Decision, { rules }: Pick<Settings, "rules">): CompiledRule["rule"] | undefined {
  return rules.find(({ rule }) => rule.name === name)?.rule;
}

/** Brings the memory up to date; true when the rule has no further step for this incident. */
function settle(decision: ActDecision, outcome: Outcome, context: Looking): boolean {
  const { memory, settings, incidents, clock } = context;
  const rule = ruleOf(decision, settings);
  if (rule === undefined) return true;
  const aftermath = aftermathOf(memory.history, decision, outcome, rule, clock());
  if (aftermath === null) return true;
  enter(incidents, aftermath);
  memory.history = withSent(memory.history, aftermath);
  return aftermath.incident?.done ?? true;
}

/** What was decided and not done is on record too. */
async function observe(decision: Decision, { journal, newId, now, settings }: TickContext): Promise<void> {
  if (decision.kind === "act" || !journal.works()) return;
  await journal
    .write({ v: 1, id: newId(), at: now().toISOString(), target: settings.target.name, event: "observed", decision })
    .catch(() => undefined); // the journal itself has said so
}

function publish(news: News, decision: Decision, outcome: Outcome | null, context: Looking): void {
  const { incidents, settings, leader, newId, now } = context;
  // How an act ended is told at once, and of each: limits keep these few.
  const bundle = leader && outcome === null ? context.together.take(news, decision) : null;
  const incident = incidents.get(decision.incident);
  if (incident !== undefined) incidents.set(incident.key, toldNow(incident, news, { leader, bundle }));
  if (!leader || bundle !== null) return; // followers write down and do not tell
  const rule = ruleOf(decision, settings);
  const at = now().toISOString();
  const { phase, text } = news;
  const about = { id: newId(), incident: decision.incident, phase, at, target: settings.target.name };
  const acts = settings.mode === "enforce" && rule?.mode !== "observe";
  const held = acts ? null : ((rule?.mode === "observe" ? null : settings.barred) ?? "mode is observe");
  const isTold = decision.kind === "act" && decision.action === "notify" && rule !== undefined;
  const details = isTold ? [{ title: "NEXT", lines: [nextText(rule, decision.step, held)] }] : [];
  context.tell({ ...about, decision, outcome, text, ...(details.length > 0 && { details }) }, rule?.notify);
}

function toldNow(
  { together: _before, ...incident }: Incident,
  { told }: News,
  { leader, bundle }: Readonly<{ leader: boolean; bundle: string | null }>,
): Incident {
  return { ...incident, told, unheard: !leader, ...(bundle !== null && { together: bundle }) };
}

function factsOf(decision: Decision, outcome: Outcome): object {
  const { victim } = decision.evidence;
  const session =
    victim.kind === "session"
      ? { pid: victim.pid, sessionId: victim.sessionId, user: victim.user, database: victim.database }
      : { gid: victim.gid };
  return {
    rule: decision.rule,
    action: decision.action,
    ...session,
    outcome: outcome.kind,
    tookMs: outcome.tookMs,
    freed: outcome.freed.length,
  };
}
