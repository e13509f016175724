import type { Mode } from "../config/schema.ts";
import type { Decision, Outcome } from "./decision.ts";
import type { Freedom } from "./history.ts";
import { victimOf } from "./lazy-decision.ts";
import type { NodeKey } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";

/** What was decided on one session in one look. Its facts are in the snapshot, under the victim's key. */
export type Opinion = Readonly<{
  kind: Decision["kind"];
  /** Why it was spared; text, as a newer version may know more reasons. */
  by: string | null;
  inMs: number | null;
  rule: string;
  action: string;
  victim: NodeKey;
  /** The transaction, or the session that has none: the same in every look. */
  subject: string;
  code: string;
  text: string;
  outcome: string | null;
}>;

/** What a daemon decided in a look, and under which circumstances. */
export type Judgement = Readonly<{
  /** Another after every start of the daemon. */
  run: string;
  /** Another after every reconnect. */
  connection: number;
  /** Digest of the config. */
  config: string;
  mode: Mode;
  paused: boolean;
  leader: boolean;
  journalled: boolean;
  opinions: readonly Opinion[];
  /** So many looks just before this one are not on record, though they read locks. */
  missed: number;
  /** What was remembered of each session's own waiting before this look; null: the look before it is on record too. */
  freedom: ReadonlyMap<string, Freedom> | null;
}>;

/** One look as the flight recorder keeps it; a snapshot recorded by hand has no judgement. */
export type RecordedLook = Readonly<{ snapshot: Snapshot; judgement: Judgement | null }>;

/** The decision without its evidence, which the snapshot holds. */
export function opinionOf(decision: Decision, outcome: Outcome | null): Opinion {
  return {
    kind: decision.kind,
    by: decision.kind === "spare" ? decision.by : null,
    inMs: decision.kind === "wait" ? decision.inMs : null,
    rule: decision.rule,
    action: decision.action,
    victim: victimOf(decision).key,
    subject: subjectOf(decision),
    code: decision.reason.code,
    text: decision.reason.text,
    outcome: outcome?.kind ?? null,
  };
}

/** An incident is its rule and its subject; no name of a rule has a space. */
export function subjectOf({ incident, rule }: Pick<Decision, "incident" | "rule">): string {
  return incident.slice(rule.length + 1);
}

const heldBack: ReadonlySet<string | null> = new Set(["observe", "paused", "follower", "journal"]);

/** It was signalled, or would have been but for the mode, the pause, another daemon or the journal. */
export function isAct({ kind, by, action }: Opinion): boolean {
  return action !== "notify" && (kind === "act" || (kind === "spare" && heldBack.has(by)));
}
