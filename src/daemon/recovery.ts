import { isByHand } from "../core/by-hand-outcome.ts";
import type { Outcome } from "../core/decision.ts";
import { subjectText } from "../core/news.ts";
import type { Intent } from "../core/recovery.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import { type Link, LinkLost } from "../engines/engine.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";

export type RecoveryContext = Readonly<{
  intents: readonly Intent[];
  journal: JournalGate;
  log: Log;
  /** Tells people. */
  shout(text: string): void;
  now(): Date;
}>;

/** Intents that a crash left without an outcome: each is looked into once, and never acted on again. */
export type Recovery = Readonly<{
  /** With the target's first connection: what became of its victims? */
  lookInto(link: Link, target: string, signal: AbortSignal): Promise<void>;
  /** Those of targets that are not watched any more stay unknown. */
  giveUp(watched: readonly string[]): Promise<void>;
}>;

export function recovery({ intents, journal, log, shout, now }: RecoveryContext): Recovery {
  let open = [...intents];
  const close = async (intent: Intent, outcome: Outcome): Promise<void> => {
    const { id, target, decision } = intent;
    const text = `interrupted ${decision.action} of ${subjectText(decision)}: ${outcome.kind}: ${outcome.text}`;
    await journal.write({ v: 1, id, at: now().toISOString(), target, event: "recovered", outcome });
    log.warn({ target, incident: decision.incident, outcome: outcome.kind }, text);
    shout(`${target ?? "?"}: ${text}`);
    open = open.filter((one) => one !== intent);
  };
  return {
    lookInto: async (link, target, signal) => {
      for (const intent of open.filter((one) => one.target === target)) {
        const outcome = await whatBecameOf(intent, link, now(), signal).catch((error: unknown) => {
          if (error instanceof LinkLost || signal.aborted) throw error;
          return unreadable(error);
        });
        // A journal that cannot be written says so itself; the intent stays open until it can.
        await close(intent, outcome).catch(() => undefined);
      }
    },
    giveUp: async (watched) => {
      for (const intent of open.filter((one) => one.target === null || !watched.includes(one.target))) {
        const text = "its target is not in the config any more, so nobody can look";
        await close(intent, { ...nothing, kind: "unknown", text }).catch(() => undefined);
      }
    },
  };
}

const nothing = { tookMs: 0, freed: [], next: null };

/** Of another version, say, or edited by hand: the target is watched all the same. */
function unreadable(error: unknown): Outcome {
  const why = error instanceof Error ? error.message : String(error);
  return { ...nothing, kind: "unknown", text: `what became of its victim cannot be looked into: ${why}` };
}

async function whatBecameOf({ at, decision }: Intent, link: Link, now: Date, signal: AbortSignal): Promise<Outcome> {
  const ago = spokenDuration(now.getTime() - Date.parse(at));
  const proof = await link.prove(decision.evidence, signal);
  const tail = `Lockwarden ended ${ago} ago between the intent and its outcome, and does not know whether the signal went out`;
  if (isByHand(decision)) {
    const text = `the session ${proof.alive ? "is still there, and nothing more is sent to it" : "is gone"}; ${tail}`;
    return { ...nothing, kind: "unknown", text };
  }
  if (!proof.sameTransaction) return { ...nothing, kind: "unknown", text: `the transaction is gone; ${tail}` };
  return { ...nothing, kind: "unknown", text: `the transaction is still there, and is judged anew; ${tail}` };
}
