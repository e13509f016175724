import { mistakeReport } from "../config/mistake.ts";
import type { ChannelConfig, Config, EmailConfig } from "../config/schema.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { type MailCheck, verifyEmail } from "../notify/email.ts";
import { type StateSurvey, spokenSize, surveyStateDir } from "../state-survey.ts";
import { countText, type Found, type Group, printGroup } from "./check-report.ts";
import { judgeTargets, lookAtTarget, type TargetCheck, targetGroup } from "./check-target.ts";
import type { CommandSpec } from "./command.ts";
import { readConfig, stateDirOf, usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { wrap } from "./wrap.ts";

type ChannelCheck = Readonly<{ channel: string }> & MailCheck;

/** All that was looked at besides the config itself. */
type Checked = Readonly<{
  state: StateSurvey | null;
  channels: readonly ChannelCheck[];
  targets: readonly TargetCheck[];
  groups: readonly Group[];
}>;

export const check: CommandSpec = {
  name: "check",
  summary:
    "the config, the state folder, mail servers, then each target: reachable, privileges, and rules that the server or its names leave nothing to do",
  config: true,
  json: true,
  options: [
    { flags: "--offline", describe: "stop after the config" },
    {
      flags: "--strict",
      describe: "exit with 1 for warnings too; the daemon runs with them, so else they are no failure",
    },
  ],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    if (json) {
      const loaded = readConfig(file);
      if (loaded.kind === "bad") {
        output.out(quietJson(JSON.stringify({ ok: false, mistakes: loaded.mistakes.map(mistakeReport) })));
        return exitCodes.usage;
      }
    }
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const { config, digest, warnings } = loaded;
    const offline = options["offline"] === true;
    const checked = offline ? nothing : await lookAround(config, digest);
    const doubtful = warnings.length > 0 || checked.groups.some(({ found }) => found.some(isWarning));
    const failed = exitCodeOf(checked);
    const strict = options["strict"] === true;
    const code = failed === exitCodes.done && strict && doubtful ? exitCodes.failed : failed;
    if (json) {
      const { state, channels, targets } = checked;
      const about = { file, digest, mode: config.mode };
      const result = { ok: code === exitCodes.done, config: about, warnings, state, channels, targets };
      output.out(quietJson(JSON.stringify(result)));
    } else {
      const summary = `${extent(config)}, mode ${config.mode}, digest ${digest}`;
      for (const group of [{ heading: file, summary, found: [] }, ...checked.groups]) printGroup(group, output);
      if (doubtful) printTotal(checked.groups, { config: warnings.length, code }, output);
    }
    return code;
  },
};

const nothing: Checked = { state: null, channels: [], targets: [], groups: [] };

/** Everything at once: each has a time limit of its own. */
async function lookAround(config: Config, digest: string): Promise<Checked> {
  const [state, channels, looks] = await Promise.all([
    surveyStateDir(stateDirOf(config)),
    Promise.all(config.channels.filter(isEmail).map(checkChannel)),
    Promise.all(config.targets.map((target) => lookAtTarget(target, config))),
  ]);
  const targets = judgeTargets(looks, config);
  const ofTargets = looks.flatMap((look, index) => {
    const one = targets[index];
    return one === undefined ? [] : [targetGroup(one, look, config)];
  });
  return {
    state,
    channels,
    targets,
    groups: [stateGroup(state, digest), ...channels.map(channelGroup), ...ofTargets],
  };
}

function isEmail(channel: ChannelConfig): channel is EmailConfig {
  return channel.type === "email";
}

async function checkChannel(config: EmailConfig): Promise<ChannelCheck> {
  return { channel: config.name, ...(await verifyEmail(config)) };
}

function channelGroup({ channel, where, error }: ChannelCheck): Group {
  const heading = `channel ${channel}`;
  if (error !== null) return { heading, summary: "", found: [{ mark: "error", text: `${where}: ${error}` }] };
  return { heading, summary: `${where} takes mail from here; nothing was sent`, found: [] };
}

function stateGroup(state: StateSurvey, digest: string): Group {
  const { path, exists, ownerId, freeBytes, errors, warnings } = state;
  const free = freeBytes === null ? "" : `, ${spokenSize(freeBytes)} free`;
  const owner = ownerId === null ? "" : `, owner uid ${ownerId}`;
  const found: readonly Found[] = [
    ...errors.map((text): Found => ({ mark: "error", text })),
    ...warnings.map((text): Found => ({ mark: "warning", text })),
    ...daemonFound(state, digest),
  ];
  const there = exists ? "is there" : "is not there yet; the daemon makes it";
  return { heading: `state folder ${path}`, summary: errors.length > 0 ? "" : `${there}${owner}${free}`, found };
}

function daemonFound({ daemon }: StateSurvey, digest: string): readonly Found[] {
  if (typeof daemon !== "object" || daemon === null || !("pid" in daemon) || !("config" in daemon)) return [];
  const mode = "mode" in daemon ? `, mode ${String(daemon.mode)}` : "";
  const paused = "paused" in daemon && daemon.paused !== null ? ", paused" : "";
  const same = daemon.config === digest;
  const config = same
    ? "by this very config"
    : `by another config (digest ${String(daemon.config)}): ${String("file" in daemon ? daemon.file : "unknown")}, which SIGHUP makes it read anew`;
  return [{ mark: "note", text: `a daemon runs there (pid ${String(daemon.pid)}${mode}${paused}), ${config}` }];
}

function isWarning({ mark }: Found): boolean {
  return mark === "warning";
}

/** A target decides before all else, as it does in every command. */
function exitCodeOf({ targets, channels, state }: Checked): ExitCode {
  if (!targets.every(({ ok }) => ok)) return exitCodes.target;
  const fine = channels.every(({ error }) => error === null) && (state?.errors.length ?? 0) === 0;
  return fine ? exitCodes.done : exitCodes.failed;
}

function printTotal(
  groups: readonly Group[],
  { config, code }: Readonly<{ config: number; code: ExitCode }>,
  output: Output,
): void {
  const all = [...groups, { heading: "", summary: "", found: Array.from({ length: config }, () => configWarning) }];
  const why = code === exitCodes.done ? ": no failure, so the exit code stays 0; --strict makes it 1" : "";
  const counts = [countText(all, "error"), countText(all, "warning")].filter((text) => text !== "");
  for (const line of wrap(quietText(`${counts.join(", ")}${why}`), output.columns, "")) output.out(line);
}

const configWarning: Found = { mark: "warning", text: "" };

function extent({ rules, targets }: Config): string {
  const count = (many: readonly unknown[], word: string) => `${many.length} ${word}${many.length === 1 ? "" : "s"}`;
  return `${count(rules, "rule")}, ${count(targets, "target")}`;
}
