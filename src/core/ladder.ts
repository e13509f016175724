import type { Rule } from "../config/schema.ts";
import type { Action } from "./decision.ts";
import { type Incident, untilRetryMs } from "./history.ts";
import { isIdle, type Session } from "./session.ts";
import { spokenDuration } from "./spoken-duration.ts";

/** Where an incident stands on its rule's ladder. */
export type Rung =
  | Readonly<{ kind: "do"; step: number; action: Action; skippedCancel: boolean }>
  | Readonly<{ kind: "wait"; step: number; inMs: number; action: Action }>
  /**
   * `cancelUseless`: the only steps left are cancels, and nothing runs that could be cancelled. `retryMs`: the server denied it,
   * and then it is tried again.
   */
  | Readonly<{ kind: "done"; step: number; cancelUseless: boolean; retryMs: number | null }>;

/** The rung to stand on at this moment: waits that are over and cancels that would do nothing are passed. */
export function rungAt(rule: Rule, incident: Incident, session: Session, atMs: number): Rung {
  let skippedCancel = false;
  for (let step = incident.step; step < rule.steps.length; step++) {
    const here = rule.steps[step];
    if (here === undefined) break;
    if (typeof here === "object") {
      // The wait counts from when the step before it was done; only the one that is next can be over.
      const elapsedMs = step === incident.step && !skippedCancel ? atMs - incident.stepSinceMs : 0;
      if (elapsedMs >= here.wait) continue;
      if (skippedCancel) continue; // it was there to let the cancel work
      return { kind: "wait", step, inMs: here.wait - elapsedMs, action: nextAction(rule, step) };
    }
    // A cancel does nothing to an idle session, though the server answers true.
    if (here === "cancel" && isIdle(session)) {
      skippedCancel = true;
      continue;
    }
    return { kind: "do", step, action: here, skippedCancel };
  }
  const retryMs = untilRetryMs(incident, atMs);
  return { kind: "done", step: rule.steps.length, cancelUseless: skippedCancel, retryMs };
}

function nextAction(rule: Rule, step: number): Action {
  const next = rule.steps.slice(step + 1).find((later) => typeof later !== "object");
  return next === undefined || typeof next === "object" ? "notify" : next;
}

/** What follows a step that only tells, for whoever is told. `held`: why nothing will be done; null: it will be. */
export function nextText({ steps }: Pick<Rule, "steps">, step: number, held: string | null): string {
  let waitMs = 0;
  for (const later of steps.slice(step + 1)) {
    if (typeof later === "object") waitMs += later.wait;
    else {
      const when = waitMs === 0 ? "At the next look" : `In ${spokenDuration(waitMs)}`;
      if (later === "notify") return `${when} you are told again, if it still matches then.`;
      const what = `${later}, if it still matches then`;
      return held === null ? `${when}: ${what}.` : `${when} it would be: ${what}; nothing will be done: ${held}.`;
    }
  }
  return "Nothing: this was the last step of the rule.";
}
