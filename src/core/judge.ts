import type { Decision } from "./decision.ts";
import type { History } from "./history.ts";
import { type Circumstances, plan } from "./plan.ts";
import { forgetOldActs, remember } from "./remember.ts";
import type { CompiledRule, Evaluation } from "./rules.ts";
import type { Snapshot } from "./snapshot.ts";
import { spareUntouchables } from "./untouchable.ts";

/** One look that is to be judged, and what its rules found in it. */
export type Look = Readonly<{ snapshot: Snapshot; evaluation: Evaluation }>;

/** `history`: with this look in it; what an act then does to it is `afterOutcome`'s. */
export type Verdict = Readonly<{ decisions: readonly Decision[]; history: History }>;

/** The one way from a look to decisions: of the daemon, of a replay and of the unit tests of rules. */
export function judge(
  { snapshot, evaluation }: Look,
  before: History,
  { rules, circumstances }: Readonly<{ rules: readonly CompiledRule[]; circumstances: Circumstances }>,
): Verdict {
  const recent = forgetOldActs(before, circumstances.limits, snapshot.atMs);
  const history = remember(recent, snapshot, evaluation, rules);
  const decisions = [
    ...plan(evaluation.findings, history, circumstances),
    ...spareUntouchables(evaluation.untouchables, { snapshot, config: circumstances.config }),
  ];
  return { decisions, history };
}
