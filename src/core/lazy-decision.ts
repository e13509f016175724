import type { Decision, Evidence, Reason } from "./decision.ts";
import { evidenceOf } from "./evidence.ts";
import type { Finding } from "./rules.ts";

/** What a decision's evidence and reason are made of, and what has been made. */
type Parts = { finding: Finding; why: () => Reason; evidence: Evidence | null; reason: Reason | null };
type DistributiveOmit<T, Key extends string> = T extends unknown ? Omit<T, Key> : never;

const partsOf = new WeakMap<object, Parts>();

// The same two getters for all decisions: as literals, each decision would get a layout of its own, which costs ten times as much.
const evidence = {
  enumerable: true,
  get(this: object) {
    const parts = partsOf.get(this);
    return parts === undefined ? undefined : (parts.evidence ??= evidenceOf(parts.finding));
  },
};
const reason = {
  enumerable: true,
  get(this: object) {
    const parts = partsOf.get(this);
    return parts === undefined ? undefined : (parts.reason ??= parts.why());
  },
};

/** Whom it is about, without making the rest of its evidence. */
export function victimOf(decision: Decision): Evidence["victim"] {
  const parts = partsOf.get(decision);
  if (parts === undefined) return decision.evidence.victim;
  const { prepared, session } = parts.finding.subject;
  return prepared ?? session;
}

/** Evidence and reason are made when they are first read, as most decisions are never told; a copy has them as values. */
export function lazyDecision(
  rest: DistributiveOmit<Decision, "evidence" | "reason">,
  finding: Finding,
  why: () => Reason,
): Decision {
  partsOf.set(rest, { finding, why, evidence: null, reason: null });
  Object.defineProperty(rest, "evidence", evidence);
  Object.defineProperty(rest, "reason", reason);
  return rest as Decision;
}
