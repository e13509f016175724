import type { Decision, Outcome, OutcomeKind, Probed } from "./decision.ts";
import { compare, type Difference, type Expected } from "./expectation.ts";
import { noHistory } from "./history.ts";
import { judge } from "./judge.ts";
import type { Circumstances } from "./plan.ts";
import { spareByProbe } from "./probe-text.ts";
import { afterOutcome } from "./remember.ts";
import { type CompiledRule, evaluate } from "./rules.ts";
import { afterSignal, type Change, emptyScenario, nextScenario, snapshotOf } from "./scenario.ts";
import { type Judged, whyNot } from "./why-not.ts";

/** What the probes of rules say; stuck where nothing is said. */
export type ProbeAnswers = Readonly<Record<string, Probed["kind"]>>;

/** One look of a test: what changed by then, and what is to be decided on it. */
export type TestLook = Change &
  Readonly<{
    afterMs: number;
    /** From this look on. */
    probes: ProbeAnswers;
    /** null: whatever is decided is fine. */
    expect: readonly Expected[] | null;
  }>;

export type RuleTest = Readonly<{ startMs: number; probes: ProbeAnswers; looks: readonly TestLook[] }>;

/** Rules ready to judge, and all that decides besides them and the moment. */
export type Rig = Readonly<{
  target: string;
  rules: readonly CompiledRule[];
  circumstances: Omit<Circumstances, "atMs">;
}>;

/** `why`: what kept the rules from an expected decision, or the reason of the one that was made. */
export type Failure = Difference & Readonly<{ why: string }>;

/** Where a test stopped: what follows such a look rests on it, and is not looked at. */
export type FailedLook = Readonly<{ look: number; afterMs: number; failures: readonly Failure[] }>;

/** null: every look was decided as expected. */
export function runRuleTest(test: RuleTest, { target, rules, circumstances }: Rig): FailedLook | null {
  const { startMs, looks } = test;
  let { probes } = test;
  let scenario = emptyScenario;
  let history = noHistory;
  for (const [index, look] of looks.entries()) {
    const atMs = startMs + look.afterMs;
    scenario = nextScenario(scenario, look, atMs);
    const snapshot = snapshotOf(scenario, target, atMs);
    const evaluation = evaluate(snapshot, rules, history);
    const verdict = judge({ snapshot, evaluation }, history, { rules, circumstances: { ...circumstances, atMs } });
    probes = { ...probes, ...look.probes };
    const decisions = verdict.decisions.map((decision) => throughProbe(decision, rules, probes));
    const { met, differences } = compare(look.expect ?? [], decisions);
    if (look.expect !== null && differences.length > 0) {
      const explain = reasonsIn({ snapshot, evaluation, rules, history });
      return { look: index, afterMs: look.afterMs, failures: differences.map(explain) };
    }
    history = verdict.history;
    const outcomes = new Map(met.map(({ expected, decision }) => [decision, expected]));
    for (const decision of decisions) {
      const rule = rules.find((one) => one.rule.name === decision.rule)?.rule;
      if (decision.kind !== "act" || rule === undefined) continue;
      const expected = outcomes.get(decision);
      const kind = expected?.kind === "act" ? expected.outcome : "released";
      history = afterOutcome(history, decision, outcomeOf(kind), rule, atMs);
      scenario = afterSignal(scenario, decision, kind, atMs);
    }
  }
  return null;
}

/** As the executor asks before each act. */
function throughProbe(decision: Decision, rules: readonly CompiledRule[], probes: ProbeAnswers): Decision {
  const asks = rules.some(({ rule }) => rule.name === decision.rule && rule.probe !== undefined);
  if (decision.kind !== "act" || decision.action === "notify" || !asks) return decision;
  return spareByProbe(decision, probedOf(probes[decision.rule] ?? "stuck")) ?? decision;
}

function probedOf(kind: Probed["kind"]): Probed {
  return kind === "failed" ? { kind, ms: 1, error: "the test says so" } : { kind, ms: 1 };
}

function outcomeOf(kind: OutcomeKind): Outcome {
  return { kind, tookMs: 0, freed: [], next: null, text: kind };
}

function reasonsIn(judged: Judged): (difference: Difference) => Failure {
  return ({ expected, got }) => {
    if (got !== null) return { expected, got, why: got.reason.text };
    return { expected, got, why: expected === null ? "" : whyNot(expected, judged) };
  };
}
