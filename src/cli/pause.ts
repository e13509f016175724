import { formatDuration, longestDurationMs, parseDuration } from "../config/duration.ts";
import { pausedText, untilText } from "../core/pause.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes } from "./output.ts";
import { press, whoPresses } from "./press.ts";
import { stateDirOption, stateFolderOf } from "./state-folder.ts";

export const pause: CommandSpec = {
  name: "pause",
  summary: "the kill switch: nobody is acted on until resume; needs no database and no restart, and outlasts one",
  config: true,
  json: true,
  options: [
    { flags: "--reason <text>", describe: "for the journal, the notice and status" },
    { flags: "--for <duration>", describe: "resumes by itself after so long, such as 2h" },
    stateDirOption,
  ],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const forMs = typeof options["for"] === "string" ? parseDuration(options["for"]) : null;
    if (options["for"] !== undefined && forMs === null) {
      const wanted = `expected a duration such as 30m or 2h, at most ${formatDuration(longestDurationMs)}`;
      output.err(`lockwarden pause: --for: ${wanted}, got ${JSON.stringify(options["for"])}`);
      return exitCodes.usage;
    }
    const folder = stateFolderOf(file, options["stateDir"], output);
    if (folder === null) return exitCodes.usage;
    const reason = typeof options["reason"] === "string" ? options["reason"] : null;
    const asked = { command: "pause", by: whoPresses(), reason, forMs } as const;
    const { daemon, answer } = await press(folder, asked);
    const { paused, stayed, unkept, unwritten, underWay } = answer;
    if (json) output.out(quietJson(JSON.stringify({ daemon, ...answer })));
    else {
      const whole = daemon
        ? "it looks and tells, and acts on nobody"
        : `no daemon runs on ${folder.path}; the next one starts paused`;
      const already = stayed ? `; an earlier pause lasts longer, and holds: ${pausedText(paused)}` : "";
      output.out(quietText(`paused ${untilText(paused, Date.now())}: ${whole}${already}`));
    }
    if (underWay > 0) output.err(`warning: ${underWay} statements went out before, and their end is still to come`);
    if (unwritten !== null) output.err(quietText(`warning: it is not in the journal: ${unwritten}`));
    if (unkept === null) return exitCodes.done;
    const holds = daemon ? "it holds only until the daemon restarts" : "nothing is paused";
    output.err(quietText(`lockwarden pause: ${holds}: ${unkept}`));
    return exitCodes.failed;
  },
};
