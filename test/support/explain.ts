import { explanationLines } from "../../src/cli/explain-text.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { Patterns } from "../../src/core/condition.ts";
import { explain } from "../../src/core/explain.ts";
import type { Basis, Explanation, Scope } from "../../src/core/explanation.ts";
import { type History, noHistory } from "../../src/core/history.ts";
import type { Circumstances } from "../../src/core/plan.ts";
import { type CompiledRule, compileRules } from "../../src/core/rules.ts";
import type { Statement } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { circumstancesOf } from "./judge.ts";
import { snapshot as building, type SnapshotBuilder } from "./snapshot.ts";

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
  given: Partial<Circumstances & Scope & { history: History; basis: Basis }> = {},
): Explained {
  const config = configSchema.parse({
    mode: "enforce",
    ...source,
    targets: [{ name: "app", url: "postgres://lockwarden@db/app" }],
  });
  const rules = compileRules(config.rules, patterns);
  const { session = null, all = false, history = noHistory, basis = "daemon", ...more } = given;
  const circumstances = { ...circumstancesOf(config), atMs: snapshot.atMs, ...more };
  const show = ({ query }: Statement) => query?.replace(/'[^']*'/g, "?") ?? null;
  const scope = { session, all };
  const explanation = explain({ snapshot, rules, history, circumstances, basis, scope, show });
  const text = explanationLines(explanation, { columns: 80, detailed: session !== null }).join("\n");
  return { rules, circumstances, explanation, text };
}

/** Frees who waits for a login's row. */
export const stuckLogin = {
  name: "stuck-login",
  match: { state: "idle in transaction", idle_for: "30s", blocks: { tables: ["public.user_session"], for: "5s" } },
  steps: ["terminate"],
};

/** An abandoned transaction, 1, and one person who waits for its row, 2. */
export function stuck(idle = "40s", waited = "20s", described: object = {}): SnapshotBuilder {
  return building()
    .session(1, { idle, ...described })
    .session(2, { xact: waited, query_age: waited })
    .waits(2, { on: 1, for: waited, table: "public.user_session" });
}

/** The block of one session, without the head and the foot. */
export function blockOf(text: string, pid: number): string {
  return text.split("\n\n").find((block) => block.startsWith(`${pid},`)) ?? `nothing of ${pid} in\n${text}`;
}

/** What is said of the first rule about session 1. */
export function verdict(
  look: Snapshot,
  source: Parameters<typeof explained>[1],
  given: Parameters<typeof explained>[2] = {},
) {
  const said = blockOf(explained(look, source, given).text, 1);
  return said.split("\n").find((line) => line.startsWith(`  ${(source.rules[0] as { name: string }).name}: `)) ?? said;
}

export function ruleOf({ sessions }: Explanation, pid: string, name: string) {
  const found = sessions.find(({ who }) => who.kind === "session" && who.pid === pid);
  return found?.rules.find(({ rule }) => rule === name);
}
