import { readFile } from "node:fs/promises";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { type Intent, openIntents } from "../../src/core/recovery.ts";
import { linesOf } from "../../src/journal-lines.ts";

const fixture = new URL("../../../test/fixtures/journals/real-run.jsonl", import.meta.url);

/** A journal of real runs: hostile names, notices, an outcome for each intent, and lives that were ended by kill -9. */
export async function realJournal(): Promise<Buffer> {
  return readFile(fixture);
}

/** Its lines without their ends. */
export function splitLines(journal: Buffer): readonly Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = journal.indexOf(0x0a); end !== -1; end = journal.indexOf(0x0a, start)) {
    lines.push(journal.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

export function joinLines(lines: readonly Buffer[]): Buffer {
  return Buffer.concat(lines.flatMap((line) => [line, Buffer.of(0x0a)]));
}

export type Read = Readonly<{ events: readonly JournalEvent[]; torn: number }>;

/** As the reader reads it, in chunks of so many bytes. */
export async function readBytes(bytes: Buffer, chunk = 64 * 1024): Promise<Read> {
  const events: JournalEvent[] = [];
  let torn = 0;
  for await (const line of linesOf(chunks(bytes, chunk))) {
    if (line.kind === "event") events.push(line.event);
    else torn += 1;
  }
  return { events, torn };
}

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export function openIn({ events }: Pick<Read, "events">): readonly string[] {
  return openIntents(events).map(({ id }: Intent) => id);
}

/** Said without the reader's help: an intent whose own line is among these, and whose outcome's line is not. */
export function openOf(lines: readonly Buffer[]): readonly string[] {
  const found = lines.map((line) => /"id":"([^"]*)".*?"event":"(\w+)"/.exec(line.toString("utf8")) ?? []);
  const closed = new Set(
    found.filter(([, , event]) => event === "outcome" || event === "recovered").map(([, id]) => id),
  );
  return found.flatMap(([, id, event]) => (event === "intent" && id !== undefined && !closed.has(id) ? [id] : []));
}
