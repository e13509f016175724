import type { ActDecision, Decision, Outcome, Probed } from "./decision.ts";
import { spokenDuration } from "./spoken-duration.ts";
import { unreachable } from "./unreachable.ts";

/** What a probe before the act means; null: the way is stuck, the act goes on. */
export function spareByProbe(decision: ActDecision, probed: Probed): Decision | null {
  if (probed.kind === "stuck") return null;
  const code = `probe-${probed.kind}`;
  const text = `${decision.reason.text}; ${probedText(probed)}`;
  const { guard: _, ...judged } = decision;
  return { ...judged, kind: "spare", by: "probe", reason: { ...decision.reason, code, text } };
}

/** The outcome with what the probe said after the act. */
export function probedOutcome(outcome: Outcome, probed: Probed): Outcome {
  return { ...outcome, probe: probed, text: `${outcome.text}; ${probedText(probed)}` };
}

/** What a probe said, as a sentence about it. */
export function probedText(probed: Probed): string {
  switch (probed.kind) {
    case "works":
      return `the probe got through in ${spokenDuration(probed.ms)}: the way is free`;
    case "stuck":
      return `the probe is stuck: it waited ${spokenDuration(probed.ms)} for a lock`;
    case "failed":
      return `the probe could not say anything: ${probed.error}`;
    default:
      return unreachable(probed);
  }
}
