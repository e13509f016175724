import { rename, rm, writeFile } from "node:fs/promises";
import { patterns } from "../config/patterns.ts";
import type { Config, Target } from "../config/schema.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { failureText } from "../daemon/once-report.ts";
import { settingsFor } from "../daemon/settings.ts";
import { engineFor } from "../engines/registry.ts";
import { type LookMask, lookMask } from "../masked-look.ts";
import { errorText } from "../owned-file.ts";
import { queryText } from "../query-text.ts";
import { lookPieces } from "../recorded-snapshot.ts";
import type { CommandSpec } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

export const snapshot: CommandSpec = {
  name: "snapshot",
  summary: "records what a look sees now, locks included, as one line of JSON per target, for explain and replay",
  config: true,
  json: true,
  options: [
    { flags: "--out <file>", describe: "write it there, and print what it holds" },
    { flags: "--target <name>", describe: "only this target" },
  ],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const { config, digest } = loaded;
    const name = options["target"];
    const targets = config.targets.filter((target) => name === undefined || target.name === name);
    if (targets.length === 0) {
      const known = config.targets.map((target) => target.name).join(", ");
      output.err(`lockwarden snapshot: --target: expected one of ${known}, got ${JSON.stringify(name)}`);
      return exitCodes.usage;
    }
    const mask = lookMask(await queryText(config.query_text));
    const looks = await Promise.all(targets.map((target) => lookAt(target, { config, digest, mask })));
    for (const look of looks) if (look.snapshot === null) output.err(quietText(`${look.target}: ${look.error}`));
    const lines = looks.flatMap((look) => (look.snapshot === null ? [] : [lineOf(look.snapshot)]));
    const out = options["out"];
    if (typeof out !== "string") for (const line of lines) output.out(line);
    else if (!(await keep(out, lines, output))) return exitCodes.failed;
    else print(looks, { file: out, json, output });
    return looks.every((look) => look.snapshot !== null) ? exitCodes.done : exitCodes.target;
  },
};

type LookedAt = Readonly<{ target: string; snapshot: Snapshot | null; error: string }>;
type Circumstances = Readonly<{ config: Config; digest: string; mask: LookMask }>;

/** Over a connection of its own, so that it works beside a daemon and without one. */
async function lookAt(target: Target, { config, digest, mask }: Circumstances): Promise<LookedAt> {
  const { signal } = new AbortController();
  const { sessions, prepared } = settingsFor(config, digest, target, patterns);
  try {
    const link = await engineFor(target).connect(target, signal);
    try {
      const seen = await link.read({ sessions, prepared, locks: true }, signal);
      const masked = await mask({ snapshot: seen, judgement: null });
      return { target: target.name, snapshot: masked.snapshot, error: "" };
    } finally {
      await link.close();
    }
  } catch (error) {
    return { target: target.name, snapshot: null, error: failureText(error) };
  }
}

function lineOf(seen: Snapshot): string {
  return quietJson([...lookPieces({ snapshot: seen, judgement: null })].join(""));
}

/** Whole or not at all, and not for everybody's eyes. */
async function keep(file: string, lines: readonly string[], output: Output): Promise<boolean> {
  if (lines.length === 0) return true;
  const unfinished = `${file}.${process.pid}.new`;
  try {
    await writeFile(unfinished, lines.map((line) => `${line}\n`).join(""), { mode: 0o640, flag: "wx" });
    await rename(unfinished, file);
    return true;
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    output.err(`lockwarden snapshot: cannot write ${file}: ${errorText(error)}`);
    return false;
  }
}

type Printing = Readonly<{ file: string; json: boolean; output: Output }>;

function print(looks: readonly LookedAt[], { file, json, output }: Printing): void {
  const targets = looks.map(({ target, snapshot: seen, error }) => {
    if (seen === null) return { target, error };
    const { at, sessions, holds, waits, contended, gaps } = seen;
    return {
      target,
      at,
      sessions: sessions.length,
      holds: holds?.length ?? null,
      waits: waits?.length ?? null,
      contended,
      gaps,
    };
  });
  if (json) return output.out(quietJson(JSON.stringify({ file, targets })));
  for (const one of targets) {
    if ("error" in one) continue;
    const counts = `${one.sessions} sessions, ${one.holds ?? "unknown"} locks held, ${one.waits ?? "unknown"} waited for`;
    const gaps = one.gaps.map((gap) => `; not seen: ${gap}`).join("");
    output.out(quietText(`${one.target}: ${counts}: written to ${file}${gaps}`));
  }
}
