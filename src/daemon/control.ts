import { longestDurationMs } from "../config/duration.ts";
import type { Scope } from "../core/explanation.ts";
import type { Press } from "../core/pause.ts";
import type { Found, HandResult } from "./by-hand.ts";
import { explainLook, lookToExplain, scopeOf, type TargetExplanation } from "./explain.ts";
import { answerByHand, answerFind, type HandKit, type HandRequest } from "./hand-requests.ts";
import type { KillSwitch, PauseAnswer, ResumeAnswer } from "./kill-switch.ts";
import { failureReport, failureText, type LookReport, reportOf } from "./once-report.ts";
import { type StatusAnswer, type StatusContext, statusOf } from "./status.ts";
import { unlessAborted } from "./turns.ts";
import type { Watch } from "./watch.ts";

/** What a command asks of the running daemon, through control.sock. */
export type Request =
  | Readonly<{ command: "once" }>
  /** `disk`: compares the config's file with the config in force, which costs reading it. */
  | Readonly<{ command: "status"; disk?: boolean }>
  | (Readonly<{ command: "pause"; forMs: number | null }> & Press)
  | (Readonly<{ command: "resume" }> & Press)
  | Readonly<{ command: "explain"; scope: Scope }>
  | HandRequest;

/** What it answers to each. */
export type Answers = Readonly<{
  once: readonly LookReport[];
  status: StatusAnswer;
  pause: PauseAnswer;
  resume: ResumeAnswer;
  explain: readonly TargetExplanation[];
  find: Found;
  byHand: HandResult;
}>;

export type ControlContext = Omit<StatusContext, "watched"> &
  Readonly<{
    watched(): readonly Readonly<{ name: string; watch: Watch }>[];
    killSwitch: Pick<KillSwitch, "state" | "pause" | "resume">;
    /** For whoever acts by hand. */
    hand: HandKit;
  }>;

/** Answers the requests of other commands; an unknown one is an error that the client shows. */
export function controlHandler(
  context: ControlContext,
): (message: unknown, signal: AbortSignal) => Promise<Answers[keyof Answers]> {
  return async (received, signal) => {
    const message = typeof received === "object" && received !== null ? received : {};
    const command = "command" in message ? message.command : undefined;
    switch (command) {
      case "once":
        return Promise.all(context.watched().map(({ name, watch }) => lookAt(name, watch, signal)));
      case "explain":
        return Promise.all(context.watched().map(({ name, watch }) => explained(name, watch, { message, signal })));
      case "status":
        return statusOf(context, "disk" in message && message.disk === true);
      case "pause":
        return context.killSwitch.pause({ ...pressOf(message), forMs: durationOf(message) });
      case "resume":
        return context.killSwitch.resume(pressOf(message));
      case "find":
        return answerFind({ message, watched: context.watched(), signal });
      case "byHand":
        return answerByHand({ message, watched: context.watched(), signal }, context.hand);
      default:
        throw new Error(`this daemon does not know the command ${JSON.stringify(command)}; is it the same version?`);
    }
  };
}

/** As `once` looks without a daemon. */
async function lookAt(target: string, watch: Watch, signal: AbortSignal): Promise<LookReport> {
  try {
    const { result, lacking } = await unlessAborted(watch.lookNow(), signal);
    return { report: reportOf(target, result.judgements), lacking };
  } catch (error) {
    return { report: failureReport(target, error), lacking: [] };
  }
}

type Asked = Readonly<{ message: object; signal: AbortSignal }>;

/** A look of its own that is neither acted on nor remembered. */
async function explained(target: string, watch: Watch, { message, signal }: Asked): Promise<TargetExplanation> {
  const scope = scopeOf("scope" in message ? message.scope : null);
  try {
    // Only the look takes its turn between two others: explaining it must not keep the next one waiting.
    const look = await unlessAborted(watch.between(lookToExplain), signal);
    return await unlessAborted(explainLook(look, { scope, basis: "daemon" }), signal);
  } catch (error) {
    return { target, error: failureText(error) };
  }
}

/** Whoever may connect here is the folder's owner or root: what he calls himself is believed. */
function pressOf(message: object): Press {
  const by = "by" in message && typeof message.by === "string" ? message.by : "somebody unknown";
  return { by, reason: "reason" in message && typeof message.reason === "string" ? message.reason : null };
}

/** What is no duration is a pause without an end: it must not fail, and must not end by itself. */
function durationOf(message: object): number | null {
  const ms = "forMs" in message ? message.forMs : null;
  return typeof ms === "number" && ms > 0 && ms <= longestDurationMs ? ms : null;
}
