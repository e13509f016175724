import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { configJsonSchema, type JsonSchema } from "../../src/config/json-schema.ts";
import { configReference } from "../../src/config/reference.ts";
import { drifted } from "../support/generated.ts";

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
  ]);
});

/** Every key of every map in the schema, with its own schema. */
function keys(schema: JsonSchema): readonly (readonly [string, JsonSchema])[] {
  const own = Object.entries(schema.properties ?? {});
  const inner = [...own.map(([, below]) => below), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return [...own, ...inner.flatMap(keys), ...(schema.items === undefined ? [] : keys(schema.items))];
}

test("every key has a description and a line in the reference", () => {
  const page = configReference();
  for (const [key, { description }] of keys(configJsonSchema())) {
    assert.ok(description !== undefined && description !== "", key);
    if (key !== "wait") assert.ok(page.includes(`| \`${key}\` |`), key);
  }
});

test("a duration's default is written as in a config", () => {
  const target = configJsonSchema().properties?.["targets"]?.items?.properties;
  assert.equal(target?.["statement_timeout"]?.default, "5s");
});
