import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { configJsonSchema } from "../../src/config/json-schema.ts";
import { mistakesOf, warningsOf } from "../support/load-text.ts";

const page = readFileSync(new URL("../../../docs/rules.md", import.meta.url), "utf8");

test("the examples of the page on rules are rules, without a mistake or a warning", () => {
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gsu)].map(([, text = ""]) => text);
  assert.ok(examples.length >= 4);
  for (const example of examples) {
    const text = `targets: [{name: app, url: postgres://u@h/d}]\nmode: enforce\nrules:\n${example}`;
    assert.deepEqual([mistakesOf(text), warningsOf(text)], [[], []], example);
  }
});

test("the page on rules names every condition", () => {
  const match = configJsonSchema().properties?.["rules"]?.items?.properties?.["match"]?.properties ?? {};
  for (const key of Object.keys(match)) assert.ok(new RegExp(`\\| .*\`${key}[\`.]`, "u").test(page), key);
});
