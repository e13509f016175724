import { patterns } from "../config/patterns.ts";
import type { Target } from "../config/schema.ts";
import type { Scope } from "../core/explanation.ts";
import { historyFrom, type Past } from "../core/journal-past.ts";
import { pausedText } from "../core/pause.ts";
import { explainLook, lookToExplain, type TargetExplanation } from "../daemon/explain.ts";
import { standingSwitch } from "../daemon/kill-switch.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { failureText } from "../daemon/once-report.ts";
import { settingsFor, settingsOn } from "../daemon/settings.ts";
import { engineFor } from "../engines/registry.ts";
import { readPast } from "../journal-past.ts";
import { readPausedFile } from "../paused-file.ts";
import { askDaemon, findDaemon } from "./ask-daemon.ts";
import type { CommandSpec } from "./command.ts";
import { stateDirOf, usableConfig } from "./config.ts";
import { type Asking, explainRecorded, stranger } from "./explain-recorded.ts";
import { explanationLines } from "./explain-text.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

export const explain: CommandSpec = {
  name: "explain",
  summary: "why each session was touched or not, rule by rule, and when it will be; never acts",
  arguments: [
    {
      name: "[pid]",
      describe:
        "only this one, with every condition; a session as this command lists it, its PID alone, or the gid of a prepared transaction",
    },
  ],
  options: [
    {
      flags: "--from <file>",
      describe: "a recorded snapshot, or each target's latest look of a recording, instead of a live one",
    },
    { flags: "--all", describe: "everybody: all who wait, and idle sessions that no rule is about too" },
  ],
  config: true,
  json: true,
  async run({ config: file, json, arguments: [session = null], options }, output): Promise<ExitCode> {
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const { config, digest } = loaded;
    const scope: Scope = { session, all: options["all"] === true };
    const { from } = options;
    const asking: Asking = { config, digest, file, scope, warn: (text) => output.err(`warning: ${quietText(text)}`) };
    const targets = typeof from === "string" ? await explainRecorded(from, asking) : await live(asking);
    if (typeof targets === "string") {
      output.err(quietText(`lockwarden explain: ${targets}`));
      return exitCodes.failed;
    }
    print(targets, { json, scope, output });
    return exitCodeOf(targets, { scope, output });
  },
};

/** The daemon knows how long somebody has blocked and where the ladders stand; without one, each target is looked at. */
async function live(asking: Asking): Promise<readonly TargetExplanation[]> {
  const { config, scope } = asking;
  const stateDir = stateDirOf(config);
  const barred = (why: string) => asking.warn(`${why}; what follows is a first look, without its memory`);
  if (await findDaemon(stateDir, { ...asking, barred })) {
    const answer = await askDaemon(stateDir, { command: "explain", scope });
    if (answer !== null) return answer;
  }
  const found = await readPausedFile(stateDir);
  // Who may not look into the folder is told so already.
  const denied = found.kind === "unreadable" && found.code === "EACCES";
  const { state } = standingSwitch(denied ? { kind: "none" } : found, new Date());
  if (state !== null) asking.warn(pausedText(state));
  // Without the right to read it nothing is known of earlier acts.
  const past = await readPast(stateDir, config.limits).catch((): Past => new Map());
  const paused = state !== null;
  return Promise.all(config.targets.map((target) => lookAt(target, { ...asking, past, paused })));
}

async function lookAt(
  target: Target,
  { config, digest, scope, past, paused }: Asking & Readonly<{ past: Past; paused: boolean }>,
): Promise<TargetExplanation> {
  const { signal } = new AbortController();
  try {
    const link = await engineFor(target).connect(target, signal);
    try {
      const look = await lookToExplain({
        ...stranger,
        history: historyFrom(past, target.name, config.rules),
        paused,
        settings: settingsOn(settingsFor(config, digest, target, patterns), link),
        link,
        signal,
      });
      return await explainLook(look, { scope, basis: "first look" });
    } finally {
      await link.close();
    }
  } catch (error) {
    return { target: target.name, error: failureText(error) };
  }
}

type Printing = Readonly<{ json: boolean; scope: Scope; output: Output }>;

function print(targets: readonly TargetExplanation[], { json, scope, output }: Printing): void {
  if (json) return output.out(quietJson(JSON.stringify({ targets })));
  const manner = { columns: output.columns, detailed: scope.session !== null };
  // Of several servers only one has the process that was asked for.
  const shown = targets.filter((one) => "error" in one || scope.session === null || one.sessions.length > 0);
  for (const [at, one] of shown.entries()) {
    if (at > 0) output.out("");
    const lines = "error" in one ? [`${one.target}: ${one.error}`] : explanationLines(one, manner);
    for (const line of lines) output.out(quietText(line));
  }
}

function exitCodeOf(targets: readonly TargetExplanation[], { scope, output }: Omit<Printing, "json">): ExitCode {
  if (targets.some((one) => "error" in one)) return exitCodes.target;
  if (scope.session === null || targets.some((one) => !("error" in one) && one.sessions.length > 0))
    return exitCodes.done;
  const names = targets.map(({ target }) => target).join(", ");
  const what = `no session or prepared transaction ${JSON.stringify(scope.session)} on ${names}`;
  const why = /^\d+(?:,|$)/u.test(scope.session)
    ? ": it has ended, or is a process of the server's own, which no rule is about"
    : "; expected a session or the gid of a prepared transaction, as lockwarden explain lists them";
  output.err(quietText(`lockwarden explain: ${what}${why}`));
  return exitCodes.failed;
}
