import { randomUUID } from "node:crypto";
import type { JournalEvent } from "../core/journal-event.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import type { Away } from "../journal-lines.ts";
import type { Notice } from "../notify/channel.ts";
import type { Log } from "./log-port.ts";

/** One target that cannot be looked at: said once when it begins and once when it is over, whatever happens in between. */
export type Absence = Readonly<{
  /** It cannot be looked at, for this reason. People are told when that has lasted for `awayForMs`. */
  fails(text: string, awayForMs: number): void;
  /** It is looked at, or is connected and no look is due; `how` is the sentence for the log, if it was away. */
  works(facts: object, how: string): void;
  isAway(): boolean;
  /** It is not watched for now, and nobody is told meanwhile. What was told stays known. */
  rest(): void;
}>;

export type AbsenceContext = Readonly<{
  target: string;
  /** What an earlier run told people, and has not taken back. */
  told: Away | null;
  journal: Readonly<{ write(event: JournalEvent): Promise<void> }>;
  tell(notice: Notice, channels: undefined): void;
  log: Log;
  now(): Date;
}>;

/** A server that fails in ever new words does not fill the log. */
const mostReasons = 20;
/** A timer holds no more than 24 days; the next try comes sooner. */
const longestTimerMs = 2_000_000_000;

export function absenceOf(context: AbsenceContext): Absence {
  const { target, log, now } = context;
  let told: Away | null = context.told;
  let sinceMs: number | null = told === null ? null : performance.now() - elapsed(told, now());
  let reasons = new Set<string>();
  let last = "";
  let timer: NodeJS.Timeout | undefined;

  const say = (phase: "opened" | "resolved", { id: incident, since }: Away, text: string): void => {
    const at = now().toISOString();
    context.tell({ id: randomUUID(), incident, phase, at, target, decision: null, outcome: null, text }, undefined);
    const event = phase === "opened" ? "away" : "back";
    const reason = { code: event, text, facts: { since } };
    // What it cannot write the journal says itself; a later start then does not know that people were told.
    void context.journal.write({ v: 1, id: incident, at, target, event, reason }).catch(() => undefined);
  };
  const tell = (awayForMs: number): void => {
    if (sinceMs === null || told !== null) return;
    // A timer may be early by a fraction of a millisecond.
    const awayMs = Math.max(awayForMs, performance.now() - sinceMs);
    told = { id: randomUUID(), since: new Date(now().getTime() - awayMs).toISOString() };
    say("opened", told, `it has been away for ${spokenDuration(awayMs)}, and nobody frees its locks: ${last}`);
  };
  return {
    isAway: () => sinceMs !== null,
    fails: (text, awayForMs) => {
      const begins = reasons.size === 0;
      last = text;
      sinceMs ??= performance.now();
      if (begins) log.error({ target }, `${text}; trying again until it works`);
      else if (!reasons.has(text) && reasons.size < mostReasons) log.warn({ target }, `still away: ${text}`);
      reasons.add(text);
      clearTimeout(timer);
      if (told !== null) return;
      const leftMs = Math.max(0, awayForMs - (performance.now() - sinceMs));
      if (leftMs < longestTimerMs) timer = setTimeout(() => tell(awayForMs), leftMs).unref();
    },
    works: (facts, how) => {
      if (sinceMs === null) return;
      clearTimeout(timer);
      const away = spokenDuration(performance.now() - sinceMs);
      log.info({ target, ...facts }, `${how}, after ${away} away`);
      if (told !== null) say("resolved", told, `it is back after ${away} away`);
      sinceMs = null;
      told = null;
      reasons = new Set();
    },
    rest: () => clearTimeout(timer),
  };
}

/** By the host's clock, which may have been set meanwhile. */
function elapsed({ since }: Away, now: Date): number {
  const ms = now.getTime() - Date.parse(since);
  return ms > 0 ? ms : 0;
}
