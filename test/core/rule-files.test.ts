import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config/load.ts";
import { renderMistake } from "../../src/config/mistake.ts";
import { decisionText, expectedText } from "../../src/core/expectation.ts";
import { cronMistake } from "../../src/daemon/schedule.ts";
import { type RuleTestResult, runRuleTests } from "../../src/rule-tests.ts";

// The rules' own tests are written as people write theirs: whom a rule selects, who is spared, and the examples of config/.

const root = new URL("../../../", import.meta.url);

function filesIn(folder: string, ending: string): readonly string[] {
  const names = readdirSync(new URL(folder, root)).filter((name) => name.endsWith(ending));
  return names.sort().map((name) => fileURLToPath(new URL(`${folder}${name}`, root)));
}

const examples = filesIn("config/examples/", ".yaml").filter((file) => !file.endsWith(".test.yaml"));

for (const file of [...filesIn("test/rules/", ".test.yaml"), ...filesIn("config/examples/", ".test.yaml")])
  test(`the rule tests of ${nameOf(file)} pass`, async (t) => {
    const ran = runRuleTests(file, { cronMistake, env: {} });
    assert.ok(ran.kind === "ran", ran.kind === "bad" ? ran.mistakes.map(renderMistake).join("\n") : "");
    for (const one of ran.results) await t.test(one.test.name, () => assert.deepEqual(differences(one), []));
  });

function nameOf(file: string): string {
  return file.split("/").slice(-2).join("/");
}

function differences({ failed }: RuleTestResult): readonly string[] {
  return (failed?.failures ?? []).map(({ expected, got, why }) => {
    const wanted = expected === null ? "nothing" : expectedText(expected);
    return `expected ${wanted}, got ${got === null ? "nothing" : decisionText(got)}: ${why}`;
  });
}

test("every example is a good config without warnings, observes at first, and has its rule tests beside it", () => {
  const tested = filesIn("config/examples/", ".test.yaml");
  assert.deepEqual(
    examples.map((file) => file.replace(/yaml$/, "test.yaml")),
    tested,
  );
  for (const file of examples) {
    const loaded = loadConfig(file, { cronMistake, env: {} });
    const said = loaded.kind === "ok" ? loaded.warnings : loaded.mistakes;
    assert.deepEqual(said.map(renderMistake), [], file);
    assert.equal(loaded.kind === "ok" && loaded.config.mode, "observe", file);
  }
});
