import {
  type Asked,
  handDecision,
  isCancelable,
  type Picture,
  type Sighting,
  sight,
  stepsOf,
} from "../core/by-hand.ts";
import type { Outcome, OutcomeKind, Signal } from "../core/decision.ts";
import type { Cooldown } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { subjectText } from "../core/news.ts";
import { cooldownByHand, wentOut } from "../core/remember.ts";
import type { Session } from "../core/session.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Link } from "../engines/engine.ts";
import { execute, NotJournalled, openGate } from "../executor.ts";
import { maskDecision, queryText } from "../query-text.ts";
import { failureText } from "./once-report.ts";
import type { Settings } from "./settings.ts";

/** What is shown before somebody is asked. */
export type Found =
  | Readonly<{ kind: "gone" | "changed" | "unseen" | "unclear" | "unreachable"; text: string }>
  | Readonly<{ kind: "refused" | "idle"; text: string; picture: Picture }>
  | Readonly<{ kind: "found"; picture: Picture }>;

export type HandStep = Readonly<{ action: Signal; outcome: Outcome }>;

/** `refused`: it is protected. `unreachable`: the target could not be looked at. */
export type HandOutcome = OutcomeKind | "refused" | "unreachable";

/** What came of it: of all its steps the last word. */
export type HandResult = Readonly<{ outcome: HandOutcome; text: string; steps: readonly HandStep[] }>;

export type HandContext = Readonly<{
  settings: Pick<Settings, "target" | "digest" | "protection" | "protect" | "verifyMs" | "queryText" | "cannot">;
  link: Pick<Link, "read" | "act" | "prove" | "probe">;
  write(event: JournalEvent): Promise<void>;
  newId(): string;
  now(): Date;
  /** One line per step, for the log. */
  report(level: "info" | "warn", facts: object, text: string): void;
  /** For a daemon, whose rules then leave the successors alone; a later one learns of it from the journal. */
  heed?(cooldown: Cooldown): void;
  /** The daemon, or the command, stops: what has begun is seen to its end. */
  signal: AbortSignal;
  /** Whoever asked has gone: no further step begins. */
  left: AbortSignal;
}>;

const everybody = { sessions: "all", locks: true } as const;

type Looking = Pick<HandContext, "settings" | "link" | "signal">;

/** A look of its own, for people to see whom they mean; never rejects. */
export async function findByHand(asked: Asked, looking: Looking): Promise<Found> {
  try {
    const { sighting } = await lookFor(asked, looking);
    if (sighting.kind !== "found") return sighting;
    return { kind: "found", picture: sighting.picture };
  } catch (error) {
    return { kind: "unreachable", text: failureText(error) };
  }
}

type Look = Readonly<{ snapshot: Snapshot; sighting: Sighting }>;

async function lookFor(asked: Asked, { settings, link, signal }: Looking): Promise<Look> {
  const show = await queryText(settings.queryText);
  const snapshot = await link.read(everybody, signal);
  return { snapshot, sighting: sight(snapshot, asked, { protection: settings.protection, show }) };
}

/**
 * Cancels or ends one session for a person, through the executor, the guarded statement and the journal. No mode, pause,
 * limit or lease holds a person back; protection does, unless it was lifted by name. Each step takes a look of its own.
 */
export async function actByHand(asked: Asked & Readonly<{ by: string }>, context: HandContext): Promise<HandResult> {
  const steps: HandStep[] = [];
  let skippedCancel: string | null = null;
  for (const [step, action] of stepsOf(asked.way).entries()) {
    if (steps.length > 0 && (context.left.aborted || context.signal.aborted)) break;
    try {
      const { snapshot, sighting } = await lookFor(asked, context);
      if (sighting.kind !== "found") return notFound(sighting, steps);
      const cannot = context.settings.cannot.includes(action);
      if (cannot && asked.way === action)
        return { outcome: "failed", text: `this server has no way to ${action}; nothing was sent`, steps };
      if (cannot || (action === "cancel" && !isCancelable(sighting.session))) {
        skippedCancel = cannot ? "this server has none" : "no statement runs";
        continue;
      }
      const outcome = await take({ action, step, skippedCancel, asked }, { snapshot, ...sighting }, context);
      steps.push({ action, outcome });
      if (!goesOn(outcome)) break;
    } catch (error) {
      return unreached(error, steps);
    }
  }
  const last = steps.at(-1)?.outcome;
  return { outcome: last?.kind ?? "failed", text: last?.text ?? "nothing was sent", steps };
}

type Rung = Readonly<{
  action: Signal;
  step: number;
  skippedCancel: string | null;
  asked: Readonly<{ by: string; lift: boolean }>;
}>;

async function take(
  { action, step, skippedCancel, asked: { by, lift } }: Rung,
  { snapshot, session }: Readonly<{ snapshot: Snapshot; session: Session }>,
  { settings, link, write, newId, now, report, heed, signal }: HandContext,
): Promise<Outcome> {
  const { digest, protect, verifyMs, target } = settings;
  const protectMaintenance = protect.maintenance && !lift;
  const raw = handDecision(snapshot, session, { action, step, skippedCancel, config: digest, by, protectMaintenance });
  const decision = maskDecision(raw, await queryText(settings.queryText));
  const alive = (): void => undefined;
  const context = {
    target: target.name,
    by,
    link,
    write,
    newId,
    now,
    verifyMs,
    probe: null,
    gate: openGate,
    alive,
    signal,
  };
  const carried = await execute(decision, context);
  if ("spared" in carried) throw new Error("an act by hand has no probe, and was spared by one");
  const { outcome } = carried;
  if (wentOut(outcome.kind)) heed?.(cooldownByHand(decision, outcome, snapshot.atMs));
  const facts = { by, action, pid: session.pid, sessionId: session.sessionId, user: session.user };
  const level = outcome.kind === "released" ? "info" : "warn";
  const text = `by hand, for ${by}: ${action} of ${subjectText(decision)}: ${outcome.kind}: ${outcome.text}`;
  report(level, { ...facts, outcome: outcome.kind, tookMs: outcome.tookMs }, text);
  return outcome;
}

/** The next step of the ladder may still help, or is what was wanted anyway. */
function goesOn({ kind }: Outcome): boolean {
  return kind === "released" || kind === "survived" || kind === "changed";
}

function notFound(sighting: Exclude<Sighting, { kind: "found" }>, steps: readonly HandStep[]): HandResult {
  const { kind, text } = sighting;
  switch (kind) {
    case "gone":
      if (steps.length === 0) return { outcome: "gone", text: `${text}; nothing was sent`, steps };
      return { outcome: "released", text: "the session ended after the cancel; nothing more was sent", steps };
    case "changed":
      return { outcome: "changed", text: `${text}; nothing was sent`, steps };
    case "unseen":
      return { outcome: "denied", text: `${text}; nothing was sent`, steps };
    case "unclear":
    case "idle":
      return { outcome: "failed", text: `${text}; nothing was sent`, steps };
    case "refused": {
      const nothing = steps.length === 0 ? "nothing was sent" : "nothing more was sent";
      return { outcome: "refused", text: `${text}; ${nothing}`, steps };
    }
    default:
      return unreachable(kind);
  }
}

function unreached(error: unknown, steps: readonly HandStep[]): HandResult {
  const nothing = steps.length === 0 ? "nothing was sent" : "nothing more was sent";
  if (error instanceof NotJournalled) {
    const why = error.cause instanceof Error ? `: ${error.cause.message}` : "";
    return { outcome: "failed", text: `${error.message}${why}`, steps };
  }
  return { outcome: "unreachable", text: `${failureText(error)}; ${nothing}`, steps };
}
