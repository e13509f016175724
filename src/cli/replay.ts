import type { LoadedConfig } from "../config/load.ts";
import { patterns } from "../config/patterns.ts";
import type { Config } from "../config/schema.ts";
import type { Trial } from "../core/replay.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { settingsFor } from "../daemon/settings.ts";
import { recordingsFolder } from "../recording-files.ts";
import { compareFiles, type FilesCompared, recordingFiles } from "../replay-files.ts";
import { differs, type ReplayReport, replayLines, replayReport } from "../replay-report.ts";
import type { CommandSpec, Given } from "./command.ts";
import { stateDirOf, usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { wrap } from "./wrap.ts";

type Loaded = Extract<LoadedConfig, { kind: "ok" }>;

export const replay: CommandSpec = {
  name: "replay",
  summary: "runs a changed config over recordings: whom it would act on that was not acted on before, and whom no more",
  config: true,
  json: true,
  arguments: [{ name: "[files...]", describe: "recordings, or folders of them; default: those of the daemon" }],
  options: [
    { flags: "--dir <folder>", describe: "a folder of recordings instead of state_dir/recordings" },
    { flags: "--against <file>", describe: "compare with this config, not with what was decided then" },
    { flags: "--fail-on-difference", describe: "exit with 1 when anybody is acted on otherwise" },
  ],
  async run(given, output): Promise<ExitCode> {
    const { config: file, json, options } = given;
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const oldFile = typeof options["against"] === "string" ? options["against"] : null;
    const old = oldFile === null ? null : usableConfig(oldFile, output);
    if (oldFile !== null && old === null) return exitCodes.usage;
    const { places, named } = placesOf(given, loaded.config);
    const found = await recordingFiles(places, named);
    const compared = await compareFiles(found.files, sidesOf(loaded, old));
    const empty = named && found.broken.length === 0 && compared.broken.length === 0 && compared.comparisons.size === 0;
    const none = empty ? [`no recordings in ${places.join(", ")}: expected at least one recorded look, got none`] : [];
    const broken = [...found.broken, ...compared.broken, ...none];
    const report = replayReport({
      before: { file: oldFile, configs: old === null ? [...compared.configs] : [old.digest] },
      after: { file, config: loaded.digest },
      comparisons: compared.comparisons,
      rules: [...loaded.config.rules, ...(old?.config.rules ?? [])].map(({ name }) => name),
      notes: notesOf(loaded, old, compared),
      torn: compared.torn,
      broken,
      moreBroken: compared.moreBroken,
    });
    print(report, json, output);
    if (report.targets.length === 0 && broken.length === 0 && !json) printNothing(places, output);
    if (broken.length > 0) return exitCodes.failed;
    return options["failOnDifference"] === true && differs(report) ? exitCodes.failed : exitCodes.done;
  },
};

/** `named`: by hand, and so expected to hold something. */
function placesOf(
  { arguments: files, options }: Given,
  config: Config,
): Readonly<{ places: readonly string[]; named: boolean }> {
  const { dir } = options;
  const places = [...files, ...(typeof dir === "string" ? [dir] : [])];
  return places.length > 0 ? { places, named: true } : { places: [recordingsFolder(stateDirOf(config))], named: false };
}

function print(report: ReplayReport, json: boolean, output: Output): void {
  for (const text of report.broken) output.err(quietText(text));
  const { moreBroken } = report;
  if (moreBroken > 0)
    output.err(moreBroken === 1 ? "1 more line is no look either" : `${moreBroken} more lines are no looks either`);
  for (const text of report.torn)
    output.err(quietText(`warning: ${text}; the last line was cut short, and is left out`));
  if (json) return output.out(quietJson(JSON.stringify(report)));
  if (report.targets.length > 0) for (const line of replayLines(report)) say(line, output);
}

function printNothing(places: readonly string[], output: Output): void {
  const what = "the recorder keeps looks at which somebody waited for a lock, or somebody was about to be acted on";
  say(`nothing is recorded in ${places.join(", ")}; ${what}`, output);
}

/** What stands indented goes on indented. */
function say(text: string, output: Output): void {
  const words = quietText(text).trimStart();
  for (const line of wrap(words, output.columns, " ".repeat(text.length - text.trimStart().length))) output.out(line);
}

/** Both sides for each target, made once. */
function sidesOf(loaded: Loaded, old: Loaded | null) {
  const made = new Map<string, Readonly<{ before: Trial | null; after: Trial }>>();
  return (target: string) => {
    const sides = made.get(target) ?? {
      before: old === null ? null : trialOf(old, loaded, target),
      after: trialOf(loaded, old, target),
    };
    made.set(target, sides);
    return sides;
  };
}

/** As if the mode were enforce everywhere: what observe holds back is said beside. */
function trialOf(own: Loaded, other: Loaded | null, target: string): Trial {
  const { config, digest } = own;
  const rules = config.rules.map(({ mode: _mode, ...rule }) => rule);
  const settings = settingsFor({ ...config, rules }, digest, targetOf(config, target), patterns);
  return {
    rules: settings.rules,
    circumstances: {
      config: digest,
      mode: "enforce",
      paused: false,
      leader: true,
      journalled: true,
      protection: settings.protection,
      protectMaintenance: settings.protect.maintenance,
      limits: settings.limits,
    },
    sameProbe: (recordedUnder, rule) => sameProbe([own, other], recordedUnder, rule),
    heldBack: (rule) => heldBackBy(config, target, rule),
  };
}

/** Of a daemon under a config that is neither of these only the other one can tell; where there is none it is taken for the same. */
function sameProbe([own, other]: readonly [Loaded, Loaded | null], recordedUnder: string, rule: string): boolean {
  const text = ({ config }: Loaded) => {
    const probe = config.rules.find(({ name }) => name === rule)?.probe;
    return probe === undefined ? null : JSON.stringify([probe.sql, probe.database ?? null, probe.timeout]);
  };
  return own.digest === recordedUnder || other === null || text(own) === text(other);
}

/** A recording may be of a target that this config does not have: the rules that name no targets are about it too. */
function targetOf(config: Config, name: string): Config["targets"][number] {
  const [first] = config.targets;
  const known = config.targets.find((target) => target.name === name);
  if (known !== undefined) return known;
  if (first === undefined) throw new Error("a config has at least one target");
  return { ...first, name };
}

function heldBackBy(config: Config, target: string, rule: string): string | null {
  if (config.mode === "observe") return "mode is observe";
  if (config.targets.find(({ name }) => name === target)?.mode === "observe")
    return `the mode of target ${target} is observe`;
  return config.rules.find(({ name }) => name === rule)?.mode === "observe"
    ? `the mode of rule ${rule} is observe`
    : null;
}

function notesOf({ config, digest }: Loaded, old: Loaded | null, compared: FilesCompared): readonly string[] {
  const { comparisons, configs } = compared;
  const rules = [...config.rules, ...(old?.config.rules ?? [])];
  const all = [...comparisons.values()];
  const sum = (count: "unjudged" | "stale") => all.reduce((total, one) => total + one[count], 0);
  const acted = all.some((one) => one.cases.size > 0);
  const cases = all.flatMap((one) => [...one.cases.values()]);
  const unprobed = cases.filter(({ before, after }) => before?.unprobed === true || after?.unprobed === true).length;
  const strangers = [...comparisons.keys()].filter((name) => config.targets.every((target) => target.name !== name));
  const notes: readonly (readonly [boolean, string])[] = [
    [
      acted,
      "what a recording shows after an act is not what the other side would have seen: only the first act on a session is compared",
    ],
    [
      acted && old === null,
      "before is what the daemon decided then, whatever its config was; --against compares two configs on equal terms",
    ],
    [
      unprobed > 0,
      `a probe would have been asked: ${unprobed === 1 ? "1 act depends" : `${unprobed} acts depend`} on its answer, which is not on record`,
    ],
    [
      old === null &&
        config.rules.some(({ probe }) => probe !== undefined) &&
        [...configs].some((one) => one !== digest),
      "what was recorded under another config is taken as the answers of these very probes; --against the config of then compares them",
    ],
    [
      sum("unjudged") > 0,
      `snapshots without a daemon's decisions: ${sum("unjudged")}; nobody was acted on in them before`,
    ],
    [sum("stale") > 0, `looks that were not later than the one before them, and are left out: ${sum("stale")}`],
    [strangers.length > 0, `not in this config: ${strangers.join(", ")}; rules without targets were tried on them`],
    [
      config.targets.some((target) => settingsFor(config, "", target, patterns).sessions === "all"),
      "plain idle sessions are recorded only while a rule needs them",
    ],
    [
      rules.some(({ match, except }) => (match.query ?? except?.query) !== undefined),
      "literals in recorded statements are masked: a rule's query is tried on what is left",
    ],
    [
      config.rules.some(({ match: { blocks, waits } }) => blocks === undefined && waits === undefined),
      "looks at which nobody waited, and nobody was about to be acted on, are not recorded: a rule without blocks or waits is tried on the others alone",
    ],
  ];
  return notes.flatMap(([applies, text]) => (applies ? [text] : []));
}
