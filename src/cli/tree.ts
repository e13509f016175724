import { parseDuration } from "../config/duration.ts";
import type { Config } from "../config/schema.ts";
import { queryText } from "../query-text.ts";
import type { CommandSpec, Given } from "./command.ts";
import { usableConfig } from "./config.ts";
import { observe } from "./observer.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { frame, type Shape } from "./tree-frame.ts";
import { watch } from "./tree-watch.ts";

const usualIntervalMs = 2_000;
/** A look reads all locks: more often would be a load of its own. */
const shortestIntervalMs = 100;

export const tree: CommandSpec = {
  name: "tree",
  summary: "who waits for a lock behind whom, on every target, as a forest; never acts",
  config: true,
  json: true,
  options: [
    { flags: "--watch", describe: "keep it on the screen; q or Ctrl-C ends" },
    { flags: "--interval <duration>", describe: "with --watch: look so often, at most every 100ms; default 2s" },
    { flags: "--all", describe: "everybody, however many wait" },
  ],
  async run(given, output) {
    const intervalMs = intervalOf(given);
    if (typeof intervalMs === "string") {
      output.err(`lockwarden tree: ${intervalMs}`);
      return exitCodes.usage;
    }
    const loaded = usableConfig(given.config, output);
    if (loaded === null) return exitCodes.usage;
    const show = await queryText(loaded.config.query_text);
    const shape = { json: given.json, all: given.options["all"] === true, show };
    return given.options["watch"] === true
      ? watch(loaded.config, { ...shape, intervalMs }, output)
      : lookOnce(loaded.config, shape, output);
  },
};

/** A text says what is wrong with it. */
function intervalOf({ options }: Given): number | string {
  const written = options["interval"];
  if (written === undefined) return usualIntervalMs;
  if (options["watch"] !== true) return "--interval needs --watch: without it there is one look";
  const ms = parseDuration(String(written));
  return ms !== null && ms >= shortestIntervalMs
    ? ms
    : `--interval: expected a duration from 100ms such as 2s, got ${JSON.stringify(written)}`;
}

async function lookOnce({ targets }: Config, shape: Shape, output: Output): Promise<ExitCode> {
  const observers = targets.map((target) => observe(target));
  const { signal } = new AbortController();
  try {
    await Promise.all(observers.map((observer) => observer.look(signal)));
    const views = observers.map((observer) => observer.view());
    const columns = output.isTerminal ? output.columns : null;
    for (const line of frame(views, shape, { columns, colour: output.colour })) output.out(line);
    return views.some(({ kind }) => kind === "failed") ? exitCodes.target : exitCodes.done;
  } finally {
    await Promise.all(observers.map((observer) => observer.close()));
  }
}
