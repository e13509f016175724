import type { Rule } from "../config/schema.ts";
import type { Action, Signal } from "./decision.ts";
import type { Doubt } from "./survey.ts";

/** What a server can do, as far as rules and people depend on it. */
export type Abilities = Readonly<{
  atomicGuard: boolean;
  cancel: boolean;
  rollbackPrepared: boolean;
  waitAge: boolean;
  transactionAge: boolean;
}>;

/** The steps that cannot be taken there. */
export function lackingSteps({ cancel, rollbackPrepared }: Abilities): readonly Signal[] {
  return [...(cancel ? [] : (["cancel"] as const)), ...(rollbackPrepared ? [] : (["rollback-prepared"] as const))];
}

/** Why a step cannot be taken, for whoever waits for it. */
export function lackingText(action: Action): string {
  const what = action === "cancel" ? "cancel a statement" : "roll a prepared transaction back";
  return `this server has no way to ${what}, so the rule's ladder ends before that step`;
}

/** Rules of which a part never comes to anything there. */
export function abilityDoubts(rules: readonly Rule[], abilities: Abilities): readonly Doubt[] {
  const lacking = lackingSteps(abilities);
  return rules.flatMap(({ name: rule, match, steps }): readonly Doubt[] => {
    const step = steps.find((one) => lacking.some((action) => action === one));
    const told: Doubt[] =
      step === undefined || typeof step === "object"
        ? []
        : [{ rule, text: `rule ${rule} steps: ${step}: ${lackingText(step)}` }];
    if (match.transaction_for === undefined || abilities.transactionAge) return told;
    const text = `rule ${rule} match.transaction_for: never matches, as this server does not say when a transaction began`;
    return [...told, { rule, text }];
  });
}

/** What is no flaw of a rule, but should be known before it acts. */
export function abilityNotes(rules: readonly Rule[], abilities: Abilities): readonly string[] {
  const counts = rules.some(({ match }) => match.blocks?.for !== undefined || match.waits?.for !== undefined);
  return [...(abilities.atomicGuard ? [] : [unguardedText]), ...(abilities.waitAge || !counts ? [] : [waitAgeText])];
}

export const unguardedText =
  "this server cannot check and signal in one statement: Lockwarden checks right before the signal, a short gap remains, " +
  "and journal and notices say so of every act";

/** Why nobody is signalled on a server where acting was asked for. */
export function barredText(recovery: boolean): string {
  return recovery
    ? "this server is a standby, where Lockwarden only observes: what is stuck is on the primary"
    : "signals cannot be sent safely to this target, so Lockwarden only observes it: lockwarden check says why";
}

export const leaselessText = "this server has no lock by which several Lockwardens agree who acts: run only one for it";

const waitAgeText =
  "since when somebody waits this server does not say: it counts from the first look that sees it, which may be a poll later";
