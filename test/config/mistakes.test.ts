import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import { renderMistake } from "../../src/config/mistake.ts";
import { mistakesOf } from "../support/load-text.ts";

const fixtures = new URL("../../../test/fixtures/config/", import.meta.url);

function fixture(name: string): string {
  return readFileSync(new URL(name, fixtures), "utf8");
}

test("all mistakes of a config are told at once, in the order of their places", () => {
  const expected = fixture("everything-wrong.txt").trimEnd().split("\n");
  const files = { "/etc/allow.url": "postgres://u:hunter2@db/app?sslmode=allow\n" };
  assert.deepEqual(mistakesOf(fixture("everything-wrong.yaml"), { files }), expected);
});

const target = "targets: [{name: app, url: postgres://u@h/d}]";
const rules = "rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]";
const good = `${target}\n${rules}\n`;

const whole: readonly (readonly [string, string, readonly string[]])[] = [
  ["a good config has no mistake", good, []],
  ["an empty file", "", ["c:1:1 expected targets, rules and channels, got an empty file"]],
  ["only comments", "# later\n", ["c:1:1 expected targets, rules and channels, got an empty file"]],
  ["a list at the top", "- a\n", ["c:1:1 expected a map with targets and rules, got a list"]],
  ["a text at the top", "hello\n", ["c:1:1 expected a map with targets and rules, got a single value"]],
  ["several documents", `${good}---\n${good}`, ["c:3:1 expected one YAML document, got several"]],
  [
    "missing keys at the top",
    "mode: observe\n",
    ["c:1:1 rules: expected a list, got nothing", "c:1:1 targets: expected a list, got nothing"],
  ],
  [
    "an unclosed quote",
    `${good}mode: "obs`,
    ['c:3:11 expected valid YAML, got something else: missing closing "quote'],
  ],
  ["a tab", `${good}limits:\n\tper_tick: 1\n`, ["c:4:1 expected spaces as indentation, not tabs, got something else"]],
  [
    "a bare star",
    `${target}\nrules: [{name: r, match: {users: *, idle_for: 30s}, steps: [terminate]}]\n`,
    ["c:2:34 expected quotes around a value that starts with * or &, got something else"],
  ],
  [
    "an alias of nothing",
    `${target}\nrules: *later\n`,
    [
      "c:2:8 rules: expected an alias of an anchor that stands before it, got another; a value that starts with * goes in quotes",
    ],
  ],
  [
    "an alias of itself",
    `${target}\nrules: &r [*r]\n`,
    [
      "c:2:12 rules.0: expected an alias of an anchor that stands before it, got another; a value that starts with * goes in quotes",
    ],
  ],
  [
    "a tag",
    `${good}mode: !secret observe\n`,
    ["c:3:7 expected no tag; a value that starts with ! goes in quotes, got something else"],
  ],
  ["a key twice", `${good}mode: observe\nmode: enforce\n`, ['c:4:1 mode: expected each key once, got "mode" again']],
  ["a key that is a list", `${good}? [a]\n: b\n`, ["c:3:3 expected a text as key, got something else"]],
  [
    "a key of every object",
    `${good}__proto__: {mode: enforce}\n`,
    ['c:3:1 __proto__: expected a known key, got "__proto__"'],
  ],
  [
    "an unset variable",
    `${good}state_dir: \${HOME}/\${STATE}\n`,
    ["c:3:12 state_dir: expected the environment variable HOME, STATE to be set, got nothing"],
  ],
  [
    "a broken variable",
    `${good}state_dir: \${STATE-x}\n`,
    ["c:3:12 state_dir: expected ${NAME} of an environment variable, or $${ for a literal ${, got another ${"],
  ],
  [
    "a key on the wrong level",
    `${good}per_tick: 5\n`,
    ['c:3:1 per_tick: expected a known key, got "per_tick"; it belongs under "limits"'],
  ],
  [
    "a way to end sessions that only other servers have",
    `targets: [{name: a, engine: postgres, url: postgres://u@h/d, kill_with: guarded}, {name: b, url: "oceanbase://u@t@h", kill_with: kill-session}, {name: c, engine: gaussdb, url: postgres://u@h/d, kill_with: kill-session}]\n${rules}\n`,
    [
      "c:1:62 targets.0.kill_with: expected kill_with only where engine is opengauss or gaussdb, got it beside postgres: leave it out",
      "c:1:119 targets.1.kill_with: expected kill_with only where engine is opengauss or gaussdb, got it beside oceanbase: leave it out",
    ],
  ],
  [
    "a key that is not there yet",
    `${good}digest: {}\n`,
    ['c:3:1 digest: expected nothing here: "digest" is not there yet'],
  ],
];
for (const [name, text, expected] of whole)
  test(`${name} is told exactly`, () => {
    assert.deepEqual(mistakesOf(text), expected);
  });

test("YAML 1.1 does not turn words into truth values, and dates stay text", () => {
  const text = `%YAML 1.1\n---\n${target}\nrules: [{name: no, match: {idle_for: 30s, users: [on, 2020-01-01]}, steps: [terminate]}]\n`;
  assert.deepEqual(mistakesOf(text), []);
});

test("a value from the environment is not shown, wherever it stands", () => {
  const text = `${good}mode: \${MODE}\n`;
  assert.deepEqual(mistakesOf(text, { env: { MODE: "hunter2" } }), [
    'c:3:7 mode: expected observe or enforce, got the value of "${MODE}"',
  ]);
});

test("a URL under the wrong key does not show its account", () => {
  assert.deepEqual(mistakesOf(`${good}mode: postgres://u:hunter2@h/d\n`), [
    'c:3:7 mode: expected observe or enforce, got "postgres://…@h/d"',
  ]);
});

test("a value is quoted, cut and kept on one line", () => {
  const got = mistakesOf(`${good}mode: "a\\n\\e[31m${"x".repeat(100)}"\n`);
  assert.deepEqual(got, [`c:3:7 mode: expected observe or enforce, got "a\\n\\u001b[31m${"x".repeat(53)}…"`]);
});

const unreadable: readonly (readonly [string, string, string])[] = [
  ["a missing file", "/nonexistent/c.yaml", "no such file"],
  ["a folder", "/", "a directory"],
  ["an endless device", "/dev/zero", "more than 256 KiB"],
];
for (const [name, file, reason] of unreadable)
  test(`${name} is a single mistake`, () => {
    const loaded = loadConfig(file, { cronMistake: () => null });
    assert.equal(loaded.kind, "bad");
    const mistakes = loaded.kind === "bad" ? loaded.mistakes.map(renderMistake) : [];
    assert.deepEqual(mistakes, [`${file}: expected a readable config file, got ${reason}`]);
  });
