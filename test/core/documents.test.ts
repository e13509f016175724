import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/** The sources of the tests, of rules too, and the scenarios that every engine has. */
const tests = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((file) => /(?:\.test\.(?:ts|yaml)|scenarios\.ts)$/u.test(file))
  .map((file) => readFileSync(join("test", file), "utf8"))
  .join("\n");

for (const document of ["docs/postgresql.md", "docs/opengauss.md", "docs/oceanbase.md", "docs/promises.md"]) {
  test(`${document} names only tests that are there`, () => {
    const named = [...readFileSync(document, "utf8").matchAll(/“([^”]+)”/gu)].map(([, name]) => name ?? "");
    assert.ok(named.length > 20);
    assert.deepEqual(
      named.filter((name) => !tests.includes(name)),
      [],
    );
  });
}
