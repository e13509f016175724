import { setImmediate as others } from "node:timers/promises";
import type { RecordedLook } from "./core/recorded-look.ts";
import type { Session } from "./core/session.ts";
import type { QueryText } from "./query-text.ts";

/** Makes looks as they may leave the process. */
export type LookMask = (look: RecordedLook) => Promise<RecordedLook>;

/** Scanning a statement takes time, and the same ones run again and again. */
const mostKnown = 5_000;
const sessionsAtOnce = 100;

export function lookMask(show: QueryText): LookMask {
  const known = new Map<string, string | null>();
  const shown = (query: string): string | null => {
    const before = known.get(query);
    if (before !== undefined) return before;
    if (known.size >= mostKnown) known.clear();
    const masked = show(query);
    known.set(query, masked);
    return masked;
  };
  return async ({ snapshot, judgement }) => {
    const sessions: Session[] = [];
    for (const session of snapshot.sessions) {
      if (sessions.length % sessionsAtOnce === sessionsAtOnce - 1) await others();
      const { query } = session;
      sessions.push(query === null ? session : { ...session, query: shown(query) });
    }
    return { snapshot: { ...snapshot, sessions }, judgement };
  };
}
