import type { Action, Decision, OutcomeKind, SpareBy } from "./decision.ts";
import { preparedKey } from "./described.ts";
import type { Prepared, Session } from "./session.ts";
import { unreachable } from "./unreachable.ts";

/** One decision that a test expects; what it leaves out may be anything. */
export type Expected = Readonly<{
  /** Index of the line that says so, in the look's `expect`. */
  line: number;
  /** A pid, or the gid of a prepared transaction. */
  who: Readonly<{ pid: string } | { gid: string }>;
  rule: string | null;
  /** What the reason has to contain. */
  reason: string | null;
}> &
  (
    | Readonly<{ kind: "act"; action: Action; outcome: OutcomeKind }>
    | Readonly<{ kind: "wait"; action: Action; inMs: number | null }>
    | Readonly<{ kind: "spare"; action: Action | null; by: SpareBy }>
  );

/** Expected and not decided, decided and not expected, or one in the place of the other. */
export type Difference = Readonly<{ expected: Expected | null; got: Decision | null }>;

export type Comparison = Readonly<{
  met: readonly Readonly<{ expected: Expected; decision: Decision }>[];
  differences: readonly Difference[];
}>;

/** Order does not matter. Who is expected by name of a rule is looked for before who is not. */
export function compare(expected: readonly Expected[], decisions: readonly Decision[]): Comparison {
  const left = new Set(decisions);
  const take = (one: Expected, fits: (decision: Decision) => boolean): Decision | null => {
    const found = [...left].find((decision) => isAbout(one, decision) && fits(decision)) ?? null;
    if (found !== null) left.delete(found);
    return found;
  };
  const found = new Map<Expected, Decision>();
  for (const one of expected.toSorted((a, b) => precision(b) - precision(a))) {
    const decision = take(one, (candidate) => meets(one, candidate));
    if (decision !== null) found.set(one, decision);
  }
  const met = expected.flatMap((one) => {
    const decision = found.get(one);
    return decision === undefined ? [] : [{ expected: one, decision }];
  });
  const missing = expected
    .filter((one) => !found.has(one))
    .map((one) => ({ expected: one, got: take(one, () => true) }));
  return { met, differences: [...missing, ...[...left].map((got) => ({ expected: null, got }))] };
}

function precision({ rule, reason }: Expected): number {
  return (rule === null ? 0 : 2) + (reason === null ? 0 : 1);
}

function isAbout({ who, rule }: Expected, { evidence: { victim }, rule: by }: Decision): boolean {
  const key = "pid" in who ? who.pid : preparedKey(who.gid);
  return victim.key === key && (rule === null || rule === by);
}

function meets(expected: Expected, decision: Decision): boolean {
  if (expected.kind !== decision.kind) return false;
  if (expected.action !== null && expected.action !== decision.action) return false;
  if (expected.reason !== null && !decision.reason.text.includes(expected.reason)) return false;
  switch (expected.kind) {
    case "act":
      return true;
    case "wait":
      return decision.kind === "wait" && (expected.inMs === null || expected.inMs === decision.inMs);
    case "spare":
      return decision.kind === "spare" && decision.by === expected.by;
    default:
      return unreachable(expected);
  }
}

/** `terminate session 1 by rule stuck-login`. */
export function expectedText(expected: Expected): string {
  const { who, rule, reason } = expected;
  const because = reason === null ? "" : `, because of ${JSON.stringify(reason)}`;
  const name = "pid" in who ? `session ${who.pid}` : `prepared transaction ${who.gid}`;
  return `${deedText(expected, name)}${rule === null ? "" : ` by rule ${rule}`}${because}`;
}

export function decisionText(decision: Decision): string {
  return `${deedText(decision, victimText(decision.evidence.victim))} by rule ${decision.rule}`;
}

export function victimText(victim: Session | Prepared): string {
  return victim.kind === "prepared" ? `prepared transaction ${victim.gid}` : `session ${victim.pid ?? "?"}`;
}

type Deed =
  | Readonly<{ kind: "act"; action: Action }>
  | Readonly<{ kind: "wait"; action: Action; inMs: number | null }>
  | Readonly<{ kind: "spare"; action: Action | null; by: SpareBy }>;

function deedText(deed: Deed, whom: string): string {
  switch (deed.kind) {
    case "act":
      return deed.action === "notify" ? `notify of ${whom}` : `${deed.action} ${whom}`;
    case "wait":
      return `wait${deed.inMs === null ? "" : ` ${deed.inMs / 1_000} s`}, then ${deed.action} ${whom}`;
    case "spare":
      return `spare ${whom} (${deed.by}${deed.action === null ? "" : `, else ${deed.action}`})`;
    default:
      return unreachable(deed);
  }
}
