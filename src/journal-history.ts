import { isDropCause } from "./core/carry-over.ts";
import type { Decision, Outcome } from "./core/decision.ts";
import type { JournalEvent } from "./core/journal-event.ts";
import { unreachable } from "./core/unreachable.ts";
import { type JournalLine, longJournalLines } from "./journal-lines.ts";

/** Whom an act was about. */
export type Whom = Readonly<{
  pid: string | null;
  sessionId: string | null;
  handle?: string;
  gid: string | null;
  user: string | null;
  database: string | null;
  application: string | null;
}>;

/** One thing that was done: an intent and its outcome are one. */
export type Past = Readonly<{
  at: string;
  id: string;
  /** `act`: an intent with its outcome. `dropped`: a reload ended a rule's ladder before its end. */
  event: "act" | "dropped" | Exclude<JournalEvent["event"], "intent" | "outcome">;
  target: string | null;
  /** Who asked for it by hand; null: nobody did. */
  by: string | null;
  rule: string | null;
  action: string | null;
  session: Whom | null;
  /** null: none is written yet, or the thing has none. */
  outcome: string | null;
  /** Sessions that did not wait any more. */
  freed: number | null;
  tookMs: number | null;
  text: string;
}>;

export type Wanted = Readonly<{
  sinceMs: number;
  target: string | null;
  rule: string | null;
  /** What changed nothing too: observed, notices, starts, stops and reloads. */
  all: boolean;
}>;

/** Lines that are no events. */
export type Tally = { torn: number };

/** Of a crash, or of acts under way; more than these only a broken journal has. */
const mostOpen = 10_000;

/** What the journal and the newest file that a rotation made of it tell, in the order in which it ended. Holds only intents that have no outcome yet. */
export async function* journalHistory(stateDir: string, wanted: Wanted, tally: Tally): AsyncGenerator<Past> {
  const open = new Map<string, Past>();
  for await (const line of longJournalLines(stateDir)) {
    for (const past of follow(line, open, tally)) if (isWanted(past, wanted)) yield past;
  }
  for (const past of open.values()) if (isWanted(past, wanted)) yield past;
}

function follow(line: JournalLine, open: Map<string, Past>, tally: Tally): readonly Past[] {
  if (line.kind === "torn") {
    // The last one may be on its way into the file at this very moment.
    if (line.ended) tally.torn += 1;
    return [];
  }
  const { event } = line;
  switch (event.event) {
    case "intent": {
      open.set(event.id, { ...pastOf(event), event: "act" });
      const oldest = open.values().next();
      if (open.size <= mostOpen || oldest.done === true) return [];
      open.delete(oldest.value.id);
      return [oldest.value];
    }
    case "outcome":
    case "recovered": {
      const intent = open.get(event.id);
      open.delete(event.id);
      const kind = event.event === "outcome" ? "act" : "recovered";
      return [{ ...(intent ?? pastOf(event)), ...outcomeOf(event.outcome), event: kind }];
    }
    case "observed":
    case "notice":
    case "start":
    case "stop":
    case "paused":
    case "resumed":
    case "breaker":
    case "away":
    case "back":
      return [{ ...pastOf(event), event: event.event }];
    case "reload": {
      const { code, facts } = event.reason as Partial<typeof event.reason>;
      if (event.target === null || !isDropCause(code)) return [{ ...pastOf(event), event: "reload" }];
      return [{ ...pastOf(event), event: "dropped", rule: textOf(facts?.["rule"]) }];
    }
    default:
      return unreachable(event);
  }
}

function pastOf(event: JournalEvent): Omit<Past, "event"> {
  const { at, id, target } = event;
  const by = textOf(event.by);
  const nothing = { rule: null, action: null, session: null, outcome: null, freed: null, tookMs: null };
  const about = { at, id, target, by, ...nothing };
  if ("decision" in event) return { ...about, ...decisionOf(event.decision) };
  if ("outcome" in event) return { ...about, ...outcomeOf(event.outcome) };
  if ("reason" in event) return { ...about, text: event.reason.text };
  const { channel, delivered, error, text } = event;
  const failed = delivered ? "" : `not delivered (${error ?? "no error"}): `;
  return { ...about, text: `${textOf(channel) ?? "?"}: ${failed}${textOf(text) ?? ""}` };
}

// A journal may be edited by hand: what a line holds is only as sure as journal-lines.ts has looked at it.

function decisionOf({ rule, action, evidence, reason }: Decision): Pick<Past, "rule" | "action" | "session" | "text"> {
  const victim = evidence.victim as Readonly<Record<string, unknown>>;
  return {
    rule,
    action: textOf(action),
    session: {
      pid: textOf(victim["pid"]),
      sessionId: textOf(victim["sessionId"]),
      ...(typeof victim["handle"] === "string" && { handle: victim["handle"] }),
      gid: textOf(victim["gid"]),
      user: textOf(victim["user"]),
      database: textOf(victim["database"]),
      application: textOf(victim["application"]),
    },
    text: textOf((reason as Partial<Decision["reason"]> | undefined)?.text) ?? "",
  };
}

function outcomeOf({ kind, freed, tookMs, text }: Outcome): Pick<Past, "outcome" | "freed" | "tookMs" | "text"> {
  return {
    outcome: kind,
    freed: Array.isArray(freed) ? freed.length : null,
    tookMs: typeof tookMs === "number" ? tookMs : null,
    text: textOf(text) ?? "",
  };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

const tellsNothingDone: ReadonlySet<Past["event"]> = new Set(["observed", "notice", "start", "stop", "reload"]);

function isWanted(past: Past, { sinceMs, target, rule, all }: Wanted): boolean {
  if (!all && tellsNothingDone.has(past.event)) return false;
  if (rule !== null && past.rule !== rule) return false;
  // What is about no target, a pause say, is about every one.
  if (target !== null && past.target !== null && past.target !== target) return false;
  return !(Date.parse(past.at) < sinceMs);
}
