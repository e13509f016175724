import type { Decision, Outcome } from "../core/decision.ts";
import type { Ms } from "../core/session.ts";

/** What people are told. One incident opens once and resolves once. */
export type Notice = Readonly<{
  id: string;
  incident: string;
  phase: "opened" | "changed" | "resolved" | "system";
  at: string;
  target: string | null;
  decision: Decision | null;
  outcome: Outcome | null;
  /** One sentence for the log and for subjects. */
  text: string;
  /** What does not fit one sentence, for those who can show more; left out: the decision says it all. */
  details?: readonly Readonly<{ title: string; lines: readonly string[] }>[];
}>;

export type Delivery =
  | Readonly<{
      kind: "delivered";
      /** What went wrong all the same: some of several recipients were refused for good. */
      warning?: string;
    }>
  | Readonly<{ kind: "retry"; afterMs: Ms; error: string }>
  | Readonly<{ kind: "dropped"; error: string }>;

export type Channel = Readonly<{
  name: string;
  deliver(notice: Notice, signal: AbortSignal): Promise<Delivery>;
  close(): Promise<void>;
}>;
