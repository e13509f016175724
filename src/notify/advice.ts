import type { Action, Decision, Outcome, SpareBy } from "../core/decision.ts";
import { handleOf, type Prepared, type Session } from "../core/session.ts";
import { unreachable } from "../core/unreachable.ts";

/** What was done, or would have been. */
export function deed(decision: Decision, outcome: Outcome | null): string {
  const [now, whole] = words[decision.action];
  switch (decision.kind) {
    case "act":
      if (decision.action === "notify") return "You are told; the rule does nothing else at this step.";
      return outcome === null ? `Lockwarden is about to ${now}.` : done(decision.action, outcome);
    case "wait":
      return `Nothing yet: lockwarden will ${now} when it is due.`;
    case "spare":
      return `Would have ${whole}; nothing was done. ${isBarred(decision) ? barred : spared[decision.by]}`;
    default:
      return unreachable(decision);
  }
}

function done(action: Action, outcome: Outcome): string {
  const [now, whole] = words[action];
  switch (outcome.kind) {
    case "released":
      return `Lockwarden ${whole}.`;
    case "survived":
      return `Lockwarden asked the server to ${now}; it has not let go.`;
    case "gone":
    case "changed":
      return `Nothing was sent: there was no need to ${now} any more.`;
    case "denied":
      return `Lockwarden may not ${now} there: nothing was done.`;
    case "failed":
      return `The attempt to ${now} failed.`;
    case "unknown":
      return `Lockwarden wanted to ${now} and does not know whether the server did.`;
    default:
      return unreachable(outcome.kind);
  }
}

const words: Readonly<Record<Action, readonly [now: string, whole: string]>> = {
  notify: ["tell you", "told you"],
  cancel: ["cancel its statement", "cancelled its statement"],
  terminate: ["terminate the session", "terminated the session"],
  "rollback-prepared": ["roll back the prepared transaction", "rolled back the prepared transaction"],
};
/** The config says enforce, and the server, or the way to it, does not let anybody be signalled safely. */
function isBarred({ reason }: Decision): boolean {
  return reason.code === "barred";
}

const barred = "Lockwarden only observes this server.";

const spared: Readonly<Record<SpareBy, string>> = {
  except: "The rule excepts this session.",
  protect: "This session is protected.",
  limit: "Lockwarden has reached its limit of acts, so that a storm does not become a massacre.",
  breaker: "The breaker is open: after so many acts Lockwarden touches nobody for a while.",
  observe: "Lockwarden only observes here (mode: observe).",
  paused: "Lockwarden is paused.",
  follower: "Another lockwarden is the one that acts on this target.",
  "not-root": "This session waits for somebody itself; ending it would free nobody.",
  cooldown: "It came to hold the lock only after another was ended just now; it is given time.",
  unknown: "Something about this session cannot be seen, and what is unknown is spared.",
  idle: "No statement of it runs, so there is nothing to cancel.",
  done: "Every step of the rule was done already.",
  "no-transaction": "It has no transaction, and the rule does not name the state idle.",
  "other-rule": "Another rule acts on it.",
  victims: "The rule takes only the oldest of several.",
  probe: "The rule's probe did not confirm that the way is stuck.",
  journal: "The journal cannot be written, and without it nothing is acted on.",
  inactive: "The rule's hours are over.",
  verifying: "A signal is out, and whether it worked is not known yet.",
  unable: "This server has no way to take that step.",
};

/** What the reader is to do. */
export function advice(decision: Decision, outcome: Outcome | null, target: string | null): readonly string[] {
  const byHand: ByHand = (victim, end) => handAdvice(victim, end === "no" ? null : target);
  if (outcome !== null) return afterwards(decision, outcome, byHand);
  switch (decision.kind) {
    case "act":
      return decision.action === "notify" ? byHand(decision.evidence.victim) : ["Nothing: the outcome follows."];
    case "wait":
      return ["Nothing yet."];
    case "spare":
      if (isBarred(decision))
        return ["See why nothing is sent there: lockwarden check", ...byHand(decision.evidence.victim, "no")];
      return whenSpared(decision.by, decision.evidence.victim, byHand);
    default:
      return unreachable(decision);
  }
}

function afterwards(decision: Decision, outcome: Outcome, byHand: ByHand): readonly string[] {
  const { victim } = decision.evidence;
  if (outcome.kind === "released" && outcome.probe !== undefined && outcome.probe.kind !== "works")
    return ["The lock is free, and the rule's probe says that the way is not: see what else is in it."];
  switch (outcome.kind) {
    case "released":
    case "gone":
      return outcome.next === null
        ? ["Nothing."]
        : ["Nothing for this one; who blocks now is judged by the same rules."];
    case "changed":
      return ["Nothing: if it blocks again, the rule looks at it anew."];
    case "survived":
      return byHand(victim, "no");
    case "denied":
      if (victim.kind === "prepared") return byHand(victim);
      return ["lockwarden check says what is missing: the SQL that grants it, or the user to log in as."];
    case "failed":
      return ["Look at the reason above and at the log; then, if it still blocks:", ...byHand(victim)];
    case "unknown":
      return ["See whether it still blocks.", ...byHand(victim)];
    default:
      return unreachable(outcome.kind);
  }
}

function whenSpared(by: SpareBy, victim: Session | Prepared, byHand: ByHand): readonly string[] {
  switch (by) {
    case "observe":
      return ["To let Lockwarden act: mode: enforce.", ...byHand(victim)];
    case "paused":
      return byHand(victim);
    case "protect":
      return byHand(victim, "no");
    case "limit":
    case "breaker":
    case "except":
    case "unknown":
    case "idle":
    case "done":
    case "no-transaction":
    case "inactive":
    case "unable":
      return byHand(victim);
    case "probe":
      return [
        "Run the rule's probe by hand as Lockwarden's role, or ask lockwarden check, and mend it.",
        ...byHand(victim),
      ];
    case "journal":
      return ["Make room for the journal in state_dir now: until then lockwarden ends nobody.", ...byHand(victim)];
    case "follower":
    case "not-root":
    case "cooldown":
    case "victims":
    case "other-rule":
    case "verifying":
      return ["Nothing yet."];
    default:
      return unreachable(by);
  }
}

/** `no`: ending it by hand is not to be advised, as it is protected, or was asked to end and did not. */
type ByHand = (victim: Session | Prepared, end?: "no") => readonly string[];

/** `target`: null: how to end it is not said. */
function handAdvice(victim: Session | Prepared, target: string | null): readonly string[] {
  if (victim.kind === "prepared") return ["Roll it back or commit it in its database, as its application decides."];
  const handle = handleOf(victim);
  const look = `A person has to look at session ${handle} in the database.`;
  if (victim.sessionId === "") return [look];
  const end = `To end it: lockwarden kill '${handle}' --target ${target ?? ""}`;
  return [look, `To see it: lockwarden explain '${handle}'`, ...(target === null ? [] : [end])];
}
