import { explanationLines } from "../../src/cli/explain-text.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { Patterns } from "../../src/core/condition.ts";
import { explain } from "../../src/core/explain.ts";
import type { Explanation, Scope } from "../../src/core/explanation.ts";
import { type History, noHistory } from "../../src/core/history.ts";
import type { Circumstances } from "../../src/core/plan.ts";
import { type CompiledRule, compileRules } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { circumstancesOf } from "./judge.ts";

const patterns: Patterns = {
  regex: (source) => (text) => new RegExp(source).test(text),
  cidr: (ranges) => (address) => ranges.includes(address),
};

export type Explained = Readonly<{
  rules: readonly CompiledRule[];
  circumstances: Circumstances;
  explanation: Explanation;
  /** As people see it at 80 columns. */
  text: string;
}>;

/** What would be said of a look under a config. */
export function explained(
  snapshot: Snapshot,
  source: Readonly<{ rules: readonly object[]; protect?: object; limits?: object; mode?: string }>,
  given: Partial<Circumstances & Scope & { history: History }> = {},
): Explained {
  const config = configSchema.parse({
    mode: "enforce",
    ...source,
    targets: [{ name: "app", url: "postgres://lockwarden@db/app" }],
  });
  const rules = compileRules(config.rules, patterns);
  const { session = null, all = false, history = noHistory, ...more } = given;
  const circumstances = { ...circumstancesOf(config), atMs: snapshot.atMs, ...more };
  const show = (query: string) => query.replace(/'[^']*'/g, "?");
  const scope = { session, all };
  const explanation = explain({ snapshot, rules, history, circumstances, basis: "daemon", scope, show });
  const text = explanationLines(explanation, { columns: 80, detailed: session !== null }).join("\n");
  return { rules, circumstances, explanation, text };
}
