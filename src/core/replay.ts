import type { Decision } from "./decision.ts";
import { afterReconnect, type History, noHistory, sessionIdentity, subjectKey } from "./history.ts";
import { judge } from "./judge.ts";
import type { Circumstances } from "./plan.ts";
import { standIn } from "./prepared.ts";
import { isAct, type Opinion, opinionOf, type RecordedLook, subjectOf } from "./recorded-look.ts";
import { afterOutcome } from "./remember.ts";
import { type ProbeTrial, throughProbe } from "./replay-probe.ts";
import { type Evaluation, evaluate } from "./rules.ts";
import type { NodeKey } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";

/** One config on trial, made ready for one target. */
export type Trial = ProbeTrial &
  Readonly<{
    /** As if the mode were enforce everywhere. */
    circumstances: Omit<Circumstances, "atMs">;
    /** Why an act of this rule would only be told, as observe has it; null: it would be done. */
    heldBack(rule: string): string | null;
  }>;

/** Where a trial stands between two looks at one target. */
export type Replayed = Readonly<{
  history: History;
  last: Readonly<{ run: string; connection: number; serverId: string; atMs: number }> | null;
  /** Transactions and sessions that the trial's acts would have ended. */
  ended: ReadonlySet<string>;
  /** `rule subject` → the moment at which the last look expected its next step. */
  due: ReadonlyMap<string, number>;
}>;

export const notReplayed: Replayed = { history: noHistory, last: null, ended: new Set(), due: new Map() };

/** One act of the trial. */
export type TrialAct = Readonly<{
  opinion: Opinion;
  /** When the daemon would have looked for it: thresholds are met at their moment, recorded looks come after it. */
  dueMs: number | null;
  /** Its rule has a probe, and no answer is on record. */
  unprobed: boolean;
}>;

export type ReplayStep = Readonly<{
  state: Replayed;
  opinions: readonly Opinion[];
  acts: readonly TrialAct[];
  /** `rule subject` of whom a notify step was about. */
  told: readonly string[];
}>;

/** A ladder of notify steps is climbed within one look, as the daemon looks again at once. */
const mostRounds = 20;

/** All acts of a trial over the recorded looks of one target, in the order of time. */
export function replay(looks: Iterable<RecordedLook>, trial: Trial): readonly TrialAct[] {
  const acts: TrialAct[] = [];
  let state = notReplayed;
  for (const look of looks) {
    const step = replayLook(state, look, trial);
    state = step.state;
    acts.push(...step.acts);
  }
  return acts;
}

/** It is not later than the look before it on the same server: seen already, or out of order. */
export function isStale({ last }: Replayed, { snapshot }: RecordedLook): boolean {
  return last !== null && last.serverId === snapshot.serverId && snapshot.atMs <= last.atMs;
}

/**
 * One recorded look under the trial's rules. Whom the trial acts on is taken as released: that session and those behind it
 * are not judged any more, as nobody knows what they would have done then.
 */
export function replayLook(before: Replayed, look: RecordedLook, trial: Trial): ReplayStep {
  const { snapshot, judgement } = look;
  const last = {
    run: judgement?.run ?? "",
    connection: judgement?.connection ?? 0,
    serverId: snapshot.serverId,
    atMs: snapshot.atMs,
  };
  const { history, ended, opinions, told, unprobed } = climb(
    { ...before, history: continued(before, look) },
    look,
    trial,
  );
  const due = new Map<string, number>();
  for (const { rule, subject, inMs } of opinions) {
    if (inMs !== null) due.set(`${rule} ${subject}`, snapshot.atMs + inMs);
  }
  const acts = opinions.filter(isAct).map((opinion) => {
    const dueMs = before.due.get(`${opinion.rule} ${opinion.subject}`);
    const early = dueMs !== undefined && dueMs < snapshot.atMs ? dueMs : null;
    return { opinion, dueMs: early, unprobed: unprobed.has(`${opinion.rule} ${opinion.subject}`) };
  });
  return { state: { history, last, ended, due }, opinions, acts, told: [...told] };
}

