import { type Dropped, droppedText } from "../core/carry-over.ts";
import { wasTold } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import type { Notice } from "../notify/channel.ts";
import type { Log } from "./log-port.ts";

export type DroppedContext = Readonly<{
  target: string;
  leader: boolean;
  journal: Readonly<{ write(event: JournalEvent): Promise<void> }>;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  log: Log;
  newId(): string;
  now(): Date;
}>;

/** A ladder that a reload ends is on record, and whoever was told of its beginning is told of its end. */
export function sayDropped(dropped: readonly Dropped[], context: DroppedContext): void {
  const { target, leader, journal, tell, log, newId, now } = context;
  for (const one of dropped) {
    const { incident, rule, before, cause } = one;
    const text = droppedText(one);
    const at = now().toISOString();
    log.warn({ target, rule: rule.name, incident: incident.key }, text);
    const facts = { rule: rule.name, incident: incident.key, before };
    // What it cannot write the journal says itself.
    void journal
      .write({ v: 1, id: newId(), at, target, event: "reload", reason: { code: cause, text, facts } })
      .catch(() => undefined);
    if (!leader || !wasTold(incident)) continue;
    tell(
      { id: newId(), incident: incident.key, phase: "changed", at, target, decision: null, outcome: null, text },
      rule.notify,
    );
  }
}
