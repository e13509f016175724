import { setTimeout as pause } from "node:timers/promises";
import { byHandRule, handEnd, handText, isByHand } from "./core/by-hand-outcome.ts";
import type { ActDecision, Decision, Outcome, Probe, Proof, Sent, Signal } from "./core/decision.ts";
import type { JournalEvent } from "./core/journal-event.ts";
import { probedOutcome, spareByProbe } from "./core/probe-text.ts";
import { spokenDuration } from "./core/spoken-duration.ts";
import { unreachable } from "./core/unreachable.ts";
import { type Link, LinkLost } from "./engines/engine.ts";

/** The kill switch, asked right before a signal goes out: who judged may have taken seconds since. */
export type Gate = Readonly<{
  paused(): boolean;
  /** Sends, unless it is paused: then null, and nothing was done. */
  send<T>(act: () => Promise<T>): Promise<T> | null;
}>;

/** A person decides, whether it is paused or not. */
export const openGate: Gate = { paused: () => false, send: (act) => act() };

export type ExecutorContext = Readonly<{
  target: string;
  /** Who asked for it by hand; left out: a rule did. */
  by?: string;
  link: Pick<Link, "act" | "prove" | "probe">;
  /** Resolves when the event is on disk. */
  write(event: JournalEvent): Promise<void>;
  newId(): string;
  /** The host's clock, for the journal's own stamps only. */
  now(): Date;
  /** How long to wait for the proof that the lock is free. */
  verifyMs: number;
  /** Of the rule; null: it has none. */
  probe: Probe | null;
  gate: Gate;
  /** Shows the watchdog that verification goes on. */
  alive(): void;
  signal: AbortSignal;
}>;

/** The intent could not be written: nothing was sent. */
export class NotJournalled extends Error {
  override readonly name = "NotJournalled";
}

/** An act whose signal is out, and whose outcome is not known yet. Its looks take their turn with whatever else is on the link. */
export type OpenAct = Readonly<{
  /** The ms until it is to be looked at again. */
  dueMs(): number;
  /** Looks whether the lock is free: its outcome, on record; null: it is not known yet. The last look when the daemon stops. */
  look(): Promise<Outcome | null>;
  /** A last look, before the connection is closed. */
  end(): Promise<Outcome>;
}>;

/** When the daemon stops in the middle, this long is left to see what became of it. */
const lastLookMs = 500;

/** The act carried out, or the decision that took its place: the rule's probe does not confirm it, or it is paused. */
export type Carried = Readonly<{ outcome: Outcome }> | Readonly<{ spared: Decision }>;

type Signalled = ActDecision & { action: Signal };

/**
 * Carries out one decision: probe, intent on disk, one guarded statement, proof, probe, outcome on disk.
 * Throws NotJournalled, with nothing sent, when the intent cannot be written; a lost connection is an outcome.
 */
export async function execute(decision: Signalled, context: ExecutorContext): Promise<Carried> {
  const begun = await begin(decision, { ...context, patienceMs: 0 });
  if (!("open" in begun)) return begun;
  const { open } = begun;
  for (;;) {
    await pause(open.dueMs(), undefined, { signal: context.signal }).catch(() => undefined);
    const outcome = await open.look();
    if (outcome !== null) return { outcome };
  }
}

