import { resolve } from "node:path";
import { startDaemon } from "../daemon/daemon.ts";
import { createLog } from "../daemon/log.ts";
import { systemdNotifier } from "../daemon/systemd.ts";
import type { CommandSpec } from "./command.ts";
import { readConfig, stateDirOf, usableConfig } from "./config.ts";
import { exitCodes } from "./output.ts";

export const run: CommandSpec = {
  name: "run",
  summary: "the daemon: watch every target, act by rule, tell people; SIGHUP reads the config anew",
  config: true,
  options: [{ flags: "--log-level <level>", describe: "debug, info (default), warn or error" }],
  async run({ config: file, options }, output) {
    const level = levelOf(options["logLevel"]);
    if (level === null) {
      output.err(
        `lockwarden run: --log-level: expected debug, info, warn or error, got ${JSON.stringify(options["logLevel"])}`,
      );
      return exitCodes.usage;
    }
    const first = usableConfig(file, output);
    if (first === null) return exitCodes.usage;
    const log = createLog({ level });
    const notifier = systemdNotifier(process.env, { onFailure: (text) => log.warn({}, text) });
    const stateDir = stateDirOf(first.config);
    // Before the daemon begins: a signal that comes while it starts must not be lost, or kill it half way.
    const stopped = new Promise<string>((stop) => {
      for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop(name));
    });
    let reload = (): Promise<void> => Promise.resolve();
    process.on("SIGHUP", () => void reload());
    const daemon = await startDaemon({
      first,
      load: () => readConfig(file),
      file: resolve(file),
      stateDir,
      log,
      notifier,
    });
    if (daemon.kind === "busy") {
      output.err(`lockwarden run: ${daemon.text}`);
      return exitCodes.failed;
    }
    reload = daemon.reload;
    const ending = await Promise.race([
      stopped.then((why) => ({ why, code: exitCodes.done })),
      daemon.lost.then((why) => ({ why, code: exitCodes.failed })),
    ]);
    if (ending.code !== exitCodes.done) log.error({}, ending.why);
    await daemon.stop(ending.why);
    return ending.code;
  },
};

const levels = ["debug", "info", "warn", "error"] as const;

function levelOf(given: string | boolean | undefined): (typeof levels)[number] | null {
  if (given === undefined) return "info";
  return levels.find((level) => level === given) ?? null;
}
