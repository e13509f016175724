import { open } from "node:fs/promises";
import type { JournalEvent } from "./core/journal-event.ts";
import { journalPath, longestLine } from "./journal.ts";
import { parseEvent } from "./journal-lines.ts";
import { errorCode, errorText } from "./owned-file.ts";

const firstBytes = 64 * 1024;

/** The journal's last event, read from its end; null: there is none. */
export async function lastEvent(stateDir: string): Promise<JournalEvent | null> {
  const path = journalPath(stateDir);
  try {
    const handle = await open(path, "r");
    try {
      const { size } = await handle.stat();
      for (let bytes = firstBytes; ; bytes *= 8) {
        const length = Math.min(bytes, size);
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
        const found = lastOf(buffer.subarray(0, bytesRead), length === size);
        if (found !== null || length === size || bytes > longestLine) return found;
      }
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw new Error(`cannot read the journal ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** `whole`: the first line is no piece of one. */
function lastOf(bytes: Buffer, whole: boolean): JournalEvent | null {
  const lines = bytes.toString("utf8").split("\n");
  for (const line of lines.slice(whole ? 0 : 1).toReversed()) {
    const event = line === "" ? null : parseEvent(line);
    if (event !== null) return event;
  }
  return null;
}
