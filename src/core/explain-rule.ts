import { type Condition, never, type Subject } from "./condition.ts";
import type { Decision } from "./decision.ts";
import { reasonOf } from "./evidence.ts";
import { hoursRow } from "./explain-hours.ts";
import type { ConditionExplanation, DecisionExplanation, RuleExplanation, Standing } from "./explanation.ts";
import { incidentKey, subjectKey } from "./history.ts";
import type { Circumstances } from "./plan.ts";
import { type CompiledRule, distanceOf, type Finding } from "./rules.ts";
import { spokenDuration } from "./spoken-duration.ts";
import { waitingText } from "./standing.ts";
import { unreachable } from "./unreachable.ts";

/** What the evaluation and the judge found of one session and one rule; null: nothing. */
export type Found = Readonly<{ finding: Finding | null; decision: Decision | null }>;

/** One rule against one session: the conditions as the rule itself sees them, and the decision as the judge made it. */
export function explainRule(
  rule: CompiledRule,
  { subject, standing }: Readonly<{ subject: Subject; standing: Standing }>,
  { finding, decision, mode }: Found & Pick<Circumstances, "mode">,
): RuleExplanation {
  const incident = subject.history.incidents.get(incidentKey(rule.rule.name, subjectKey(subject.session) ?? ""));
  const cancelled = incident?.cancelled === true;
  const match = rule.match.map((condition) =>
    condition.resets && cancelled
      ? passedOver(condition, "not asked again after Lockwarden's own cancel")
      : conditionOf(condition, subject, distanceOf(condition, subject)),
  );
  const except = rule.except.map((condition) =>
    condition.needsLocks && subject.snapshot.waits === null
      ? passedOver(condition, unread)
      : conditionOf(condition, subject, condition.distance(subject)),
  );
  const before = preconditions(rule, { subject, standing, mode });
  return {
    rule: rule.rule.name,
    mode: modeOf(rule, mode),
    verdict: finding === null ? "not" : finding.inMs > 0 ? "will match" : "matched",
    inMs: finding === null || finding.inMs === 0 ? null : Math.ceil(finding.inMs),
    conditions: [...before, ...match].toSorted(byWeight),
    except: except.toSorted((a, b) => exceptWeight(a) - exceptWeight(b)),
    decision: decision === null ? null : later(rule, decisionOf(decision, finding), finding),
  };
}

/** A rule that has a decision about somebody whom no condition can be asked of: a prepared transaction that the rule is not about, a hidden root. */
export function decidedOnly(
  rule: CompiledRule,
  { decision, mode }: Readonly<{ decision: Decision }> & Pick<Circumstances, "mode">,
): RuleExplanation {
  return {
    rule: rule.rule.name,
    mode: modeOf(rule, mode),
    verdict: "matched",
    inMs: null,
    conditions: [],
    except: [],
    decision: decisionOf(decision, null),
  };
}

function modeOf({ rule }: CompiledRule, mode: Circumstances["mode"]): RuleExplanation["mode"] {
  return mode === "observe" || rule.mode === "observe" ? "observe" : "enforce";
}

const unread = "who waits for whom was not read in this look";

type About = Readonly<{ subject: Subject; standing: Standing }> & Pick<Circumstances, "mode">;

/** What a rule asks beside its `match`: here is the place for whatever else decides whether it is in force. */
function preconditions(rule: CompiledRule, { subject, standing, mode }: About): readonly ConditionExplanation[] {
  return [
    ...hoursRow(rule, subject.snapshot),
    // A prepared transaction waits for nobody.
    ...(subject.prepared === undefined ? rootRow(rule, standing) : []),
    ...(rule.rule.probe === undefined ? [] : [probeRow(modeOf(rule, mode))]),
  ];
}

/** No explanation runs a probe: what it will say is not known before the act. */
function probeRow(mode: RuleExplanation["mode"]): ConditionExplanation {
  const seen = mode === "observe" ? "is not run in observe" : "is asked just before the act";
  return { name: "probe", wanted: "finds the way stuck", seen, holds: "passed over", inMs: null };
}

function rootRow(rule: CompiledRule, standing: Standing): readonly ConditionExplanation[] {
  if (rule.ownWait !== null && standing.kind !== "cycle") return [];
  const wanted = rule.ownWait === null ? "waits for nobody" : "no deadlock";
  const row = { name: "root", wanted, inMs: null };
  switch (standing.kind) {
    case "free":
    case "root":
      return [{ ...row, seen: "waits for nobody", holds: "yes" }];
    case "unread":
      return [{ ...row, seen: unread, holds: "passed over" }];
    case "waiter":
    case "cycle":
      return [{ ...row, seen: waitingText(standing), holds: "no" }];
    default:
      return unreachable(standing.kind);
  }
}

function conditionOf(condition: Condition, subject: Subject, distance: number): ConditionExplanation {
  if (condition.needsLocks && subject.snapshot.waits === null && distance === 0) return passedOver(condition, unread);
  const { name, wanted } = condition;
  const row = { name, wanted, seen: condition.seen(subject), inMs: null };
  if (Number.isNaN(distance)) return { ...row, holds: "unknown" };
  if (distance === 0) return { ...row, holds: "yes" };
  return distance === never ? { ...row, holds: "no" } : { ...row, holds: "later", inMs: Math.ceil(distance) };
}

function passedOver({ name, wanted }: Condition, seen: string): ConditionExplanation {
  return { name, wanted, seen, holds: "passed over", inMs: null };
}

const weights = { no: 0, unknown: 1, later: 2, yes: 3, "passed over": 4 } as const;

/** What cannot change by time alone decides before what can; then the longest wait. */
function byWeight(a: ConditionExplanation, b: ConditionExplanation): number {
  return weights[a.holds] - weights[b.holds] || (b.inMs ?? 0) - (a.inMs ?? 0);
}

function exceptWeight({ holds }: ConditionExplanation): number {
  return holds === "yes" ? 0 : holds === "unknown" ? 1 : 2;
}

/** Of one that will match and whose ladder then waits first: the act comes that much later. */
function later({ rule }: CompiledRule, said: DecisionExplanation, finding: Finding | null): DecisionExplanation {
  const step = rule.steps[said.step];
  if (said.kind !== "wait" || finding === null || finding.inMs === 0 || typeof step !== "object") return said;
  return { ...said, code: "ladder", why: `${said.action} ${spokenDuration(step.wait)} later, as its steps say` };
}

function decisionOf(decision: Decision, finding: Finding | null): DecisionExplanation {
  const { reason } = decision;
  // The judge says first what the conditions saw, and then what it adds.
  const base = finding === null ? "" : reasonOf(finding).text;
  const added = reason.text.startsWith(base) ? reason.text.slice(base.length).replace(/^; /, "") : reason.text;
  return {
    kind: decision.kind,
    by: decision.kind === "spare" ? decision.by : null,
    action: decision.action,
    step: decision.step,
    inMs: decision.kind === "wait" ? Math.ceil(decision.inMs) : null,
    code: reason.code,
    why: added === "" ? null : added,
  };
}
