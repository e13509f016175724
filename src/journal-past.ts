import type { Limits } from "./config/schema.ts";
import { followPast, type Past } from "./core/journal-past.ts";
import { actMemoryMs } from "./core/remember.ts";
import { readOpenIntents } from "./journal-lines.ts";

/** Whom signals went out to, as far as it counts for these limits. Throws when that cannot be read: then nobody knows. */
export async function readPast(stateDir: string, limits: Limits): Promise<Past> {
  const past: Past = new Map();
  const { unread } = await readOpenIntents(stateDir, (event) => followPast(past, event, actMemoryMs(limits)));
  if (unread.length > 0) throw new Error(`whom signals went out to is not known: ${unread.join("; ")}`);
  return past;
}
