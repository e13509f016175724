import type { ActDecision, Action, Decision, Proof } from "./decision.ts";
import { spokenDuration } from "./spoken-duration.ts";

/** What the journal has where a rule's name stands; no rule can be called so, as names have no blanks. */
export const byHandRule = "by hand";

/** A person asked for it: what counts is the session, and for a cancel its statement, not one transaction. */
export function isByHand(decision: Decision): decision is ActDecision {
  return decision.kind === "act" && decision.guard.sessionOnly === true;
}

/** A terminate has worked when the session is gone, a cancel when the statement is over; and who waited behind it moved. */
export function handEnd(action: Action, { alive, sameTransaction, sameStatement, stillBlocked }: Proof) {
  const isOver = action === "terminate" ? !alive && !sameTransaction : sameStatement !== true;
  return isOver && stillBlocked.length === 0 ? "released" : "survived";
}

/** What becomes of an act by hand, in words. */
export const handText = {
  gone: "the session had ended before; nothing was sent",
  changed: (action: Action) =>
    action === "cancel"
      ? "it ran no statement any more when the cancel was to go out, or became protected; nothing was sent"
      : "it became protected just before the terminate; nothing was sent",
  released: (action: Action, { sameTransaction }: Proof) => {
    if (action === "terminate") return "the session is gone";
    return sameTransaction
      ? "its statement is over; its transaction is still open, but keeps nobody waiting"
      : "its statement and its transaction are over";
  },
  survived: (action: Action, proof: Proof, tookMs: number) => {
    const after = `${spokenDuration(tookMs)} after the ${action}`;
    if (action === "terminate") {
      return proof.alive || proof.sameTransaction
        ? `the session is still there ${after}`
        : `the session is gone, but its locks still keep others waiting ${after}`;
    }
    if (proof.sameStatement === true) return `its statement still runs ${after}`;
    const count = proof.stillBlocked.length;
    const whom = count === 1 ? "1 session still waits" : `${count} sessions still wait`;
    return `its statement is over, but its transaction is open and ${whom} for its locks ${after}`;
  },
} as const;
