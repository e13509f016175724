import type { ActDecision, Decision, Outcome, Probe, Signal } from "../core/decision.ts";
import { judge, type Look } from "../core/judge.ts";
import { nextChangeMs, nextHoursMs } from "../core/next-change.ts";
import { aftermathOf, afterProbe, enter, withSent } from "../core/remember.ts";
import { evaluate } from "../core/rules.ts";
import { type Snapshot, serverClockMs } from "../core/snapshot.ts";
import { unruledRoots } from "../core/unruled.ts";
import { afterSending, afterVerifying } from "../core/verifying.ts";
import type { Link } from "../engines/engine.ts";
import { begin, type Carried, type Gate, NotJournalled, type OpenAct } from "../executor.ts";
import { maskDecision, type QueryText, queryText } from "../query-text.ts";
import { circumstancesOf } from "./circumstances.ts";
import { type DecisionTelling, newsFor, tellDecision, tellOutcome } from "./decision-notices.ts";
import { tellBreaker, tellCrowds } from "./limit-notices.ts";
import { lookSentence } from "./look-sentence.ts";
import type { OpenActs } from "./open-acts.ts";
import type { TickedLook } from "./recorder.ts";
import { ruleNamed, type Settings } from "./settings.ts";
import type { Telling } from "./telling.ts";
import { tellEnded, together } from "./together.ts";

/** What one target's watcher keeps from look to look. */
export type Memory = Telling["memory"] & {
  /** Acts of earlier looks whose outcome is not known yet. */
  readonly open: OpenActs;
};

export type TickContext = Telling &
  Readonly<{
    link: Link;
    memory: Memory;
    paused: boolean;
    /** The same, at the moment when a signal goes out. */
    gate: Gate;
    /** Takes what this look saw and decided; the flight recorder is the daemon's alone. */
    record?(ticked: TickedLook): void;
    alive(): void;
    signal: AbortSignal;
  }>;

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
  DecisionTelling &
  Readonly<{
    /** The server's clock now, in ms. */
    clock(): number;
  }>;

type Signalled = ActDecision & { action: Signal };

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

/** What sends nothing to the server: written down and told where it is news. */
async function tell(decision: Decision, context: Looking): Promise<Judgement> {
  await tellDecision(decision, context);
  if (decision.kind === "act")
    settle(decision, { kind: "released", tookMs: 0, freed: [], next: null, text: "told" }, context);
  return { decision, outcome: null };
}

function isSignalled(decision: ActDecision): decision is Signalled {
  return decision.action !== "notify";
}

async function actOn(decision: Signalled, context: Looking): Promise<Judgement> {
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
  if ("open" in carried) return leaveOpen({ decision, act: carried.open, told }, context);
  const { outcome } = carried;
  tellOutcome({ decision, outcome, told, last: settle(decision, outcome, context) }, context);
  return { decision, outcome };
}

/** `told`: what people heard of it last. */
type LeftOpen = Readonly<{ decision: Signalled; act: OpenAct; told: string | null }>;

/** Its outcome comes between later looks; until then it counts as sent, and no rule acts on its victim. */
function leaveOpen({ decision, act, told }: LeftOpen, context: Looking): Judgement {
  const { memory, settings, clock } = context;
  const rule = ruleNamed(decision.rule, settings);
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
    tellOutcome({ decision, outcome, told, last }, { ...context, incidents });
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

function probeOf({ rule }: Decision, settings: Settings): Probe | null {
  return ruleNamed(rule, settings)?.probe ?? null;
}

/** Brings the memory up to date; true when the rule has no further step for this incident. */
function settle(decision: ActDecision, outcome: Outcome, context: Looking): boolean {
  const { memory, settings, incidents, clock } = context;
  const rule = ruleNamed(decision.rule, settings);
  if (rule === undefined) return true;
  const aftermath = aftermathOf(memory.history, decision, outcome, rule, clock());
  if (aftermath === null) return true;
  enter(incidents, aftermath);
  memory.history = withSent(memory.history, aftermath);
  return aftermath.incident?.done ?? true;
}

/** With the outcomes that were not known yet when the look was over. */
export async function withOutcomes(result: TickResult): Promise<TickResult> {
  const known = result.judgements.map(async ({ decision, outcome, coming }): Promise<Judgement> => {
    return { decision, outcome: outcome ?? (await coming) ?? null };
  });
  return { ...result, judgements: await Promise.all(known) };
}