/** The history as the daemon would have carried it to this look. */
function continued({ history, last }: Replayed, { judgement }: RecordedLook): History {
  if (judgement === null) return history;
  const carried =
    last?.run !== judgement.run ? noHistory : onConnection(history, last.connection, judgement.connection);
  return judgement.freedom === null ? carried : { ...carried, freedom: judgement.freedom };
}

function onConnection(history: History, before: number, now: number): History {
  return before === now ? history : afterReconnect(history);
}

type Climbed = Readonly<{
  history: History;
  ended: ReadonlySet<string>;
  opinions: readonly Opinion[];
  told: ReadonlySet<string>;
  unprobed: ReadonlySet<string>;
}>;

function climb(before: Replayed, { snapshot, judgement }: RecordedLook, trial: Trial): Climbed {
  const { rules } = trial;
  const circumstances: Circumstances = { ...trial.circumstances, atMs: snapshot.atMs };
  const opinions = new Map<string, Opinion>();
  const ended = new Set(before.ended);
  const told = new Set<string>();
  const unprobed = new Set<string>();
  let { history } = before;
  for (let round = 0; round < mostRounds; round++) {
    const evaluation = stillThere(evaluate(snapshot, rules, history), snapshot, ended);
    const verdict = judge({ snapshot, evaluation }, history, { rules, circumstances });
    history = verdict.history;
    // Nothing is decided on a look without locks; it is only remembered.
    if (snapshot.waits === null) break;
    let again = false;
    for (const decision of verdict.decisions) {
      const heard = throughProbe(opinionOf(decision, null), judgement, trial);
      opinions.set(decision.incident, heard.opinion);
      if (decision.kind !== "act" || heard.opinion.kind !== "act") continue;
      if (heard.unprobed) unprobed.add(decision.incident);
      history = settled(history, decision, trial, snapshot.atMs);
      again ||= decision.action === "notify";
      if (decision.action === "notify") told.add(decision.incident);
      else for (const key of endedBy(decision)) ended.add(key);
    }
    if (!again) break;
  }
  return { history, ended, opinions: [...opinions.values()], told, unprobed };
}

function settled(history: History, decision: Decision, { rules }: Trial, atMs: number): History {
  const rule = rules.find((one) => one.rule.name === decision.rule)?.rule;
  if (rule === undefined) return history;
  const outcome = { kind: "released", tookMs: 0, freed: [], next: null, text: "as a replay takes it" } as const;
  return afterOutcome(history, decision, outcome, rule, atMs);
}

/** A cancel ends the transaction, a terminate the session with it. */
function endedBy(decision: Decision): readonly string[] {
  const { victim } = decision.evidence;
  const transaction = subjectOf(decision);
  return decision.action === "terminate" && victim.kind === "session"
    ? [transaction, sessionIdentity(victim)]
    : [transaction];
}

/** What was found, without those whom the trial has ended, and without those who wait behind them in the recording. */
function stillThere(evaluation: Evaluation, snapshot: Snapshot, ended: ReadonlySet<string>): Evaluation {
  if (ended.size === 0) return evaluation;
  const gone = new Set<NodeKey>();
  for (const session of [...snapshot.sessions, ...snapshot.prepared.map(standIn)]) {
    if (ended.has(sessionIdentity(session)) || ended.has(subjectKey(session) ?? "")) gone.add(session.key);
  }
  if (gone.size === 0) return evaluation;
  const passedOver = withWaiters(gone, snapshot);
  return { ...evaluation, findings: evaluation.findings.filter(({ subject }) => !passedOver.has(subject.session.key)) };
}

function withWaiters(nodes: ReadonlySet<NodeKey>, { waits }: Snapshot): ReadonlySet<NodeKey> {
  const found = new Set(nodes);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const { waiter, blockers } of waits ?? []) {
      if (blockers.some(({ node }) => found.has(node))) found.add(waiter);
    }
  }
  return found;
}
