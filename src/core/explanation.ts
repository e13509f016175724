import type { Mode } from "../config/schema.ts";
import type { Action, Decision } from "./decision.ts";
import type { Ms, Prepared, Session, Text } from "./session.ts";

// Why each session was, will be, or was not touched: data for people's eyes and for programs. Nothing here is acted on.

/** Whose memory it rests on: a first look and a recording know only what they show themselves. */
export type Basis = "daemon" | "first look" | "recording";

/** Which sessions are asked about; `session`: a pid, `pid,sessionid`, or the gid of a prepared transaction. */
export type Scope = Readonly<{ session: string | null; all: boolean }>;

/** `later`: in `inMs`, if nothing changes. `passed over`: does not count in this look, and `seen` says why. */
export type Holds = "yes" | "no" | "unknown" | "later" | "passed over";

export type ConditionExplanation = Readonly<{
  name: string;
  wanted: string;
  seen: string;
  holds: Holds;
  inMs: number | null;
}>;

/** The judge's decision, of a rule outside its hours the one when they begin; `why`: what it adds to the conditions. */
export type DecisionExplanation = Readonly<{
  kind: Decision["kind"];
  by: Extract<Decision, { kind: "spare" }>["by"] | null;
  action: Action;
  step: number;
  inMs: number | null;
  code: string;
  why: string | null;
}>;

export type RuleExplanation = Readonly<{
  rule: string;
  /** What holds for this rule here: observe wins wherever it is said. */
  mode: Mode;
  verdict: "matched" | "will match" | "not";
  inMs: number | null;
  /** The one that decides comes first. */
  conditions: readonly ConditionExplanation[];
  /** One that holds, or is unknown, spares; it comes first. */
  except: readonly ConditionExplanation[];
  decision: DecisionExplanation | null;
}>;

/** Where it stands among those who wait. Others are named by pid, or as `prepared transaction GID`. */
export type Standing = Readonly<{
  kind: "free" | "root" | "waiter" | "cycle" | "unread";
  /** Distinct sessions behind it, directly or not. */
  blocks: number;
  /** What the nearest of them waits for, and how long the longest direct one has waited. */
  relation: Text;
  blocksMs: Ms;
  waits: readonly Readonly<{
    mode: string;
    locktype: string;
    relation: Text;
    waitMs: Ms;
    blockers: readonly string[];
    hiddenBlocker: boolean;
  }>[];
  /** Those at the end of the chain, whose end would free it. */
  roots: readonly string[];
}>;

export type Person = Pick<
  Session,
  | "kind"
  | "pid"
  | "sessionId"
  | "handle"
  | "user"
  | "database"
  | "application"
  | "client"
  | "backendType"
  | "state"
  | "stateMs"
  | "query"
> &
  Readonly<{ transaction: "none" | "unknown" | "open"; transactionMs: Ms; hasWritten: boolean | null }>;

export type SessionExplanation = Readonly<{
  who: Person | Omit<Prepared, "key">;
  standing: Standing;
  /** Why no rule is ever about it; then `rules` has only what the judge says all the same. */
  never: Text;
  /** Why it is never a victim, whatever matches. */
  protection: Text;
  rules: readonly RuleExplanation[];
}>;

export type Explanation = Readonly<{
  target: string;
  at: string;
  basis: Basis;
  /** Digest of the config that judged. */
  config: string;
  /** What holds every act on this target back. */
  hindrances: readonly Readonly<{ code: string; text: string }>[];
  /** What could not be seen. */
  gaps: readonly string[];
  /** The most important first. */
  sessions: readonly SessionExplanation[];
  /**
   * How many are not among them. `behind`: they only wait, as others do who are among them, and at whom their chain ends.
   * `busy`: they wait, block or are in a transaction, but there are too many.
   */
  rest: Readonly<{
    behind: readonly Readonly<{ root: string; sessions: number }>[];
    busy: number;
    idle: number;
    own: number;
    internal: number;
  }>;
}>;
