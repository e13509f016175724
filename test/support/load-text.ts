import { type LoadedConfig, loadConfig } from "../../src/config/load.ts";
import { renderMistake } from "../../src/config/mistake.ts";
import type { Config } from "../../src/config/schema.ts";
import { cronMistake } from "../../src/daemon/schedule.ts";

export type World = Readonly<{
  env?: NodeJS.ProcessEnv;
  /** Absolute path and text of the files beside the config. */
  files?: Readonly<Record<string, string>>;
}>;

/** Loads a config's text as /etc/c.yaml, from a disk that holds only `files`. */
export function loadText(text: string, { env = {}, files = {} }: World = {}): LoadedConfig {
  const all: Readonly<Record<string, string>> = { ...files, "/etc/c.yaml": text };
  return loadConfig("/etc/c.yaml", {
    env,
    cronMistake,
    read: (file) => {
      const found = all[file];
      return found === undefined ? { kind: "bad", reason: "no such file" } : { kind: "ok", text: found };
    },
  });
}

/** The mistakes as an operator sees them, without the file's name. */
export function mistakesOf(text: string, world: World = {}): readonly string[] {
  const loaded = loadText(text, world);
  return loaded.kind === "ok" ? [] : loaded.mistakes.map((one) => renderMistake(one).replace("/etc/c.yaml", "c"));
}

export function warningsOf(text: string, world: World = {}): readonly string[] {
  const loaded = loadText(text, world);
  return loaded.kind === "bad" ? [] : loaded.warnings.map((one) => renderMistake(one).replace("/etc/c.yaml", "c"));
}

/** The config, which must be a good one. */
export function goodConfig(text: string, world: World = {}): Config {
  const loaded = loadText(text, world);
  if (loaded.kind === "ok") return loaded.config;
  throw new Error(`expected a good config, got ${loaded.mistakes.map(renderMistake).join("\n")}`);
}
