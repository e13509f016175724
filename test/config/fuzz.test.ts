import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import { loadConfig } from "../../src/config/load.ts";
import { type Mistake, renderMistake } from "../../src/config/mistake.ts";
import { loadRuleTests } from "../../src/config/rule-test-file.ts";
import { cronMistake } from "../../src/daemon/schedule.ts";

// The config's readers on files that were good once. FUZZ_RUNS: how many of each (default 150); FUZZ_SEED draws the same ones.
const runs = Number(process.env["FUZZ_RUNS"] ?? 150);
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);
const bound = { numRuns: runs, seed };

const folder = new URL("../../../config/", import.meta.url);
const files: Readonly<{ name: string; text: string }>[] = [];
for (const place of ["", "examples/"])
  for (const name of await readdir(new URL(place, folder)))
    if (name.endsWith(".yaml")) files.push({ name, text: await readFile(new URL(place + name, folder), "utf8") });

/** What YAML, JavaScript and regular expressions have been broken with. */
const tricks: readonly string[] = [
  "<<: *a",
  "<<: {steps: [terminate]}",
  "&a [*a]",
  "&a {k: *a}",
  "!!js/function 'x'",
  "!!binary aGk=",
  "!!timestamp 2026-01-01",
  "!!set {a, b}",
  "!!python/object/apply:os.system [id]",
  "%TAG ! tag:x,2026:\n---",
  "%YAML 9.9\n---",
  "---\n---",
  "...",
  "__proto__: {polluted: true}",
  '"__proto__": {polluted: true}',
  "constructor: {prototype: {polluted: true}}",
  "toString: 1",
  "hasOwnProperty: null",
  "mode: enforce\nmode: observe",
  "? [complex, key]\n: 1",
  "? {a: 1}\n: 2",
  "1e999",
  "-0",
  "0x7fffffffffffffffffff",
  "0o777",
  ".nan",
  "-.inf",
  "99999999999999999999s",
  "1e9d",
  "'(a+)+$'",
  '"(?:(?:(?:(?:a*)*)*)*)*b"',
  '"a{1,99999}"',
  `"${"(".repeat(5_000)}"`,
  `"[${"a-z".repeat(2_000)}]"`,
  '"\\\\p{L}{1000}{1000}"',
  "* * * * * * *",
  '"*/0 * * * * *"',
  '"0 0 31 2 *"',
  '{query: "(a", state: active}',
  '{query: "[z-a]", query_for: 1m}',
  '{query: "(?<=x)y(?!z)\\\\1"}',
  "{clients: [10.0.0.0/99, ::/129, fe80::1%0]}",
  '{users: ["\\x00", "**", ""]}',
  "{timezone: Nowhere/None, hours: 25:99-xx}",
  "url: 'postgres://[::bad/%zz'",
  "smtp: 'smtp://%zz@:99999'",
  "${PATH}",
  "${${PATH}}",
  "${__proto__}",
  "\u0000",
  "\ufeff",
  "\ud800",
  "\u2028",
  "\u202e",
  "\t",
  "|\n",
  ">+9\n",
  "'",
  '"\\x"',
  "[".repeat(200),
  "{a: ".repeat(200),
  "- ".repeat(200),
  "&x ".repeat(50),
  "x".repeat(100_000),
];

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const change = fc.oneof(
  fc.record({ kind: fc.constant("insert" as const), at: place, text: fc.constantFrom(...tricks) }),
  fc.record({ kind: fc.constant("line" as const), at: place, text: fc.constantFrom(...tricks) }),
  fc.record({ kind: fc.constant("value" as const), at: place, text: fc.constantFrom(...tricks) }),
  fc.record({ kind: fc.constant("byte" as const), at: place, text: fc.string({ maxLength: 3, unit: "binary" }) }),
  fc.record({ kind: fc.constant("cut" as const), at: place, text: fc.string({ maxLength: 40 }) }),
  fc.record({ kind: fc.constant("repeat" as const), at: place, text: fc.constant("") }),
);

type Change = Readonly<{ kind: "insert" | "line" | "value" | "byte" | "cut" | "repeat"; at: number; text: string }>;

