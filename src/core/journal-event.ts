import type { Decision, Outcome, Reason } from "./decision.ts";

/** What happened to a notice at one channel. */
type Told = Readonly<{ notice: string; channel: string; delivered: boolean; error: string | null; text: string }>;

/** One line of the journal. An outcome carries its intent's id; `by`: who asked for it by hand. */
export type JournalEvent = Readonly<{ v: 1; id: string; at: string; target: string | null; by?: string }> &
  (
    | Readonly<{ event: "intent" | "observed"; decision: Decision }>
    | Readonly<{ event: "outcome" | "recovered"; outcome: Outcome }>
    | (Readonly<{ event: "notice" }> & Told)
    | Readonly<{
        event: "start" | "stop" | "reload" | "paused" | "resumed" | "breaker" | "away" | "back";
        reason: Reason;
      }>
  );
