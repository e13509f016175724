import type { Config, Target } from "../config/schema.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { failureText } from "../daemon/once-report.ts";
import type { Missing, ServerFacts } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";
import type { CommandSpec } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { wrap } from "./wrap.ts";

type TargetCheck = Readonly<{
  target: string;
  ok: boolean;
  engine: string;
  version: string | null;
  role: string | null;
  recovery: boolean | null;
  encrypted: boolean | null;
  error: string | null;
  missing: readonly Missing[];
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
    if (json) output.out(quietJson(JSON.stringify({ config: { file, digest, mode: config.mode }, targets })));
    else {
      prose(`${file}: fine: ${extent(config)}, mode ${config.mode}, digest ${digest}`, "", output);
      for (const target of targets) print(target, output);
    }
    return targets.every(({ ok }) => ok) ? exitCodes.done : exitCodes.target;
  },
};

async function checkTarget(target: Target): Promise<TargetCheck> {
  const { signal } = new AbortController();
  const engine = engineFor(target);
  const nothing = { version: null, role: null, recovery: null, encrypted: null, missing: [] };
  try {
    const link = await engine.connect(target, signal);
    try {
      const missing = await link.check(signal);
      const { version, role, recovery, encrypted }: ServerFacts = link.facts;
      const ok = missing.every((one) => !one.fatal);
      return { target: target.name, ok, engine: engine.name, version, role, recovery, encrypted, error: null, missing };
    } finally {
      await link.close();
    }
  } catch (error) {
    return { ...nothing, target: target.name, ok: false, engine: engine.name, error: failureText(error) };
  }
}

function print({ target, ok, engine, error, missing, ...facts }: TargetCheck, output: Output): void {
  if (error !== null) return prose(`${target}: ${error}`, "", output);
  const { version, role, recovery, encrypted } = facts;
  const standing = `${recovery === true ? "a standby" : "primary"}, ${encrypted === true ? "TLS" : "not encrypted"}`;
  const verdict = ok ? "fine" : "lacks what is needed";
  prose(`${target}: ${verdict}: ${engine} ${version}, role ${role}, ${standing}`, "", output);
  for (const one of missing) {
    prose(`${one.fatal ? "missing" : "note"}: ${one.missing}`, "  ", output);
    // Never broken into lines of our own: it is there to be copied.
    if (one.grant !== "") for (const line of one.grant.trimEnd().split("\n")) output.out(`    ${line}`);
  }
}

function prose(text: string, indent: string, output: Output): void {
  for (const line of wrap(quietText(text), output.columns, indent)) output.out(line);
}

function extent({ rules, targets }: Config): string {
  const count = (many: readonly unknown[], word: string) => `${many.length} ${word}${many.length === 1 ? "" : "s"}`;
  return `${count(rules, "rule")}, ${count(targets, "target")}`;
}
