import type { Ms, NodeKey, Prepared, Session } from "./session.ts";
import type { Hold, LockWait } from "./snapshot.ts";

export type Action = "notify" | "cancel" | "terminate" | "rollback-prepared";
export type Signal = Exclude<Action, "notify">;

/** What was seen of the victim when it was judged; journalled, shown to people, and what the guard compares with. */
export type Evidence = Readonly<{
  at: string;
  serverId: string;
  /** Which product of which version answered, for people; an older journal does not say. */
  server?: string;
  victim: Session | Prepared;
  holds: readonly Hold[];
  /** The waits that the rule counted, in the order: nearest to the victim first; with `waits`, the victim's own. */
  waits: readonly LockWait[];
  waiters: readonly Session[];
}>;

/** One wait that must still be there, blocked by that pid (0: a prepared transaction), when the signal goes out. */
export type GuardEdge = Readonly<{
  waiterPid: string;
  blockerPid: string;
  lock: string;
  mode: string;
  /** Counts as one of the waiters; a hop between them does not. */
  counts: boolean;
}>;

/** What the one statement re-checks beside pid, identity, transaction and state. */
export type Guard = Readonly<{
  /** The state has not changed since: for ages of an idle state. */
  sinceState: boolean;
  /** The statement is the same: for ages of a running one. */
  sinceQuery: boolean;
  /** At least so many of the waiters that count are still behind the victim over these edges; null: the rule did not ask. */
  blocks: Readonly<{ edges: readonly GuardEdge[]; waiters: number }> | null;
  /** This very wait of the victim is still ungranted; null: the rule did not ask. */
  waits: Readonly<{ lock: string; mode: string; waitAt: string | null }> | null;
  /** Shows in no pg_stat_progress_* view. */
  notMaintenance: boolean;
  /** The session alone, whatever its transaction, statement and state are by then: somebody asked for it by hand. No rule ever does. */
  sessionOnly?: true;
}>;

/** What the executor hands to an engine. */
export type Order = Readonly<{ action: Signal; evidence: Evidence; guard: Guard }>;

/** Why: a code for programs, a sentence for people, and the facts that decided. */
export type Reason = Readonly<{
  code: string;
  text: string;
  facts: Readonly<Record<string, string | number | boolean | null>>;
}>;

export type SpareBy =
  | "except"
  | "protect"
  | "limit"
  | "breaker"
  | "observe"
  | "paused"
  | "follower"
  | "not-root"
  | "cooldown"
  | "unknown"
  | "idle"
  | "no-transaction"
  | "other-rule"
  | "done"
  | "victims"
  | "journal"
  | "probe"
  | "inactive"
  | "verifying"
  | "unable";

/** Which limit one act more would have passed. */
export type LimitCode =
  | "limit-per-tick"
  | "limit-per-minute"
  | "limit-rule-per-tick"
  | "limit-rule-per-minute"
  | "limit-repeat"
  | "breaker";

type Judged = Readonly<{
  /** One incident: this rule and this transaction (or session). */
  incident: string;
  rule: string;
  /** Digest of the config that judged. */
  config: string;
  evidence: Evidence;
  reason: Reason;
  /** Index into the rule's steps. */
  step: number;
  action: Action;
}>;

export type Decision = Judged &
  (
    | Readonly<{ kind: "act"; guard: Guard }>
    | Readonly<{ kind: "wait"; inMs: number }>
    | Readonly<{
        kind: "spare";
        by: SpareBy;
        /** Of one that a limit or the breaker spares. */
        limit?: LimitCode;
      }>
  );
export type ActDecision = Extract<Decision, { kind: "act" }>;

/** What the server said to the signal; not yet an outcome. */
export type Sent =
  /** `unguarded`: why it could not be checked and sent in one statement; left out where it was. */
  | Readonly<{ kind: "sent"; unguarded?: string }>
  | Readonly<{ kind: "gone" | "changed" }>
  /** `unsent`: not the server refused; Lockwarden itself sends nothing there. */
  | Readonly<{ kind: "denied"; error: string; unsent?: true }>
  | Readonly<{ kind: "failed" | "uncertain"; error: string }>;

/** A statement of the user's own that says whether the way is stuck; always rolled back. */
export type Probe = Readonly<{
  sql: string;
  /** Left out: the one in the target's url. */
  database?: string | undefined;
  /** In ms: who waits for one lock that long is stuck. */
  timeout: number;
}>;

/** `stuck`: it waited for a lock until its timeout. `failed`: it could not be run, so it says nothing. */
export type Probed =
  | Readonly<{ kind: "works" | "stuck"; ms: number }>
  | Readonly<{ kind: "failed"; ms: number; error: string }>;

export type OutcomeKind = "released" | "gone" | "changed" | "survived" | "denied" | "failed" | "unknown";

export type Outcome = Readonly<{
  kind: OutcomeKind;
  tookMs: number;
  /** Sessions that waited behind the victim and do not any more. */
  freed: readonly NodeKey[];
  /** Who blocks them now, in words for people. */
  next: string | null;
  text: string;
  /** Why the signal could not be checked and sent in one statement; left out where it was. */
  unguarded?: string;
  /** What the rule's probe said afterwards; left out where there was none. */
  probe?: Probed;
}>;

/** What the server shows of a victim afterwards. */
export type Proof = Readonly<{
  /** The session is still connected. */
  alive: boolean;
  /** Its judged transaction is still open, or still holds locks. */
  sameTransaction: boolean;
  /** The statement that it ran when it was judged still runs; left out of a prepared transaction. */
  sameStatement?: boolean;
  /** Former direct waiters that the victim still blocks. */
  stillBlocked: readonly NodeKey[];
  /** Former direct waiters that somebody else blocks now, and who. */
  next: string | null;
  ms: Ms;
}>;
