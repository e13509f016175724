import { processList, processTable } from "../core/process-list.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { failureText } from "../daemon/once-report.ts";
import { engineFor } from "../engines/registry.ts";
import { queryText } from "../query-text.ts";
import { targetOf } from "./by-hand.ts";
import type { Given } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

/** SHOW PROCESSLIST out of a look of its own: the same columns whatever the server, and ids that `kill` takes. */
export async function processes(full: boolean, given: Given, output: Output): Promise<ExitCode> {
  const loaded = usableConfig(given.config, output);
  if (loaded === null) return exitCodes.usage;
  const target = targetOf(loaded.config, given.options["target"]);
  if (typeof target === "string") {
    output.err(quietText(`lockwarden sql: ${target}`));
    return exitCodes.usage;
  }
  const { signal } = new AbortController();
  try {
    const link = await engineFor(target).connect(target, signal);
    try {
      const snapshot = await link.read({ sessions: "all", locks: false }, signal);
      const list = processList(snapshot, await queryText(loaded.config.query_text));
      if (given.json) output.out(quietJson(JSON.stringify({ target: target.name, processes: list })));
      else for (const line of processTable(list, full)) output.out(quietText(line));
      for (const gap of snapshot.gaps) output.err(quietText(`warning: ${target.name}: ${gap}`));
      return exitCodes.done;
    } finally {
      await link.close();
    }
  } catch (error) {
    output.err(quietText(`lockwarden sql: ${target.name}: ${failureText(error)}`));
    return exitCodes.target;
  }
}
