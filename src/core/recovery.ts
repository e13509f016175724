import type { Decision } from "./decision.ts";
import type { JournalEvent } from "./journal-event.ts";

export type Intent = Extract<JournalEvent, { decision: Decision }>;

/** Intents, oldest first, whose outcome was never written: the crash came in between. */
export function openIntents(events: Iterable<JournalEvent>): readonly Intent[] {
  const open = new Map<string, Intent>();
  for (const event of events) followIntent(open, event);
  return [...open.values()];
}

/** One event more, for journals too large to hold: `open` keeps only what is still without an outcome. */
export function followIntent(open: Map<string, Intent>, event: JournalEvent): void {
  if (event.event === "intent") open.set(event.id, event);
  else if (event.event === "outcome" || event.event === "recovered") open.delete(event.id);
}
