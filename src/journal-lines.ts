import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
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
export function journalLines(stateDir: string, longest: number = longestLine): AsyncGenerator<JournalLine> {
  return linesOf(chunks(journalPath(stateDir)), longest);
}

/**
 * The file before the last rotation, and then the journal. A copy that somebody made of the journal is called alike: what it
 * has in common with the journal is told once.
 */
export async function* longJournalLines(stateDir: string): AsyncGenerator<JournalLine> {
  const path = journalPath(stateDir);
  const rotated = await rotatedFrom(path).catch(() => null);
  if (rotated !== null) {
    const first = await firstEvent(path);
    for await (const line of linesOf(chunks(rotated))) {
      if (line.kind === "event" && first !== null && isSame(line.event, first)) break;
      yield line;
    }
  }
  yield* journalLines(stateDir);
}

async function firstEvent(path: string): Promise<JournalEvent | null> {
  for await (const line of linesOf(chunks(path))) if (line.kind === "event") return line.event;
  return null;
}

/** An outcome has the id of its intent. */
function isSame(one: JournalEvent, other: JournalEvent): boolean {
  return one.id === other.id && one.event === other.event && one.at === other.at;
}

/** The lines of a journal's bytes, wherever they come from. */
export async function* linesOf(
  bytes: AsyncIterable<Buffer>,
  longest: number = longestLine,
): AsyncGenerator<JournalLine> {
  let line = 0;
  for await (const { text, ended } of textLines(bytes, longest)) {
    line += 1;
    // An editor leaves line ends of its own, and a mark at the beginning.
    const plain = line === 1 && text?.startsWith("\ufeff") === true ? text.slice(1) : text;
    if (plain === "" || plain === "\r") continue;
    const event = plain === null ? null : parseEvent(plain);
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

/** People were told, under this id, that a target is away, and since when. */
export type Away = Readonly<{ id: string; since: string }>;

export type LeftOpen = Readonly<{
  intents: Intent[];
  /** Of each target that people were told to be away, and not yet to be back. */
  away: ReadonlyMap<string, Away>;
  torn: number;
  /** What could not be read of it, and why. */
  unread: string[];
}>;

/**
 * What a crash or a stop left open, without holding the rest of the journal in memory; the file before the last rotation
 * included. `follow` is shown every event on the way.
 */
export async function readOpenIntents(
  stateDir: string,
  follow: (event: JournalEvent) => void = () => undefined,
): Promise<LeftOpen> {
  const open = new Map<string, Intent>();
  const away = new Map<string, Away>();
  const unread: string[] = [];
  let torn = 0;
  const path = journalPath(stateDir);
  const rotated = await rotatedFrom(path).catch(() => null);
  for (const file of rotated === null ? [path] : [rotated, path]) {
    try {
      for await (const line of linesOf(chunks(file))) {
        if (line.kind === "torn") torn += 1;
        else {
          followIntent(open, line.event);
          followAway(away, line.event);
          follow(line.event);
        }
      }
    } catch (error) {
      unread.push(errorText(error));
    }
  }
  return { intents: [...open.values()], away, torn, unread };
}

function followAway(away: Map<string, Away>, event: JournalEvent): void {
  const { target, id } = event;
  if (target === null) return;
  if (event.event === "away") away.set(target, { id, since: String(event.reason.facts["since"]) });
  else if (event.event === "back") away.delete(target);
}

const packed = /\.(?:gz|bz2|xz|zst|lz4)$/;

/**
 * The newest file that a rotation made of the journal: `journal.jsonl.1`, `journal.jsonl-20260301`. An intent and its
 * outcome are moments apart, so no older one can hold an intent that is still open.
 */
async function rotatedFrom(path: string): Promise<string | null> {
  let newest: Readonly<{ file: string; mtimeMs: number }> | null = null;
  for (const name of await readdir(dirname(path))) {
    if (!/^journal\.jsonl[.-]/.test(name) || packed.test(name)) continue;
    const file = join(dirname(path), name);
    const found = await stat(file).catch(() => null);
    if (found?.isFile() !== true) continue;
    if (newest === null || found.mtimeMs > newest.mtimeMs) newest = { file, mtimeMs: found.mtimeMs };
  }
  return newest?.file ?? null;
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
    case "away":
    case "back":
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
