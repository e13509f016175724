import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configJsonSchema, ruleTestJsonSchema } from "../../src/config/json-schema.ts";
import { configReference } from "../../src/config/reference.ts";

// Files that are made from the code. As a script: compares them, or writes them with --write.

const root = new URL("../../../", import.meta.url);

export const generated: Readonly<Record<string, () => string>> = {
  "config/lockwarden.schema.json": () => `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
  "config/lockwarden-test.schema.json": () => `${JSON.stringify(ruleTestJsonSchema(), null, 2)}\n`,
  "docs/configuration.md": configReference,
};

/** The generated files that differ from what the code yields, or are missing. */
export function drifted(folder: URL = root): readonly string[] {
  return Object.entries(generated).flatMap(([file, make]) => {
    try {
      return readFileSync(new URL(file, folder), "utf8") === make() ? [] : [file];
    } catch {
      return [file];
    }
  });
}

if (fileURLToPath(import.meta.url) === realpathSync(process.argv[1] ?? ".")) {
  if (process.argv.includes("--write"))
    for (const [file, make] of Object.entries(generated)) writeFileSync(new URL(file, root), make());
  const stale = drifted();
  if (stale.length > 0) {
    console.error(`expected ${stale.join(", ")} as the code yields them, got others: run npm run gen`);
    process.exitCode = 1;
  }
}
