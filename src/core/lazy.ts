import type { Decision, Evidence, Reason } from "./decision.ts";

/** What is computed when somebody reads it. */
type Parts = Readonly<{ evidence: () => Evidence; reason: () => Reason }>;
type DistributiveOmit<T, Key extends string> = T extends unknown ? Omit<T, Key> : never;

const partsOf = new WeakMap<object, Parts>();

// The same two getters for all decisions: as literals, each decision would get a layout of its own, which costs ten times as much.
const evidence = {
  enumerable: true,
  get(this: object) {
    return partsOf.get(this)?.evidence();
  },
};
const reason = {
  enumerable: true,
  get(this: object) {
    return partsOf.get(this)?.reason();
  },
};

/** A decision whose evidence and reason are made when they are read; a copy of it has them as values. */
export function lazyDecision(rest: DistributiveOmit<Decision, keyof Parts>, parts: Parts): Decision {
  partsOf.set(rest, parts);
  Object.defineProperty(rest, "evidence", evidence);
  Object.defineProperty(rest, "reason", reason);
  return rest as Decision;
}
