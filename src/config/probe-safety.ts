import { formatDuration, parseDuration } from "./duration.ts";
import type { Finding, Path } from "./mistake.ts";
import { type Rule, ruleSchema } from "./schema.ts";
import { statementFlaw } from "./statement-end.ts";
import { fieldAt } from "./values.ts";

function finding(path: Path, text: string): Finding {
  return { path, at: "value", text };
}

/** The findings' paths begin at the rule. */
export function probeMistakes({ probe, steps }: Rule): readonly Finding[] {
  if (probe === undefined) return [];
  const acts = steps.some((step) => typeof step !== "object" && step !== "notify");
  const idle = "expected a step that acts beside probe, got none: there is nothing that it could confirm";
  const flaw = statementFlaw(probe.sql);
  const texts = {
    several: "expected one statement, got several: only blanks and comments may follow its semicolon",
    parameter:
      "expected a statement that is complete, got one with a parameter such as $1: a probe takes no parameters",
  };
  return [
    ...(acts ? [] : [finding(["probe"], idle)]),
    ...(flaw === null ? [] : [finding(["probe", "sql"], texts[flaw])]),
  ];
}

/** The schema's default. */
const usualStatementTimeout = "5s";

/** Half of a statement's time is what one wait for a lock may take. `value`: the config, of which parts may be wrong. */
export function probeWarnings(value: unknown): readonly Finding[] {
  const targets = listOf(fieldAt(value, "targets")).flatMap((target) => {
    const said = fieldAt(target, "statement_timeout") ?? usualStatementTimeout;
    const ms = typeof said === "string" ? parseDuration(said) : null;
    return ms === null ? [] : [{ name: fieldAt(target, "name"), ms }];
  });
  return listOf(fieldAt(value, "rules")).flatMap((written, index): readonly Finding[] => {
    const rule = ruleSchema.safeParse(written).data;
    if (rule?.probe === undefined) return [];
    const { timeout } = rule.probe;
    const own = targets.filter(({ name }) => rule.targets === undefined || rule.targets.some((one) => one === name));
    const [least] = own.toSorted((one, other) => one.ms - other.ms);
    if (least === undefined || 2 * timeout <= least.ms) return [];
    const most = `expected at most ${formatDuration(least.ms / 2)}, half of the statement_timeout of target ${String(least.name)}`;
    const text = `${most}, got ${formatDuration(timeout)}: only that half counts`;
    return [finding(["rules", index, "probe", "timeout"], text)];
  });
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