function changed(text: string, { kind, at, text: given }: Change): string {
  const offset = Math.floor(at * text.length);
  const lineStart = text.lastIndexOf("\n", offset) + 1;
  const nextEnd = text.indexOf("\n", offset);
  const lineEnd = nextEnd === -1 ? text.length : nextEnd;
  const line = text.slice(lineStart, lineEnd);
  switch (kind) {
    case "insert":
      return text.slice(0, offset) + given + text.slice(offset);
    case "byte":
      return text.slice(0, offset) + given + text.slice(offset + given.length);
    case "cut":
      return text.slice(0, offset) + text.slice(offset + given.length);
    case "line":
      return `${text.slice(0, lineStart)}${/^ */.exec(line)?.[0] ?? ""}${given}\n${text.slice(lineStart)}`;
    case "value":
      return `${text.slice(0, lineStart)}${line.replace(/: .*$/, () => `: ${given}`)}${text.slice(lineEnd)}`;
    case "repeat":
      return `${text.slice(0, lineEnd)}\n${line}${text.slice(lineEnd)}`;
    default:
      return kind;
  }
}

const mutant = fc
  .tuple(fc.constantFrom(...files), fc.array(change, { minLength: 1, maxLength: 6 }))
  .map(([{ name, text }, changes]) => ({ name, text: changes.reduce(changed, text) }));

function assertTold(mistakes: readonly Mistake[]): void {
  assert.ok(mistakes.length > 0 && mistakes.length <= 101);
  for (const mistake of mistakes) {
    const told = renderMistake(mistake);
    assert.doesNotMatch(told, /\b(?:TypeError|RangeError|undefined|\[object Object\])\b/, told);
    assert.ok(told.length < 4_000, `${told.length} characters: ${told.slice(0, 200)}`);
  }
}

/** Only what is given; a file that a config names is not there. */
function world(name: string, text: string) {
  const read = (file: string) =>
    file.endsWith(name) ? ({ kind: "ok", text } as const) : ({ kind: "bad", reason: "no such file" } as const);
  return { cronMistake, env: { PATH: "/bin" }, read };
}

test("a config that was good once ends in mistakes or in a config, whatever was done to it", (t) => {
  let good = 0;
  fc.assert(
    fc.property(mutant, ({ name, text }) => {
      const loaded = loadConfig(name, world(name, text));
      if (loaded.kind === "bad") assertTold(loaded.mistakes);
      else good += 1;
      assert.equal(Reflect.get({}, "polluted"), undefined);
    }),
    bound,
  );
  t.diagnostic(`seed ${seed}: ${runs} configs, ${good} of them good`);
});

test("a file of rule tests that was good once ends in mistakes or in tests, whatever was done to it", () => {
  fc.assert(
    fc.property(mutant, ({ name, text }) => {
      const loaded = loadRuleTests(name, world(name, text));
      if (loaded.kind === "bad") assertTold(loaded.mistakes);
      assert.equal(Reflect.get({}, "polluted"), undefined);
    }),
    bound,
  );
});

test("each trick alone, and next to nothing, is a mistake", () => {
  for (const text of ["", " ", "\n\n", "#", "---", "~", "null", "[]", "{}", "? ", ...tricks]) {
    const loaded = loadConfig("small.yaml", world("small.yaml", text));
    assert.equal(loaded.kind, "bad");
    if (loaded.kind === "bad") assertTold(loaded.mistakes);
  }
});

test("each trick in each place of a small config is a mistake or harmless", () => {
  const small = `mode: observe\ntargets:\n  - name: app\n    url: postgres://u@h/d\nrules:\n  - name: r\n    match: {idle_for: 1m, query: x}\n    steps: [notify]\n`;
  const lines = small.split("\n");
  for (const trick of tricks) {
    for (const at of lines.keys()) {
      const indented = (/^ */.exec(lines[at] ?? "")?.[0] ?? "") + trick;
      const texts = [
        [...lines.slice(0, at), indented, ...lines.slice(at)],
        lines.map((line, index) => (index === at ? line.replace(/: .*$/, () => `: ${trick}`) : line)),
      ].map((one) => one.join("\n"));
      for (const text of texts) {
        const loaded = loadConfig("small.yaml", world("small.yaml", text));
        if (loaded.kind === "bad") assertTold(loaded.mistakes);
      }
    }
  }
  assert.equal(Reflect.get({}, "polluted"), undefined);
});
