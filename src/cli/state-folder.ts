import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { expandEnvironment } from "../config/environment.ts";
import type { LoadedConfig } from "../config/load.ts";
import { renderMistake } from "../config/mistake.ts";
import { readText } from "../config/read-text.ts";
import { errorCode } from "../owned-file.ts";
import { readConfig, stateDirOf, usableConfig } from "./config.ts";
import type { Output } from "./output.ts";

/** Where a command finds the daemon; `config`: null when it cannot be used, by this user at least. */
export type StateFolder = Readonly<{ path: string; config: Extract<LoadedConfig, { kind: "ok" }> | null }>;

export const stateDirOption = { flags: "--state-dir <folder>", describe: "the state folder, where no config says it" };

const mostConfigBytes = 256 * 1024;

/**
 * For commands that need nothing of the config but the state folder: a daemon that runs by an older config is to be
 * paused although somebody has just broken the file, or may not read its secrets. null: it cannot be found, and why is said.
 */
export function stateFolderOf(
  file: string,
  given: string | boolean | undefined,
  output: Pick<Output, "err">,
): StateFolder | null {
  const loaded = readConfig(file);
  const config = loaded.kind === "ok" ? loaded : null;
  if (typeof given === "string") {
    const path = resolve(given);
    if (!isMissing(path)) return { path, config };
    // A pause of a folder that no daemon uses would be taken for one.
    output.err(`--state-dir: expected the folder that a daemon uses, got ${JSON.stringify(path)}: no such folder`);
    return null;
  }
  if (config !== null) return { path: stateDirOf(config.config), config };
  // The secrets are the daemon's: this user need not have them.
  const rules = readConfig(file, { rulesOnly: true });
  if (rules.kind === "ok") return { path: stateDirOf(rules.config), config };
  const named = readText(file, mostConfigBytes);
  const path = named.kind === "ok" ? writtenIn(named.text, file) : null;
  if (path === null) {
    usableConfig(file, { ...silent, err: output.err });
    output.err("name the state folder with --state-dir FOLDER to go on without the config");
    return null;
  }
  const [first] = rules.mistakes;
  const what = first === undefined ? file : renderMistake(first);
  output.err(`warning: the config has mistakes, and only its state folder ${path} is taken: ${what}`);
  return { path, config };
}

/** Whoever may not look whether it is there hears of that from whatever needs it. */
function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return errorCode(error) === "ENOENT";
  }
}

const silent: Output = {
  out: () => undefined,
  err: () => undefined,
  flush: () => Promise.resolve(null),
  isTerminal: false,
  columns: 80,
  colour: false,
};

const key = /^state_dir:[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"'#][^\n]*?))[ \t]*(?:#.*)?\r?$/m;

/** The top-level key as a line of its own: the text may be no YAML any more. null: it cannot be said. */
function writtenIn(text: string, file: string): string | null {
  if (!/^["']?state_dir\b/m.test(text)) return stateDirOf({});
  const [, double, single, plain] = key.exec(text) ?? [];
  const written = double ?? single ?? plain;
  if (written === undefined || written === "") return null;
  const expanded = expandEnvironment(written, process.env);
  return expanded.kind === "ok" ? resolve(dirname(resolve(file)), expanded.text) : null;
}
