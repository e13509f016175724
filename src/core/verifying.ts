import type { ActDecision, Outcome, Signal } from "./decision.ts";
import type { History } from "./history.ts";
import { subjectOf } from "./recorded-look.ts";
import { aftermathOf, cooldownAfter, enter, withSent } from "./remember.ts";
import type { CompiledRule } from "./rules.ts";

// A signal goes out, and its outcome comes later: what is remembered of it in between.

type Rule = CompiledRule["rule"];

/** The signal is out. It counts for limits and cooldowns from now on; its ladder stands where it will stand if it survives. */
export function afterSending(
  history: History,
  decision: ActDecision & { action: Signal },
  rule: Rule,
  sentMs: number,
): History {
  const { incident, action } = decision;
  const verifying = new Map(history.verifying);
  verifying.set(incident, { rule: decision.rule, subject: subjectOf(decision), action, sentMs });
  const aftermath = aftermathOf(history, decision, { kind: "survived" }, rule, sentMs);
  if (aftermath === null) return { ...history, verifying };
  const incidents = new Map(history.incidents);
  enter(incidents, aftermath);
  return withSent({ ...history, incidents, verifying }, aftermath);
}

/** Its outcome is known. Waits of the ladder count from now on, and who becomes a blocker by a late release is a successor, too. */
export function afterVerifying(
  history: History,
  decision: ActDecision,
  outcome: Pick<Outcome, "kind">,
  rule: Rule,
  atMs: number,
): History {
  const sent = history.verifying.get(decision.incident);
  if (sent === undefined) return history;
  const verifying = new Map(history.verifying);
  verifying.delete(decision.incident);
  const { sentMs } = sent;
  const cooldowns =
    outcome.kind === "released"
      ? [...history.cooldowns, { ...cooldownAfter(decision, rule, atMs), atMs: sentMs }]
      : history.cooldowns;
  const incidents = new Map(history.incidents);
  const incident = incidents.get(decision.incident);
  // One that was opened since is on another ladder, which a reload has begun.
  if (incident !== undefined && incident.openedMs <= sentMs) {
    const aftermath = aftermathOf(history, decision, outcome, rule, atMs);
    if (aftermath !== null) enter(incidents, aftermath);
  }
  return { ...history, incidents, cooldowns, verifying };
}
