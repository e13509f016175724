import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Place, Running } from "./lockwarden.ts";

type Of<E extends JournalEvent["event"]> = Extract<JournalEvent, { event: E }>;
export type Intent = Extract<Of<"intent" | "observed">, { event: "intent" | "observed" }>;

/** What a daemon's journal says of it: an act is an intent. */
export async function intentsOf(here: Place): Promise<readonly Intent[]> {
  return (await here.journal()).filter((event): event is Intent => event.event === "intent");
}

export async function observedOf(here: Place): Promise<readonly Intent[]> {
  return (await here.journal()).filter((event): event is Intent => event.event === "observed");
}

export async function outcomesOf(here: Place): Promise<readonly Of<"outcome" | "recovered">[]> {
  return (await here.journal()).filter((event): event is Of<"outcome" | "recovered"> => event.event === "outcome");
}

/** `cancel 4711`. */
export function actOf({ decision }: Intent): string {
  return `${decision.action} ${pidOfVictim(decision)}`;
}

export function pidOfVictim({ evidence: { victim } }: Intent["decision"]): string {
  return victim.kind === "session" ? (victim.pid ?? "?") : victim.gid;
}

/** What it told people; without channels it is in its log. */
export function noticesOf(daemon: Running): readonly string[] {
  return daemon
    .lines()
    .filter(({ phase }) => phase === "opened" || phase === "changed" || phase === "resolved")
    .map(({ phase, msg }) => `${String(phase)} ${String(msg)}`);
}