/** The same, which waits for the outcome only so long: the rest is for whoever called it. */
export async function begin(
  decision: Signalled,
  context: ExecutorContext & Readonly<{ patienceMs: number }>,
): Promise<Carried | Readonly<{ open: OpenAct }>> {
  const { action, evidence, guard } = decision;
  const { probe, link, gate, signal } = context;
  signal.throwIfAborted();
  if (isByHand(decision) !== (decision.rule === byHandRule && context.by !== undefined))
    throw new Error("an act that is guarded by the session alone comes from a person, and every other from a rule");
  if (gate.paused()) return { spared: spareByPause(decision) };
  // What it takes is no danger: the guarded statement judges the victim anew.
  const spared = probe === null ? null : spareByProbe(decision, await link.probe(probe, signal));
  context.alive();
  if (spared !== null) return { spared };
  if (gate.paused()) return { spared: spareByPause(decision) };
  const id = context.newId();
  const by = context.by === undefined ? {} : { by: context.by };
  const stamp = () => ({ v: 1, id, at: context.now().toISOString(), target: context.target, ...by }) as const;
  try {
    await context.write({ ...stamp(), event: "intent", decision });
  } catch (cause) {
    throw new NotJournalled("the intent cannot be journalled, so nothing was sent", { cause });
  }
  const begun = performance.now();
  const late = lateAbort(signal, lastLookMs);
  const sending = gate.send(() => send(() => link.act({ action, evidence, guard }, late.signal)));
  if (sending === null) {
    late.forget();
    await context.write({ ...stamp(), event: "outcome", outcome: pausedOutcome }).catch(() => undefined);
    return { spared: spareByPause(decision) };
  }
  const sent = await sending;
  const close = async (proof: Proof | null): Promise<Outcome> => {
    late.forget();
    const outcome = await probeAgain(
      withWarning(outcomeOf(decision, sent, proof, performance.now() - begun), sent),
      context,
    );
    // The signal is out: an outcome that cannot be written is still one, and the journal itself says that it is broken.
    await context.write({ ...stamp(), event: "outcome", outcome }).catch(() => undefined);
    return outcome;
  };
  if (sent.kind !== "sent" && sent.kind !== "uncertain") return { outcome: await close(null) };
  const open = openAct(decision, context, { late: late.signal, close });
  const until = performance.now() + context.patienceMs;
  for (;;) {
    const outcome = await open.look();
    if (outcome !== null) return { outcome };
    const dueMs = open.dueMs();
    if (performance.now() + dueMs > until) return { open };
    await pause(dueMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Judged before the switch was pressed, and not yet sent. */
function spareByPause({ guard: _guard, ...judged }: ActDecision): Decision {
  const text = `${judged.reason.text}; paused by hand before the signal went out`;
  return { ...judged, kind: "spare", by: "paused", reason: { ...judged.reason, code: "paused", text } };
}

/** The switch was pressed while the intent was being written: it is closed, as nothing was sent. */
const pausedOutcome: Outcome = {
  kind: "changed",
  tookMs: 0,
  freed: [],
  next: null,
  text: "Lockwarden was paused before the signal went out; nothing was sent",
};

/** After an act that had an effect; a probe that cannot be run any more takes nothing from the outcome. */
async function probeAgain(outcome: Outcome, { probe, link, alive, signal }: ExecutorContext): Promise<Outcome> {
  if (probe === null || (outcome.kind !== "released" && outcome.kind !== "survived")) return outcome;
  try {
    return probedOutcome(outcome, await link.probe(probe, signal));
  } catch {
    return outcome;
  } finally {
    alive();
  }
}

/** Aborts so long after the other signal, until it is forgotten. */
function lateAbort(signal: AbortSignal, afterMs: number): Readonly<{ signal: AbortSignal; forget(): void }> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const abort = () => {
    timer = setTimeout(() => late.abort(signal.reason), afterMs);
  };
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort);
  return {
    signal: late.signal,
    forget: () => {
      signal.removeEventListener("abort", abort);
      clearTimeout(timer);
    },
  };
}

async function send(act: () => Promise<Sent>): Promise<Sent> {
  try {
    return await act();
  } catch (error) {
    // It was gone before: counted as a signal it would open the breaker.
    if (error instanceof LinkLost) return { kind: "failed", error: `${error.message}; nothing was sent` };
    // Gone in the middle: the signal may be on its way.
    return { kind: "uncertain", error: error instanceof Error ? error.message : String(error) };
  }
}

const longestPauseMs = 250;

type Closing = Readonly<{
  /** Aborts a last look that takes too long. */
  late: AbortSignal;
  /** Puts the outcome on record; null: nothing could be seen. */
  close(proof: Proof | null): Promise<Outcome>;
}>;

/** Looks again, at growing distances, until the lock is free or the time for it is over. */
function openAct(decision: ActDecision, context: ExecutorContext, { late, close }: Closing): OpenAct {
  const { link, alive, signal, verifyMs } = context;
  const until = performance.now() + verifyMs;
  let dueAt = 0;
  let pauseMs = 2;
  let last: Proof | null = null;
  const later = (): null => {
    // The last look is at the end of the time, not before.
    dueAt = Math.min(performance.now() + pauseMs, until);
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    return null;
  };
  const look = async (isLast: boolean): Promise<Outcome | null> => {
    const stopping = signal.aborted;
    const ends = isLast || stopping || performance.now() >= until;
    try {
      last = await link.prove(decision.evidence, late);
    } catch (error) {
      if (stopping || signal.aborted) return close(last);
      alive();
      // What was seen before the loss may not be true any more.
      return ends || error instanceof LinkLost ? close(null) : later();
    }
    alive();
    return ends || isReleased(decision, last) ? close(last) : later();
  };
  return {
    dueMs: () => Math.max(0, dueAt - performance.now()),
    look: () => look(false),
    end: async () => (await look(true)) ?? close(null),
  };
}

function isReleased(decision: ActDecision, proof: Proof): boolean {
  if (isByHand(decision)) return handEnd(decision.action, proof) === "released";
  return !proof.sameTransaction && proof.stillBlocked.length === 0;
}

/** Whoever reads what became of it is to know that the victim was only checked before. */
function withWarning(outcome: Outcome, sent: Sent): Outcome {
  if (sent.kind !== "sent" || sent.unguarded === undefined) return outcome;
  const { unguarded } = sent;
  return { ...outcome, unguarded, text: `${outcome.text}; could not be guarded in one statement: ${unguarded}` };
}

function outcomeOf(decision: ActDecision, sent: Sent, proof: Proof | null, tookMs: number): Outcome {
  const { action, evidence } = decision;
  const none = { tookMs: Math.round(tookMs), freed: [], next: null };
  switch (sent.kind) {
    case "gone":
      if (isByHand(decision)) return { ...none, kind: "gone", text: handText.gone };
      return { ...none, kind: "gone", text: "its transaction had ended before; nothing was sent" };
    case "changed":
      if (isByHand(decision)) return { ...none, kind: "changed", text: handText.changed(action) };
      return { ...none, kind: "changed", text: "it is no longer what was judged; nothing was sent" };
    case "denied":
      return {
        ...none,
        kind: "denied",
        text: `${sent.unsent === true ? "nothing was sent" : "the server refused"}: ${sent.error}`,
      };
    case "failed":
      return { ...none, kind: "failed", text: `the server could not: ${sent.error}` };
    case "sent":
    case "uncertain": {
      if (proof === null) {
        const why = sent.kind === "uncertain" ? `: ${sent.error}` : "";
        return {
          ...none,
          kind: "unknown",
          text: `nothing could be seen afterwards, so nobody knows whether it worked${why}`,
        };
      }
      if (isReleased(decision, proof)) {
        const freed = evidence.waiters.map((waiter) => waiter.key);
        const told = releasedText(freed.length, tookMs, proof.next);
        const text = isByHand(decision) ? `${handText.released(action, proof)}; ${told}` : told;
        return { ...none, freed, next: proof.next, kind: "released", text };
      }
      // It still holds its locks; who stands behind its waiters, not asked about, still stands there.
      return {
        ...none,
        next: proof.next,
        kind: "survived",
        text: isByHand(decision)
          ? handText.survived(action, proof, tookMs)
          : `it still holds its locks ${spokenDuration(tookMs)} after the ${action}`,
      };
    }
    default:
      return unreachable(sent);
  }
}

function releasedText(freed: number, tookMs: number, next: string | null): string {
  const whom = freed === 0 ? "its locks are free" : `${freed === 1 ? "1 session" : `${freed} sessions`} freed`;
  return `${whom} after ${spokenDuration(tookMs)}${next === null ? "" : `; now blocked by ${next}`}`;
}
