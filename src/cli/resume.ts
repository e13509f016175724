import { pausedText } from "../core/pause.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes } from "./output.ts";
import { press, whoPresses } from "./press.ts";
import { stateDirOption, stateFolderOf } from "./state-folder.ts";

export const resume: CommandSpec = {
  name: "resume",
  summary: "ends a pause: Lockwarden acts again, as its config says",
  config: true,
  json: true,
  options: [{ flags: "--reason <text>", describe: "for the journal and the notice" }, stateDirOption],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const folder = stateFolderOf(file, options["stateDir"], output);
    if (folder === null) return exitCodes.usage;
    const reason = typeof options["reason"] === "string" ? options["reason"] : null;
    const { daemon, answer } = await press(folder, { command: "resume", by: whoPresses(), reason } as const);
    const { was, paused, unkept, unwritten } = answer;
    if (json) output.out(quietJson(JSON.stringify({ daemon, ...answer })));
    else {
      const again = paused === null ? "" : `; meanwhile it was ${pausedText(paused)}`;
      const whole = `${was === null ? "it was not paused" : `resumed; it was ${pausedText(was)}`}${again}`;
      output.out(quietText(daemon ? whole : `${whole}; no daemon runs on ${folder.path}`));
    }
    if (unwritten !== null) output.err(quietText(`warning: it is not in the journal: ${unwritten}`));
    if (unkept === null) return exitCodes.done;
    const holds = daemon ? "the next start is paused again" : "it is still paused";
    output.err(quietText(`lockwarden resume: ${holds}: ${unkept}`));
    return exitCodes.failed;
  },
};
