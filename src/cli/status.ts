import { isOver, type Paused, pausedText } from "../core/pause.ts";
import { plainText } from "../core/plain-text.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import type { StatusAnswer } from "../daemon/status.ts";
import { lastEvent } from "../journal-tail.ts";
import { errorText } from "../owned-file.ts";
import { readPausedFile } from "../paused-file.ts";
import { askDaemon } from "./ask-daemon.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { stateDirOption, stateFolderOf } from "./state-folder.ts";

const daemonMs = 15_000;

export const status: CommandSpec = {
  name: "status",
  summary: "what the daemon is doing: its targets, the pause, the journal; exit code 1 when none runs",
  config: true,
  json: true,
  options: [stateDirOption],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const folder = stateFolderOf(file, options["stateDir"], output);
    if (folder === null) return exitCodes.usage;
    const { path } = folder;
    let barred: string | null = null;
    const hear = (why: string): void => {
      barred = why;
    };
    const answer = await askDaemon(path, { command: "status", disk: true }, hear, daemonMs);
    if (answer !== null) {
      if (json) output.out(quietJson(JSON.stringify({ running: true, stateDir: path, ...answer })));
      else for (const line of statusLines(answer, Date.now())) output.out(quietText(line));
      return exitCodes.done;
    }
    if (barred !== null) output.err(quietText(`lockwarden status: ${String(barred)}`));
    else await withoutDaemon(path, { json, output });
    return exitCodes.failed;
  },
};

/** What the state folder says of the last one. */
async function withoutDaemon(
  path: string,
  { json, output }: Readonly<{ json: boolean; output: Output }>,
): Promise<void> {
  const found = await readPausedFile(path);
  const paused = found.kind === "none" ? null : found.paused;
  const last = await lastEvent(path).catch((error: unknown) => errorText(error));
  if (json) {
    const event =
      typeof last === "string" || last === null ? null : { at: last.at, event: last.event, target: last.target };
    output.out(quietJson(JSON.stringify({ running: false, stateDir: path, paused, last: event })));
  } else {
    output.out(quietText(`no daemon runs on ${path}`));
    if (paused !== null) output.out(quietText(`  the next one starts ${pausedText(paused)}${overText(paused)}`));
    if (typeof last === "string") output.err(quietText(`warning: ${last}`));
    else if (last === null) output.out("  its journal is empty");
    else output.out(quietText(`  the journal ends at ${plainText(last.at, 40)} with: ${last.event}`));
  }
}

function overText(paused: Paused): string {
  return isOver(paused, Date.now()) ? ", which is over" : "";
}

const onDisk: Readonly<Record<NonNullable<StatusAnswer["disk"]>, string>> = {
  same: "",
  changed: ", which says something else now: SIGHUP makes the daemon read it",
  broken: ", which has mistakes now, so SIGHUP would be refused: lockwarden check names them",
};

export function statusLines(answer: StatusAnswer, nowMs: number): readonly string[] {
  const { pid, version, uptimeMs, mode, config, file, disk, paused, journal, undelivered, targets } = answer;
  const until = paused === null || paused.until === null ? "" : ` (${leftText(Date.parse(paused.until) - nowMs)})`;
  return [
    `lockwarden ${version}, pid ${pid}, running for ${spokenDuration(uptimeMs)}`,
    `  mode     ${mode}${paused === null ? "" : ", paused"}`,
    ...(paused === null ? [] : [`  paused   ${pausedText(paused)}${until}`]),
    `  config   ${file} (digest ${config})${disk === null ? "" : onDisk[disk]}`,
    `  journal  ${journal === null ? "is written" : `cannot be written, so nobody is acted on: ${journal}`}`,
    `  notices  ${undelivered === 0 ? "all delivered" : `${undelivered} not delivered yet`}`,
    ...targets.flatMap(targetLines),
  ];
}

function targetLines(one: StatusAnswer["targets"][number]): readonly string[] {
  const { target, connected, server, sentence, lookedAgoMs, nextInMs } = one;
  const link = connected ? `connected to ${server ?? "an unknown server"}, ${rightText(one)}` : "not connected";
  const last = lookedAgoMs === null ? "not looked at yet" : `looked at ${spokenDuration(lookedAgoMs)} ago`;
  const what = connected ? "the next look" : "the next try";
  const next = nextInMs === null ? "" : `, ${what} ${nextInMs < 1 ? "now" : `in ${spokenDuration(nextInMs)}`}`;
  return [`target ${target}: ${link}`, `  ${last}${next}`, `  ${plainText(sentence, 2_000)}`];
}

function rightText({ leader, enforces, barred, unguarded }: StatusAnswer["targets"][number]): string {
  if (!leader) return "observes: another Lockwarden has the right to act";
  if (barred !== null) return barred;
  if (!enforces) return "only observes: by its config no rule acts here";
  return unguarded === true
    ? "has the right to act, and checks just before a signal: this server cannot do both in one statement"
    : "has the right to act";
}

function leftText(ms: number): string {
  return ms > 0 ? `${spokenDuration(ms)} left` : "over now";
}
