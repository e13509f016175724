import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { configJsonSchema, type JsonSchema, ruleTestJsonSchema } from "../../src/config/json-schema.ts";
import { configReference, ruleTestReference } from "../../src/config/reference.ts";
import { drifted } from "../support/generated.ts";
import { outcomesOf } from "../support/rule-test-text.ts";

test("the generated files are what the code yields", () => {
  assert.deepEqual(drifted(), []);
});

test("missing generated files are drift", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "lockwarden-"));
  context.after(() => rmSync(folder, { recursive: true }));
  assert.deepEqual(drifted(pathToFileURL(`${folder}/`)), [
    "config/lockwarden.schema.json",
    "config/lockwarden-test.schema.json",
    "docs/configuration.md",
    "docs/rule-tests.md",
  ]);
});

/** Every key of every map in the schema, with its own schema. */
function keys(schema: JsonSchema): readonly (readonly [string, JsonSchema])[] {
  const own = Object.entries(schema.properties ?? {});
  const inner = [...own.map(([, below]) => below), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return [...own, ...inner.flatMap(keys), ...(schema.items === undefined ? [] : keys(schema.items))];
}

for (const [name, schema, page] of [
  ["config", configJsonSchema(), configReference()],
  ["rule tests", ruleTestJsonSchema(), `${ruleTestReference()}${configReference()}`],
] as const)
  test(`every key of a ${name} file has a description and a line in the reference`, () => {
    for (const [key, { description }] of keys(schema)) {
      assert.ok(description !== undefined && description !== "", key);
      if (key !== "wait") assert.ok(page.includes(`| \`${key}\` |`), key);
    }
  });

test("the example on the page of rule tests passes", () => {
  const [, yaml = ""] = /```yaml\n(.*?)```/su.exec(ruleTestReference()) ?? [];
  const config = readFileSync(new URL("../../../config/examples/stuck-login.yaml", import.meta.url), "utf8");
  assert.deepEqual(outcomesOf(yaml, { "/etc/stuck-login.yaml": config }), []);
});

test("a duration's default is written as in a config", () => {
  const target = configJsonSchema().properties?.["targets"]?.items?.properties;
  assert.equal(target?.["statement_timeout"]?.default, "5s");
});
