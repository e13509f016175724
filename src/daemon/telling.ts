import type { Decision } from "../core/decision.ts";
import type { History } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import type { Notice } from "../notify/channel.ts";
import type { Settings } from "./settings.ts";

/** Those that one notice told of, by its id, until the last of them has ended. */
export type Bundles = Map<string, Readonly<{ rule: string; count: number }>>;

/** What it takes to tell people of one target, and to have on record what was decided there. */
export type Telling = Readonly<{
  settings: Settings;
  memory: { history: History; bundles?: Bundles };
  leader: boolean;
  journal: Readonly<{ works(): boolean; write(event: JournalEvent): Promise<void> }>;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  /** One line per action, for the log. */
  report(level: "info" | "warn" | "error", facts: object, text: string): void;
  newId(): string;
  now(): Date;
}>;

export type Said = Pick<Notice, "incident" | "phase" | "text"> &
  Partial<Pick<Notice, "decision" | "outcome" | "details">>;

/** Followers write down and do not tell. */
export function sendNotice(
  { incident, phase, decision = null, outcome = null, text, details = [] }: Said,
  channels: readonly string[] | undefined,
  { settings, leader, tell, newId, now }: Telling,
): void {
  if (!leader) return;
  const about = { id: newId(), incident, phase, at: now().toISOString(), target: settings.target.name };
  tell({ ...about, decision, outcome, text, ...(details.length > 0 && { details }) }, channels);
}

/** What was decided and not done is on record too. */
export async function writeObserved(decision: Decision, { journal, newId, now, settings }: Telling): Promise<void> {
  if (!journal.works()) return;
  await journal
    .write({ v: 1, id: newId(), at: now().toISOString(), target: settings.target.name, event: "observed", decision })
    .catch(() => undefined); // the journal itself has said so
}
