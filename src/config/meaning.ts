import { shadows } from "../core/never-fires.ts";
import { formatDuration, parseDuration } from "./duration.ts";
import { engineKeyFindings } from "./engine-keys.ts";
import { didYouMean, either, type Finding, type Path, renderValue } from "./mistake.ts";
import { probeWarnings } from "./probe-safety.ts";
import { ruleSafety, type Safety } from "./rule-safety.ts";
import { configSchema, type Rule, ruleSchema } from "./schema.ts";
import { fieldAt, placeKey } from "./values.ts";

/** null when a cron expression is fine, else `expected …, got …`. */
export type CronMistake = (expression: string) => string | null;

export type Meaning = Readonly<{
  value: Readonly<Record<string, unknown>>;
  written: ReadonlyMap<string, string>;
  cronMistake: CronMistake;
}>;

const shortestPollMs = 100;

/** Five or six fields, or a word for them, of what can stand in a cron expression. Anything else might be a secret. */
const cronLike = /^(?:@\w+|(?:[\w*,/#?-]{1,40}\s+){4,5}[\w*,/#?-]{1,40})$/u;

/** What the parts of a config mean together. Parts whose form is wrong are left out: that is said elsewhere. */
export function meaningFindings(meaning: Meaning): Safety {
  const rules = listAt(meaning.value, "rules").map((rule, index) => ruleFindings(meaning, rule, ["rules", index]));
  return {
    mistakes: [
      ...["targets", "rules", "channels"].flatMap((section) => nameFindings(meaning, section)),
      ...listAt(meaning.value, "targets").flatMap((target, index) => pollFindings(meaning, target, ["targets", index])),
      ...listAt(meaning.value, "targets").flatMap((target, index) => engineKeyFindings(target, ["targets", index])),
      ...rules.flatMap(({ mistakes }) => mistakes),
    ],
    warnings: [
      ...modeWarnings(meaning.value),
      ...targetModeWarnings(meaning.value),
      ...rules.flatMap(({ warnings }) => warnings),
      ...shadowWarnings(meaning.value),
      ...probeWarnings(meaning.value),
    ],
  };
}

function listAt(value: unknown, key: string): readonly unknown[] {
  const list = fieldAt(value, key);
  return Array.isArray(list) ? list : [];
}

function namesOf(value: unknown, section: string): readonly string[] {
  const names = listAt(value, section).map((item) => fieldAt(item, "name"));
  return [...new Set(names.filter((name) => typeof name === "string"))];
}

function shown({ written }: Meaning, value: unknown, path: Path): string {
  return renderValue(value, path, written.get(placeKey(path)));
}

function nameFindings(meaning: Meaning, section: string): readonly Finding[] {
  const seen = new Set<string>();
  return listAt(meaning.value, section).flatMap((item, index) => {
    const name = fieldAt(item, "name");
    const path = [section, index, "name"];
    const again = typeof name === "string" && seen.has(name);
    if (typeof name === "string") seen.add(name);
    const text = `expected a name that no other of the ${section} has, got ${shown(meaning, name, path)} again`;
    return again ? [{ path, at: "value", text }] : [];
  });
}

function ruleFindings(meaning: Meaning, written: unknown, path: Path): Safety {
  const names = [
    ...referenceFindings(meaning, [...path, "targets"], fieldAt(written, "targets"), "targets"),
    ...referenceFindings(meaning, [...path, "notify"], fieldAt(written, "notify"), "channels"),
  ];
  const parsed = ruleSchema.safeParse(written);
  if (!parsed.success) return { mistakes: names, warnings: [] };
  const below = (finding: Finding): Finding => ({ ...finding, path: [...path, ...finding.path] });
  const protect = configSchema.shape.protect.safeParse(fieldAt(meaning.value, "protect"));
  const { mistakes, warnings } = ruleSafety(parsed.data, protect.data ?? null);
  return { mistakes: [...names, ...mistakes.map(below)], warnings: warnings.map(below) };
}

function referenceFindings(meaning: Meaning, path: Path, written: unknown, section: string): readonly Finding[] {
  const known = namesOf(meaning.value, section);
  const listed = Array.isArray(written);
  return (listed ? written : [written]).flatMap((name: unknown, index) => {
    if (typeof name !== "string" || name === "" || known.includes(name)) return [];
    const at = listed ? [...path, index] : path;
    const meant = meaning.written.has(placeKey(at)) ? "" : didYouMean(name, known);
    const few = known.length > 0 && known.length <= 8 ? ` (${either(known)})` : "";
    const text = `expected the name of one of the ${section}${few}, got ${shown(meaning, name, at)}${meant}`;
    return [{ path: at, at: "value", text }];
  });
}

function pollFindings(meaning: Meaning, target: unknown, path: Path): readonly Finding[] {
  const { cronMistake } = meaning;
  const poll = fieldAt(target, "poll");
  if (typeof poll !== "string" || poll === "") return [];
  const at = [...path, "poll"];
  const ms = parseDuration(poll);
  if (ms !== null && ms >= shortestPollMs) return [];
  const isCron = ms === null && cronLike.test(poll);
  const wrong = isCron ? cronMistake(poll) : pollForm(ms, shown(meaning, poll, at));
  if (wrong === null) return [];
  const text = isCron && meaning.written.has(placeKey(at)) ? pollForm(ms, shown(meaning, poll, at)) : wrong;
  return [{ path: at, at: "value", text }];
}

function pollForm(ms: number | null, got: string): string {
  const form = "a duration such as 5s, or a cron expression of five or six fields";
  return ms === null
    ? `expected ${form}, got ${got}`
    : `expected at least ${formatDuration(shortestPollMs)}, got ${got}`;
}

/** observe anywhere wins, so enforce below it does nothing. */
function modeWarnings(value: unknown): readonly Finding[] {
  if ((fieldAt(value, "mode") ?? "observe") !== "observe") return [];
  return ["targets", "rules"].flatMap((section) =>
    listAt(value, section).flatMap((item, index): readonly Finding[] => {
      const text = "expected mode: enforce at the top too, got observe there: observe wins, nothing is done";
      return fieldAt(item, "mode") === "enforce" ? [{ path: [section, index, "mode"], at: "value", text }] : [];
    }),
  );
}

/** A rule that enforces where every one of its targets observes. */
function targetModeWarnings(value: unknown): readonly Finding[] {
  if (fieldAt(value, "mode") !== "enforce") return [];
  const targets = listAt(value, "targets");
  return listAt(value, "rules").flatMap((rule, index): readonly Finding[] => {
    const named = fieldAt(rule, "targets");
    const names: readonly unknown[] = Array.isArray(named) ? named : [named];
    const own = named === undefined ? targets : targets.filter((target) => names.includes(fieldAt(target, "name")));
    if (fieldAt(rule, "mode") !== "enforce" || own.length === 0) return [];
    if (!own.every((target) => fieldAt(target, "mode") === "observe")) return [];
    const text =
      "expected a target of its own in mode enforce, got only ones in observe: observe wins, nothing is done";
    return [{ path: ["rules", index, "mode"], at: "value", text }];
  });
}

/** The same sessions as an earlier rule: nothing is left for the later one. */
function shadowWarnings(value: unknown): readonly Finding[] {
  const parsed = listAt(value, "rules").map((rule) => ruleSchema.safeParse(rule));
  const sound = parsed.flatMap((one, index): readonly Readonly<{ index: number; rule: Rule }>[] =>
    one.success ? [{ index, rule: one.data }] : [],
  );
  return shadows(sound.map(({ rule }) => rule)).flatMap((earlier, at): readonly Finding[] => {
    const index = sound[at]?.index;
    if (earlier === null || index === undefined) return [];
    const text = `expected conditions that no earlier rule has, got those of rule ${earlier.name}: that one acts, and this one finds nothing left to do`;
    return [{ path: ["rules", index, "match"], at: "value", text }];
  });
}
