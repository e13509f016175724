import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { loadConfig } from "../../src/config/load.ts";
import { renderMistake } from "../../src/config/mistake.ts";
import { mistakesOf } from "../support/load-text.ts";

const target = "targets: [{name: app, url: postgres://u@h/d}]";

const floods: readonly (readonly [string, string, RegExp])[] = [
  ["brackets", "[".repeat(250_000), /^c:1:65 expected at most 64 levels, got more$/u],
  ["braces", "{".repeat(250_000), /^c:1:65 expected at most 64 levels, got more$/u],
  ["dashes", "- ".repeat(125_000), /expected at most 64 levels, got more$/u],
  ["nested keys", Array.from({ length: 600 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"), /levels, got more$/u],
  [
    "keys",
    Array.from({ length: 20_001 }, (_, index) => `k${index}: 1`).join("\n"),
    /^c:\d+:\d+ expected at most 20000 values and 64 levels/u,
  ],
  ["anchors of anchors", bomb(), /expected at most 20000 values and 64 levels, aliases counted/u],
];
for (const [name, text, expected] of floods)
  test(`a flood of ${name} is a single mistake`, () => {
    const [first, ...rest] = mistakesOf(text);
    assert.match(first ?? "", expected);
    assert.deepEqual(rest, []);
  });

/** Every line stands for ten times the one before. */
function bomb(): string {
  const lines = Array.from({ length: 12 }, (_, index) => {
    const items = index === 0 ? "x" : Array.from({ length: 10 }, () => `*a${index - 1}`).join(", ");
    return `k${index}: &a${index} [${items}]`;
  });
  return lines.join("\n");
}

test("past a hundred mistakes the rest is counted", () => {
  const told = mistakesOf(`${target}\nrules:\n${"- 1\n".repeat(500)}`);
  assert.equal(told.length, 101);
  assert.equal(told.at(-1), "c: expected no more mistakes, got 400 more: mend these first");
});

function loadBytes(bytes: Uint8Array): unknown {
  return loadConfig("c.yaml", {
    env: {},
    cronMistake: () => null,
    read: () => ({ kind: "ok", text: new TextDecoder().decode(bytes) }),
  });
}

test("random bytes end in mistakes, never in an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.ok(loadBytes(bytes));
    }),
    { numRuns: 300 },
  );
});

const words = [
  "targets",
  "rules",
  "name",
  "match",
  "steps",
  "blocks",
  "for",
  "url",
  "password",
  "type",
  "email",
  "30s",
  "idle",
  "a",
];
const punctuation = [
  ": ",
  "- ",
  "\n",
  "\n  ",
  "[",
  "]",
  "{",
  "}",
  ",",
  "*a",
  "&a ",
  "!x ",
  "|",
  "'",
  '"',
  "#",
  "? ",
  "~",
  "1",
  "${",
  "${A}",
];

test("random YAML ends in mistakes, never in an exception", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...words, ...punctuation), { maxLength: 60 }), (tokens) => {
      assert.ok(mistakesOf(tokens.join("")).length > 0);
    }),
    { numRuns: 1_000 },
  );
});

test("random values in a config's own keys end in mistakes, never in an exception", () => {
  const config = fc.dictionary(
    fc.constantFrom("targets", "rules", "channels", "limits", "protect", "mode"),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(config, (value) => {
      assert.ok(mistakesOf(JSON.stringify(value)).length > 0);
    }),
    { numRuns: 300 },
  );
});

const secret = "hunter2zzz";
const withSecrets = `targets:
  - name: app
    url: postgres://lockwarden:${secret}@db/app?sslmode=require
    password: ${secret}
  - name: other
    url_file: url
    mode: \${MODE}
rules:
  - name: stuck
    match:
      idle_for: 30s
    steps: [terminate]
channels:
  - name: mail
    type: email
    smtp: smtps://me:${secret}@mail
    password: "${secret}"
    from: a@example.org
    to: [b@example.org]
`;
const world = { env: { MODE: secret }, files: { "/etc/url": `postgres:/u:${secret}@h/d` } };

function discreet(text: string): void {
  for (const told of mistakesOf(text, world)) assert.ok(!told.includes("hunter2"), told);
}

test("no message shows a secret, whichever character of the config is wrong", () => {
  for (let at = 0; at < withSecrets.length; at++)
    for (const wrong of ["", "x", "\n", '"'])
      if (!inSecret(at)) discreet(withSecrets.slice(0, at) + wrong + withSecrets.slice(at + 1));
});

test("no message shows a secret, whichever line is missing or a value of another kind", () => {
  const lines = withSecrets.split("\n");
  for (const index of lines.keys()) discreet(lines.toSpliced(index, 1).join("\n"));
  for (const wrong of [
    "[hunter2]",
    "{hunter2: hunter2}",
    "!hunter2 x",
    "*hunter2",
    '"\\hunter2"',
    "| hunter2",
    "&hunter2",
  ])
    for (const key of ["password", "url", "smtp"])
      discreet(withSecrets.replace(new RegExp(`${key}: .*`, "u"), `${key}: ${wrong}`));
});

function inSecret(at: number): boolean {
  return [...withSecrets.matchAll(new RegExp(secret, "gu"))].some(
    ({ index }) => at >= index && at < index + secret.length,
  );
}

test("the config with the secrets is wrong only where it should be", () => {
  const loaded = mistakesOf(withSecrets, world).map((told) => told.replace(/:.*/su, ""));
  assert.equal(loaded.length, 2);
  assert.equal(renderMistake({ file: "c", line: null, column: null, path: "", text: "x" }), "c: x");
});
