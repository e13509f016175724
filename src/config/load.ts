import { dirname, resolve } from "node:path";
import { configDigest } from "./digest.ts";
import { type ConfigDocument, type Parsed, parseYaml } from "./document.ts";
import { type CronMistake, meaningFindings } from "./meaning.ts";
import { type Finding, type Mistake, type Path, renderPath } from "./mistake.ts";
import { type ReadText, readText } from "./read-text.ts";
import { type Config, configSchema, type WrittenConfig } from "./schema.ts";
import { schemaFindings } from "./schema-findings.ts";
import { type Files, type Loaded, type Resolved, resolveChannel, resolveTarget } from "./secrets.ts";
import { fieldAt, placeKey } from "./values.ts";

export type LoadedConfig =
  | Readonly<{ kind: "ok"; config: Config; digest: string; warnings: readonly Mistake[] }>
  | Readonly<{ kind: "bad"; mistakes: readonly Mistake[] }>;

export type LoadOptions = Readonly<{
  /** What is wrong with a cron expression, or null: whoever runs the schedule knows. */
  cronMistake: CronMistake;
  env?: NodeJS.ProcessEnv;
  read?: ReadText;
  /** The rules are wanted, not the way to servers and people: secrets and variables for that need not be there. */
  rulesOnly?: boolean;
}>;

const mostConfigBytes = 256 * 1024;
const mostMistakes = 100;

/** Reads and judges a whole config; tells all of its mistakes at once, in the order of their places. Never throws. */
export function loadConfig(
  file: string,
  { cronMistake, env = process.env, read = readText, rulesOnly = false }: LoadOptions,
): LoadedConfig {
  const source = read(file, mostConfigBytes);
  if (source.kind === "bad") {
    const text = `expected a readable config file, got ${source.reason}`;
    return { kind: "bad", mistakes: [{ file, line: null, column: null, path: "", text }] };
  }
  const parsed = parseYaml(source.text, env);
  if (parsed.kind === "bad") return { kind: "bad", mistakes: textMistakes(file, parsed) };
  const other = otherKind(parsed.document.value);
  if (other !== null) return { kind: "bad", mistakes: mistakesOf(file, parsed, [other]) };
  const files = { folder: dirname(resolve(file)), read, rulesOnly };
  const { mistakes, warnings, config } = judge(parsed.document, cronMistake, files);
  const located = (findings: readonly Finding[]): readonly Mistake[] => mistakesOf(file, parsed, findings);
  if (config === null) return { kind: "bad", mistakes: located(mistakes) };
  return { kind: "ok", config, digest: configDigest(config), warnings: located(warnings) };
}

/** A file of rule tests, by mistake. */
function otherKind(value: unknown): Finding | null {
  if (fieldAt(value, "tests") === undefined || fieldAt(value, "targets") !== undefined) return null;
  const text = "expected a config, got a file of rule tests: lockwarden test FILE runs it";
  return { path: ["tests"], at: "key", text };
}

type Judgement = Readonly<{
  mistakes: readonly Finding[];
  warnings: readonly Finding[];
  /** null when there is a mistake. */
  config: Config | null;
}>;

function judge(
  { value, written, ...document }: ConfigDocument,
  cronMistake: CronMistake,
  { rulesOnly, ...files }: Files & Readonly<{ rulesOnly: boolean }>,
): Judgement {
  const raw = value as Readonly<Record<string, unknown>>;
  const meaning = meaningFindings({ value: raw, written, cronMistake });
  const targets = items(raw["targets"]).map((item, index) => resolveTarget(item, ["targets", index], files));
  const channels = items(raw["channels"]).map((item, index) => resolveChannel(item, ["channels", index], files));
  const own = [...targets, ...channels].flatMap(({ findings }) => findings);
  const later = [...schemaFindings(value, written), ...meaning.mistakes, ...own];
  const warnings = [...meaning.warnings, ...[...targets, ...channels].flatMap((one) => one.warnings ?? [])];
  const all = [...document.findings, ...later.filter(({ path }) => !document.spoiled.has(placeKey(path)))];
  const parsed = configSchema.safeParse(value);
  const mistakes = rulesOnly && parsed.success ? all.filter(({ path }) => !isWay(path)) : all;
  if (mistakes.length > 0 || !parsed.success) return { mistakes, warnings, config: null };
  return { mistakes, warnings, config: effective(parsed.data, { targets, channels }, files.folder) };
}

/** To a server, or to people. */
function isWay([section]: Path): boolean {
  return section === "targets" || section === "channels";
}

type AllResolved = Readonly<Record<"targets" | "channels", readonly Loaded<Resolved>[]>>;

/** The config with what its files say; the keys that named the files are gone where the file has been read. */
function effective(written: WrittenConfig, resolved: AllResolved, folder: string): Config {
  return {
    ...written,
    targets: written.targets.map(({ url_file: _url, ...target }, index) => {
      const files = resolved.targets[index]?.value;
      return { ...target, ...files, url: files?.url ?? "" };
    }),
    channels: written.channels.map((channel, index) => {
      if (channel.type === "log") return channel;
      const { smtp_file: _smtp, ...rest } = channel;
      const files = resolved.channels[index]?.value;
      return { ...rest, ...files, smtp: files?.smtp ?? "" };
    }),
    ...(written.state_dir === undefined ? {} : { state_dir: resolve(folder, written.state_dir) }),
  };
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** What is wrong with the text itself, at its places. */
export function textMistakes(file: string, parsed: Extract<Parsed, { kind: "bad" }>): readonly Mistake[] {
  const found = parsed.mistakes.map(({ offset, text }) => ({ offset, path: "", text }));
  return inOrder(file, found, parsed.position);
}

/** Findings at their places, in the order of them. */
export function mistakesOf(
  file: string,
  { document, position }: Extract<Parsed, { kind: "ok" }>,
  findings: readonly Finding[],
): readonly Mistake[] {
  return inOrder(file, locate(document, findings), position);
}

type Located = Readonly<{ offset: number; path: string; text: string }>;

/** A missing key is shown at the map that lacks it. */
function locate({ places }: ConfigDocument, findings: readonly Finding[]): readonly Located[] {
  return findings.map(({ path, at, text, offset }) => {
    let length = path.length;
    while (length > 0 && !places.has(placeKey(path.slice(0, length)))) length -= 1;
    const found = places.get(placeKey(path.slice(0, length)));
    const own = length === path.length && at === "key" ? found?.key : found?.value;
    return { offset: offset ?? own ?? 0, path: renderPath(path), text };
  });
}

function inOrder(file: string, found: readonly Located[], position: Parsed["position"]): readonly Mistake[] {
  const sorted = found.toSorted((one, other) => one.offset - other.offset || (one.path < other.path ? -1 : 1));
  const mistakes = sorted.slice(0, mostMistakes).map(({ offset, path, text }): Mistake => {
    return { file, ...position(offset), path, text };
  });
  const more = sorted.length - mistakes.length;
  const text = `expected no more mistakes, got ${more} more: mend these first`;
  return more === 0 ? mistakes : [...mistakes, { file, line: null, column: null, path: "", text }];
}
