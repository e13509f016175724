import { type LoadedConfig, type LoadOptions, loadConfig } from "../config/load.ts";
import { renderMistake } from "../config/mistake.ts";
import type { Config } from "../config/schema.ts";
import { cronMistake } from "../daemon/schedule.ts";
import type { Output } from "./output.ts";

export function readConfig(file: string, options: Partial<LoadOptions> = {}): LoadedConfig {
  return loadConfig(file, { cronMistake, ...options });
}

/** The config, its warnings printed; null when it has mistakes, which are printed all. */
export function usableConfig(file: string, output: Output): Extract<LoadedConfig, { kind: "ok" }> | null {
  const loaded = readConfig(file);
  const said = loaded.kind === "ok" ? loaded.warnings : loaded.mistakes;
  for (const mistake of said) output.err(`${loaded.kind === "ok" ? "warning: " : ""}${renderMistake(mistake)}`);
  const [only] = said;
  if (loaded.kind === "bad" && said.length === 1 && only?.line === null) output.err(unreadableHint);
  return loaded.kind === "ok" ? loaded : null;
}

const unreadableHint =
  "name the config with --config FILE, and let this user read it; " +
  "config/lockwarden.example.yaml, which comes with Lockwarden, is one to begin with";

/** Where the daemon writes: the config's word, else systemd's, else the usual place. */
export function stateDirOf(config: Pick<Config, "state_dir">, env: NodeJS.ProcessEnv = process.env): string {
  // systemd separates several with colons; the first is ours.
  const [given] = (env["STATE_DIRECTORY"] ?? "").split(":");
  return config.state_dir ?? (given === undefined || given === "" ? "/var/lib/lockwarden" : given);
}
