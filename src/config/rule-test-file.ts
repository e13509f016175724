import { dirname, resolve } from "node:path";
import type { Expected } from "../core/expectation.ts";
import type { RuleTest, TestLook } from "../core/rule-test.ts";
import { configDigest } from "./digest.ts";
import { type Parsed, type Position, parseYaml } from "./document.ts";
import { ruleTestJsonSchema } from "./json-schema.ts";
import { type LoadedConfig, type LoadOptions, loadConfig, mistakesOf, textMistakes } from "./load.ts";
import { meaningFindings } from "./meaning.ts";
import type { Finding, Mistake, Path } from "./mistake.ts";
import { quote } from "./mistake.ts";
import { readText } from "./read-text.ts";
import { referenceFinding, ruleTestFindings } from "./rule-test-meaning.ts";
import {
  ruleTestSchema,
  type WrittenExpectation,
  type WrittenLook,
  type WrittenRuleTests,
  type WrittenTest,
} from "./rule-test-schema.ts";
import { type Config, configSchema, type Mode, type Target } from "./schema.ts";
import { schemaFindings } from "./schema-findings.ts";
import { fieldAt, placeKey } from "./values.ts";

/** One test with all that it needs to be run. */
export type LoadedRuleTest = Readonly<{
  name: string;
  position: Position;
  mode: Mode;
  config: Config;
  digest: string;
  target: Target;
  test: RuleTest;
  /** Where a line of what a look expects is written, or all of it. */
  positionOf(look: number, line: number | null): Position;
}>;

export type LoadedRuleTests =
  | Readonly<{ kind: "ok"; tests: readonly LoadedRuleTest[] }>
  | Readonly<{ kind: "bad"; mistakes: readonly Mistake[] }>;

const mostBytes = 1024 * 1024;

/** Reads a file of rule tests, and the config that it names; tells all mistakes at once. Never throws. */
export function loadRuleTests(file: string, options: Omit<LoadOptions, "rulesOnly">): LoadedRuleTests {
  const { env = process.env, read = readText, cronMistake } = options;
  const source = read(file, mostBytes);
  if (source.kind === "bad") {
    const text = `expected a readable file of rule tests, got ${source.reason}`;
    return { kind: "bad", mistakes: [{ file, line: null, column: null, path: "", text }] };
  }
  const parsed = parseYaml(source.text, env, { all: "config and tests", needed: "tests, and config or rules" });
  if (parsed.kind === "bad") return { kind: "bad", mistakes: textMistakes(file, parsed) };
  const bad = (findings: readonly Finding[], elsewhere: readonly Mistake[] = []): LoadedRuleTests => {
    return { kind: "bad", mistakes: [...mistakesOf(file, parsed, findings), ...elsewhere] };
  };
  const { value, written, spoiled, findings } = parsed.document;
  if (fieldAt(value, "tests") === undefined && fieldAt(value, "targets") !== undefined)
    return bad([{ path: ["targets"], at: "key", text: configText }]);
  const form = schemaFindings(value, written, { schema: ruleTestSchema, jsonSchema: ruleTestJsonSchema });
  const first = [...findings, ...form, ...ruleFindings(value, written, cronMistake)];
  const heard = first.filter((one) => findings.includes(one) || !spoiled.has(placeKey(one.path)));
  const content = ruleTestSchema.safeParse(value);
  if (!content.success || heard.length > 0) return bad(heard);
  const outer = content.data.config === undefined ? null : named(content.data.config, file, { ...options, env, read });
  if (outer?.kind === "unreadable") return bad([outer.finding]);
  if (outer?.kind === "bad") return bad([], outer.mistakes);
  const meaning = ruleTestFindings(content.data);
  if (meaning.length > 0) return bad(meaning);
  const tests = listOf(value);
  const configs = content.data.tests.map((_test, index) => outer ?? inline(value, tests[index]));
  const names = nameFindings(content.data, configs);
  if (names.length > 0) return bad(names);
  const ready = content.data.tests.flatMap((test, index) => {
    const own = configs[index];
    return own === undefined ? [] : [loaded(test, index, own, parsed)];
  });
  return { kind: "ok", tests: ready };
}

const configText =
  "expected a file of rule tests, got a config: lockwarden check --config FILE checks it, and the config key of a file of tests names it";

type Named = LoadedConfig | Readonly<{ kind: "unreadable"; finding: Finding }>;

function named(config: string, file: string, options: LoadOptions): Named {
  const path = resolve(dirname(resolve(file)), config);
  const outer = loadConfig(path, { ...options, rulesOnly: true });
  if (outer.kind === "ok") return outer;
  const [only] = outer.mistakes;
  if (only === undefined || only.line !== null) return outer;
  const text = `expected the path of a config from this file's folder, got ${quote(config)}: ${only.text}`;
  return { kind: "unreadable", finding: { path: ["config"], at: "value", text } };
}

function listOf(value: unknown): readonly unknown[] {
  const tests = fieldAt(value, "tests");
  return Array.isArray(tests) ? tests : [];
}

type Own = Readonly<{ config: Config; digest: string }>;

