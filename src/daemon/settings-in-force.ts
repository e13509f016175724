import { carryOver, type DropCause, type Dropped, dropAll, droppedText } from "../core/carry-over.ts";
import { type History, wasTold } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import type { Notice } from "../notify/channel.ts";
import type { Log } from "./log-port.ts";
import type { Settings } from "./settings.ts";

/** The settings that go for what one target's loop does, and what becomes of ladders when there are others. */
export type SettingsInForce = Readonly<{
  /** The settings for what begins now: what was begun under others goes on only where its rule is the same. */
  adopt(next: Settings, leader: boolean): Settings;
  /** Nothing that was begun goes on. */
  drop(cause: DropCause, leader: boolean): void;
}>;

export type InForceContext = Readonly<{
  memory: { history: History };
  journal: Readonly<{ write(event: JournalEvent): Promise<void> }>;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  log: Log;
  newId(): string;
  now(): Date;
}>;

/** Once `idle` has aborted, nothing new comes into force. */
export function settingsInForce(first: Settings, context: InForceContext, idle: AbortSignal): SettingsInForce {
  const { memory } = context;
  let inForce = first;
  const rulesOf = ({ rules }: Settings) => rules.map(({ rule }) => rule);
  const say = (dropped: readonly Dropped[], leader: boolean): void => {
    for (const one of dropped) sayDropped(one, { ...context, target: inForce.target.name, leader });
  };
  return {
    adopt: (next, leader) => {
      if (idle.aborted) return inForce;
      const before = inForce;
      inForce = next;
      if (next.rules === before.rules) return next;
      const { history, dropped } = carryOver(memory.history, rulesOf(before), rulesOf(next));
      memory.history = history;
      say(dropped, leader);
      return next;
    },
    drop: (cause, leader) => say(dropAll(memory.history, rulesOf(inForce), cause), leader),
  };
}

/** A ladder that a reload ends is on record, and whoever was told of its beginning is told of its end. */
function sayDropped(
  one: Dropped,
  { target, leader, journal, tell, log, newId, now }: InForceContext & Readonly<{ target: string; leader: boolean }>,
): void {
  const { incident, rule, before, cause } = one;
  const text = droppedText(one);
  const at = now().toISOString();
  log.warn({ target, rule: rule.name, incident: incident.key }, text);
  const facts = { rule: rule.name, incident: incident.key, before };
  // What it cannot write the journal says itself.
  void journal
    .write({ v: 1, id: newId(), at, target, event: "reload", reason: { code: cause, text, facts } })
    .catch(() => undefined);
  if (!leader || !wasTold(incident)) return;
  tell(
    { id: newId(), incident: incident.key, phase: "changed", at, target, decision: null, outcome: null, text },
    rule.notify,
  );
}
