import type { LoadedConfig } from "../config/load.ts";
import { failureReport, type LookReport, reportOf } from "./once-report.ts";
import type { Watch } from "./watch.ts";

/** What a command asks of the running daemon, through control.sock. */
export type Request = Readonly<{ command: "once" }> | Readonly<{ command: "status" }>;

export type StatusAnswer = Readonly<{
  pid: number;
  mode: string;
  config: string;
  targets: readonly Readonly<{ target: string; connected: boolean; leader: boolean; sentence: string }>[];
}>;

export type ControlContext = Readonly<{
  watched(): readonly Readonly<{ name: string; watch: Watch }>[];
  loaded(): Pick<Extract<LoadedConfig, { kind: "ok" }>, "config" | "digest">;
}>;

/** Answers the requests of other commands; an unknown one is an error that the client shows. */
export function controlHandler(context: ControlContext): (message: unknown, signal: AbortSignal) => Promise<unknown> {
  return async (message, signal) => {
    const command =
      typeof message === "object" && message !== null && "command" in message ? message.command : undefined;
    switch (command) {
      case "once":
        return Promise.all(context.watched().map(({ name, watch }) => lookAt(name, watch, signal)));
      case "status":
        return statusOf(context);
      default:
        throw new Error(`this daemon does not know the command ${JSON.stringify(command)}; is it the same version?`);
    }
  };
}

/** As `once` looks without a daemon. */
async function lookAt(target: string, watch: Watch, signal: AbortSignal): Promise<LookReport> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    const { result, lacking } = await Promise.race([watch.lookNow(), aborted]);
    return { report: reportOf(target, result.judgements), lacking };
  } catch (error) {
    return { report: failureReport(target, error), lacking: [] };
  }
}

function statusOf({ watched, loaded }: ControlContext): StatusAnswer {
  const { config, digest } = loaded();
  const targets = watched().map(({ name, watch }) => ({ target: name, ...watch.state() }));
  return { pid: process.pid, mode: config.mode, config: digest, targets };
}
