import type { ExitCode, Output } from "./output.ts";

/** A command as data: cli.ts makes the parser and the help of it. */
export type CommandSpec = Readonly<{
  name: string;
  summary: string;
  /** Positional arguments as in `[role]` or `<file...>`. */
  arguments?: readonly Readonly<{ name: string; describe: string }>[];
  options?: readonly Readonly<{ flags: string; describe: string }>[];
  /** Has `--config FILE`. */
  config?: boolean;
  /** Has `--json`. */
  json?: boolean;
  run(given: Given, output: Output): Promise<ExitCode>;
}>;

export type Given = Readonly<{
  config: string;
  json: boolean;
  arguments: readonly string[];
  options: Readonly<Record<string, string | boolean | undefined>>;
}>;

export const defaultConfig = "/etc/lockwarden/lockwarden.yaml";
