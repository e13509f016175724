import type { LoadedConfig } from "../config/load.ts";
import type { Scope } from "../core/explanation.ts";
import type { Found, HandResult } from "./by-hand.ts";
import { explainLook, lookToExplain, scopeOf, type TargetExplanation } from "./explain.ts";
import { answerByHand, answerFind, type HandKit, type HandRequest } from "./hand-requests.ts";
import { failureReport, failureText, type LookReport, reportOf } from "./once-report.ts";
import { unlessAborted } from "./turns.ts";
import type { Watch } from "./watch.ts";

/** What a command asks of the running daemon, through control.sock. */
export type Request =
  | Readonly<{ command: "once" }>
  | Readonly<{ command: "status" }>
  | Readonly<{ command: "explain"; scope: Scope }>
  | HandRequest;

export type StatusAnswer = Readonly<{
  pid: number;
  mode: string;
  /** The digest of the config in force. */
  config: string;
  /** Its file, which a SIGHUP reads anew. */
  file: string;
  targets: readonly Readonly<{ target: string; connected: boolean; leader: boolean; sentence: string }>[];
}>;

/** What it answers to each. */
export type Answers = Readonly<{
  once: readonly LookReport[];
  status: StatusAnswer;
  explain: readonly TargetExplanation[];
  find: Found;
  byHand: HandResult;
}>;

export type ControlContext = Readonly<{
  file: string;
  watched(): readonly Readonly<{ name: string; watch: Watch }>[];
  loaded(): Pick<Extract<LoadedConfig, { kind: "ok" }>, "config" | "digest">;
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
        return statusOf(context);
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

function statusOf({ watched, loaded, file }: ControlContext): StatusAnswer {
  const { config, digest } = loaded();
  const targets = watched().map(({ name, watch }) => ({ target: name, ...watch.state() }));
  return { pid: process.pid, mode: config.mode, config: digest, file, targets };
}
