import type { Target } from "../config/schema.ts";
import { LinkLost } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";
import type { CommandSpec } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

type TargetCheck = Readonly<{
  target: string;
  ok: boolean;
  version: string | null;
  role: string | null;
  recovery: boolean | null;
  encrypted: boolean | null;
  error: string | null;
  missing: readonly Readonly<{ missing: string; grant: string; fatal: boolean }>[];
}>;

export const check: CommandSpec = {
  name: "check",
  summary: "the config, then each target: reachable, version, privileges, and the SQL that grants what is missing",
  config: true,
  json: true,
  options: [{ flags: "--offline", describe: "stop after the config" }],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const { config, digest } = loaded;
    const targets = options["offline"] === true ? [] : await Promise.all(config.targets.map(checkTarget));
    if (json) output.out(JSON.stringify({ config: { file, digest, mode: config.mode }, targets }));
    else {
      output.out(
        `${file}: fine (${config.rules.length} rules, ${config.targets.length} targets, mode ${config.mode}, digest ${digest})`,
      );
      for (const target of targets) print(target, output);
    }
    return targets.every(({ ok }) => ok) ? exitCodes.done : exitCodes.target;
  },
};

async function checkTarget(target: Target): Promise<TargetCheck> {
  const { signal } = new AbortController();
  const nothing = { version: null, role: null, recovery: null, encrypted: null, missing: [] };
  try {
    const link = await engineFor(target).connect(target, signal);
    try {
      const missing = await link.check(signal);
      const { version, role, recovery, encrypted } = link.facts;
      const ok = missing.every((one) => !one.fatal);
      return { target: target.name, ok, version, role, recovery, encrypted, error: null, missing };
    } finally {
      await link.close();
    }
  } catch (error) {
    const hint = error instanceof LinkLost && error.hint !== null ? `; ${error.hint}` : "";
    const text = `${error instanceof Error ? error.message : String(error)}${hint}`;
    return { ...nothing, target: target.name, ok: false, error: text };
  }
}

function print({ target, error, version, role, recovery, encrypted, missing }: TargetCheck, output: Output): void {
  if (error !== null) {
    output.out(`${target}: ${error}`);
    return;
  }
  const notes = [
    recovery === true ? "in recovery (a standby)" : "primary",
    encrypted === true ? "TLS" : "not encrypted",
  ];
  output.out(`${target}: ${version}, role ${role}, ${notes.join(", ")}`);
  for (const one of missing) {
    output.out(`  ${one.fatal ? "missing" : "note"}: ${one.missing}`);
    if (one.grant !== "") for (const line of one.grant.trimEnd().split("\n")) output.out(`    ${line}`);
  }
  if (missing.every((one) => !one.fatal)) output.out("  it has what it needs");
}
