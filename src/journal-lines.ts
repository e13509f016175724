import { createReadStream } from "node:fs";
import type { JournalEvent } from "./core/journal-event.ts";
import { followIntent, type Intent } from "./core/recovery.ts";
import { journalPath, longestLine } from "./journal.ts";
import { errorCode, errorText } from "./owned-file.ts";
import { textLines } from "./text-lines.ts";

/** A line as it was read; `torn` is whatever is no event: half a line of a crash, garbage, a newer version's event. */
export type JournalLine =
  | Readonly<{ kind: "event"; event: JournalEvent }>
  /** `ended`: with a line feed; without one it may just be being written. */
  | Readonly<{ kind: "torn"; line: number; ended: boolean }>;

/** Every line of the journal, oldest first, read as a stream; no journal is an empty one. Lines never make it throw. */
export async function* journalLines(stateDir: string, longest: number = longestLine): AsyncGenerator<JournalLine> {
  let line = 0;
  for await (const { text, ended } of textLines(chunks(journalPath(stateDir)), longest)) {
    line += 1;
    if (text === "") continue;
    const event = text === null ? null : parseEvent(text);
    yield event === null ? { kind: "torn", line, ended } : { kind: "event", event };
  }
}

/** The whole journal, for one of a size that fits; else follow journalLines. */
export async function readJournal(stateDir: string): Promise<Readonly<{ events: JournalEvent[]; torn: number }>> {
  const events: JournalEvent[] = [];
  let torn = 0;
  for await (const line of journalLines(stateDir)) {
    if (line.kind === "event") events.push(line.event);
    else torn += 1;
  }
  return { events, torn };
}

/** What a crash left open, without holding the rest of the journal in memory. */
export async function readOpenIntents(stateDir: string): Promise<Readonly<{ intents: Intent[]; torn: number }>> {
  const open = new Map<string, Intent>();
  let torn = 0;
  for await (const line of journalLines(stateDir)) {
    if (line.kind === "event") followIntent(open, line.event);
    else torn += 1;
  }
  return { intents: [...open.values()], torn };
}

async function* chunks(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path)) yield chunk as Buffer;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw new Error(`cannot read the journal ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** null: it is no event. */
export function parseEvent(text: string): JournalEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isEvent(value) ? value : null;
}

function isEvent(value: unknown): value is JournalEvent {
  if (!isRecord(value) || value["v"] !== 1) return false;
  if (typeof value["id"] !== "string" || typeof value["at"] !== "string") return false;
  if (value["target"] !== null && typeof value["target"] !== "string") return false;
  switch (value["event"]) {
    case "intent":
    case "observed":
      return isDecision(value["decision"]);
    case "outcome":
    case "recovered":
      return isRecord(value["outcome"]) && typeof value["outcome"]["kind"] === "string";
    case "notice":
      return typeof value["notice"] === "string" && typeof value["channel"] === "string";
    case "start":
    case "stop":
    case "reload":
    case "paused":
    case "resumed":
    case "breaker":
      return isRecord(value["reason"]) && typeof value["reason"]["text"] === "string";
    default:
      return false;
  }
}

function isDecision(value: unknown): boolean {
  return (
    isRecord(value) &&
    typeof value["rule"] === "string" &&
    isRecord(value["evidence"]) &&
    isRecord(value["evidence"]["victim"])
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
