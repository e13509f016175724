import type { Decision, Outcome } from "./decision.ts";
import { victimOf } from "./lazy-decision.ts";
import { unreachable } from "./unreachable.ts";

/** What people are to be told of a decision or its outcome; null when they need not be. */
export type News = Readonly<{ phase: "opened" | "changed" | "resolved"; told: string; text: string }>;

/**
 * A decision that does nothing is told when somebody stays stuck because of it. `before`: the `told` that people know of
 * this incident; the same is told once, and most looks find nothing but what is known.
 */
export function newsOfDecision(decision: Decision, before: string | null = null): News | null {
  switch (decision.kind) {
    case "wait":
      return null;
    case "act":
      return decision.action === "notify" && before !== "notify"
        ? { phase: "opened", told: "notify", text: `${subjectText(decision)}: ${decision.reason.text}` }
        : null;
    case "spare":
      return decision.by === before ? null : newsOfSpared(decision);
    default:
      return unreachable(decision);
  }
}

function newsOfSpared(decision: Extract<Decision, { kind: "spare" }>): News | null {
  const subject = subjectText(decision);
  const opened = (text: string): News => ({ phase: "opened", told: decision.by, text });
  switch (decision.by) {
    case "observe":
      return opened(`would ${decision.action} ${subject}: ${decision.reason.text}`);
    case "limit":
    case "paused":
    case "journal":
    case "idle":
    case "no-transaction":
      return opened(`did not ${decision.action} ${subject}: ${decision.reason.text}`);
    case "inactive":
      return { phase: "changed", told: decision.by, text: `stopped at ${subject}: ${decision.reason.text}` };
    case "protect":
    case "unknown":
      return decision.evidence.waiters.length > 0 ? opened(`left ${subject} alone: ${decision.reason.text}`) : null;
    case "probe":
      // The way is free: nothing that a person need know.
      return decision.reason.code === "probe-works"
        ? null
        : opened(`did not ${decision.action} ${subject}: ${decision.reason.text}`);
    case "except":
    case "follower":
    case "not-root":
    case "cooldown":
    case "done":
    case "victims":
    case "other-rule":
      return null;
    default:
      return unreachable(decision.by);
  }
}

/** `last`: the rule has no further step. */
export function newsOfOutcome(decision: Decision, outcome: Outcome, last: boolean, alreadyTold: boolean): News | null {
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
      return alreadyTold ? { phase: "resolved", told: "gone", text: `${subject}: ${outcome.text}` } : null;
    case "changed":
      return null;
    case "survived":
      return last
        ? { phase: "changed", told: "survived", text: `${done}: ${outcome.text}; it needs a person now` }
        : null;
    case "denied":
    case "failed":
    case "unknown":
      return { phase: "changed", told: outcome.kind, text: `${done}: ${outcome.text}` };
    default:
      return unreachable(outcome.kind);
  }
}

/** The lock is free, and what the rule is there for does not work all the same. */
function stillStuck({ probe }: Outcome): boolean {
  return probe !== undefined && probe.kind !== "works";
}

/** `backend 4711 (67a1.1267, user app)`: enough to find it in the server's log. */
export function subjectText(decision: Decision): string {
  return victimText(victimOf(decision));
}

export function victimText(victim: Decision["evidence"]["victim"]): string {
  if (victim.kind === "prepared") return `prepared transaction ${victim.gid}`;
  return `session ${victim.pid ?? "?"},${victim.sessionId} (${victim.user ?? "unknown user"}, ${victim.application || "no application name"})`;
}