/** A test's own rules, limits and protection go before the file's. Both have been found right; they are read as a config is. */
function inline(file: unknown, test: unknown): Own {
  const name = fieldAt(test, "target") ?? "app";
  const own = (key: string): unknown => fieldAt(test, key) ?? fieldAt(file, key);
  const url = "postgres://nobody@localhost";
  const written = configSchema.parse({
    targets: [{ name, url }],
    rules: own("rules"),
    protect: own("protect"),
    limits: own("limits"),
  });
  const config = { ...written, targets: written.targets.map((target) => ({ ...target, url })), channels: [] };
  return { config, digest: configDigest(config) };
}

/** Rules that are written here are judged as in a config, but for whom they tell and where they hold: nobody, nowhere. */
function ruleFindings(
  value: unknown,
  written: ReadonlyMap<string, string>,
  cronMistake: LoadOptions["cronMistake"],
): readonly Finding[] {
  const holders: readonly (readonly [Path, unknown])[] = [
    [[], value],
    ...listOf(value).map((test, index) => [["tests", index], test] as const),
  ];
  return holders.flatMap(([path, holder]) => {
    const rules = fieldAt(holder, "rules");
    const meaning = meaningFindings({ value: { mode: "enforce", rules }, written, cronMistake });
    return meaning.mistakes
      .filter(({ path: [, , key] }) => key !== "notify" && key !== "targets")
      .map((finding) => ({ ...finding, path: [...path, ...finding.path] }));
  });
}

function nameFindings({ config, tests }: WrittenRuleTests, owns: readonly (Own | undefined)[]): readonly Finding[] {
  return tests.flatMap(({ target, probes, looks }, index) => {
    const own = owns[index]?.config;
    if (own === undefined) return [];
    const path = ["tests", index];
    const targets = own.targets.map(({ name }) => name);
    const rules = own.rules.map(({ name }) => name);
    const asking = own.rules.filter(({ probe }) => probe !== undefined).map((rule) => rule.name);
    const answers = [
      ...probeFindings([...path, "probes"], probes, asking),
      ...looks.flatMap((look, at) => probeFindings([...path, "looks", at, "probes"], look.probes, asking)),
    ];
    const lines = looks.flatMap((look, at) =>
      (look.expect ?? []).flatMap(({ rule }, line) =>
        rule === undefined
          ? []
          : referenceFinding([...path, "looks", at, "expect", line, "rule"], rule, "rules", rules),
      ),
    );
    const unknown = config === undefined || target === undefined;
    return [
      ...(unknown ? [] : referenceFinding([...path, "target"], target, "targets", targets)),
      ...answers,
      ...lines,
    ];
  });
}

function probeFindings(path: Path, probes: WrittenTest["probes"], asking: readonly string[]): readonly Finding[] {
  return Object.keys(probes ?? {})
    .flatMap((rule) => referenceFinding([...path, rule], rule, "rules with a probe", asking))
    .map((finding) => ({ ...finding, at: "key" }));
}

function loaded(
  { name, start, mode, target, probes, looks }: WrittenTest,
  index: number,
  { config, digest }: Own,
  { document, position }: Extract<Parsed, { kind: "ok" }>,
): LoadedRuleTest {
  const at = (of: "key" | "value", path: Path): Position =>
    position(document.places.get(placeKey(["tests", index, ...path]))?.[of] ?? 0);
  const [first] = config.targets;
  const chosen = config.targets.find((one) => one.name === target) ?? first;
  if (chosen === undefined) throw new Error("a config without targets was taken for a good one");
  return {
    name,
    position: at("value", ["name"]),
    mode,
    config,
    digest,
    target: chosen,
    test: { startMs: start, probes: probes ?? {}, looks: looks.map(testLook) },
    positionOf: (look, line) =>
      line === null ? at("key", ["looks", look, "expect"]) : at("value", ["looks", look, "expect", line]),
  };
}

function testLook({ at, sessions, prepared, probes, gone, expect }: WrittenLook): TestLook {
  return {
    afterMs: at,
    probes: probes ?? {},
    sessions: sessions.map(withLocktype),
    prepared,
    gone,
    expect: expect?.flatMap(expectations) ?? null,
  };
}

/** A wait for a table lock is known by its mode; rows are waited for in one mode only. */
function withLocktype(session: WrittenLook["sessions"][number]): TestLook["sessions"][number] {
  const { waits } = session;
  if (waits?.mode === undefined || waits.locktype !== undefined) return session;
  return { ...session, waits: { ...waits, locktype: "relation" } };
}

function expectations(one: WrittenExpectation, line: number): readonly Expected[] {
  const { pid = [], gid = [], rule = null, reason = null } = one;
  return [...pid.map((id) => ({ pid: id })), ...gid.map((id) => ({ gid: id }))].flatMap((who): readonly Expected[] => {
    const common = { line, who, rule, reason };
    if (one.act !== undefined) return [{ ...common, kind: "act", action: one.act, outcome: one.outcome ?? "released" }];
    if (one.wait !== undefined) return [{ ...common, kind: "wait", action: one.wait, inMs: one.in ?? null }];
    return one.spare === undefined ? [] : [{ ...common, kind: "spare", action: one.action ?? null, by: one.spare }];
  });
}
