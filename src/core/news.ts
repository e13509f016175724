import type { Decision, Outcome } from "./decision.ts";
import { handleOf } from "./session.ts";
import { unreachable } from "./unreachable.ts";

/** What people are to be told of a decision or its outcome; null when they need not be. */
export type News = Readonly<{ phase: "opened" | "changed" | "resolved"; told: string; text: string }>;

/** What people will have been told of it: the `told` of its news, if it is any. */
export function toldBy(decision: Exclude<Decision, { kind: "wait" }>): string {
  return decision.kind === "act" ? decision.action : decision.by;
}

/** A decision that does nothing is told when somebody stays stuck because of it. The caller tells each `told` of an incident once. */
export function newsOfDecision(decision: Decision): News | null {
  if (decision.kind === "wait") return null;
  // Most decisions are no news: what was seen is put into words only for those that are.
  const said = (before: string, between = ": ") => `${before}${subjectText(decision)}${between}${decision.reason.text}`;
  if (decision.kind === "act") {
    return decision.action === "notify" ? { phase: "opened", told: toldBy(decision), text: said("") } : null;
  }
  const stuck = () => decision.evidence.waiters.length > 0;
  const opened = (text: string): News => ({ phase: "opened", told: toldBy(decision), text });
  switch (decision.by) {
    case "observe":
      return opened(said(`would ${decision.action} `));
    case "paused":
    case "journal":
    case "idle":
    case "no-transaction":
    case "unable":
      return opened(said(`did not ${decision.action} `));
    case "follower":
      // Only written down: a follower tells nobody.
      return opened(said(`left to another Lockwarden: ${decision.action} `));
    case "inactive":
      return { phase: "changed", told: toldBy(decision), text: said("stopped at ") };
    case "protect":
    case "unknown":
      return stuck() ? opened(said("left ", " alone: ")) : null;
    case "probe":
      // The way is free: nothing that a person need know.
      return decision.reason.code === "probe-works" ? null : opened(said(`did not ${decision.action} `));
    // Many at once: they are told together (crowd.ts).
    case "limit":
    case "breaker":
    case "except":
    case "not-root":
    case "cooldown":
    case "done":
    case "victims":
    case "other-rule":
    case "verifying":
      return null;
    default:
      return unreachable(decision.by);
  }
}

/** After so many refusals in a row people are told that it cannot be hit. */
const manyRefusals = 10;

/**
 * `last`: the rule has no further step. `told`: what people heard of it last. `refusals`: so often in a row it was not what had
 * been judged any more.
 */
export function newsOfOutcome(
  decision: Decision,
  outcome: Outcome,
  { last, told, refusals }: Readonly<{ last: boolean; told: string | null; refusals: number }>,
): News | null {
  const subject = subjectText(decision);
  const done = `${decision.action} of ${subject}`;
  switch (outcome.kind) {
    case "released":
      return {
        phase: stillStuck(outcome) ? "changed" : "resolved",
        told: "released",
        text: `${done}: ${outcome.text}`,
      };
    case "gone":
      return told !== null ? { phase: "resolved", told: "gone", text: `${subject}: ${outcome.text}` } : null;
    case "changed":
      return refusals === manyRefusals
        ? { phase: "changed", told: "changed", text: elusiveText(decision, outcome) }
        : null;
    case "survived":
      return last
        ? { phase: "changed", told: "survived", text: `${done}: ${outcome.text}; it needs a person now` }
        : null;
    case "denied":
      // It is tried again after a while: people know.
      return told === "denied" ? null : { phase: "changed", told: "denied", text: `${done}: ${outcome.text}` };
    case "failed":
    case "unknown":
      return { phase: "changed", told: outcome.kind, text: `${done}: ${outcome.text}` };
    default:
      return unreachable(outcome.kind);
  }
}

function elusiveText(decision: Decision, { text }: Outcome): string {
  const often = `it keeps changing; ${manyRefusals} times in a row it was not what the rule had judged any more`;
  return `${subjectText(decision)} cannot be hit safely: ${often} when the ${decision.action} was to go out, and nothing was sent; Lockwarden goes on trying. The last time: ${text}`;
}

/** The lock is free, and what the rule is there for does not work all the same. */
function stillStuck({ probe }: Outcome): boolean {
  return probe !== undefined && probe.kind !== "works";
}

/** `backend 4711 (67a1.1267, user app)`: enough to find it in the server's log. */
export function subjectText({ evidence: { victim } }: Decision): string {
  return victimText(victim);
}

export function victimText(victim: Decision["evidence"]["victim"]): string {
  if (victim.kind === "prepared") return `prepared transaction ${victim.gid}`;
  return `session ${handleOf(victim)} (${victim.user ?? "unknown user"}, ${victim.application || "no application name"})`;
}
