import { setImmediate as others } from "node:timers/promises";
import type { RecordedLook } from "./core/recorded-look.ts";
import type { Session } from "./core/session.ts";
import type { QueryText } from "./query-text.ts";

/** Makes looks as they may leave the process. */
export type LookMask = (look: RecordedLook) => Promise<RecordedLook>;

const sessionsAtOnce = 100;

export function lookMask(show: QueryText): LookMask {
  return async ({ snapshot, judgement }) => {
    const sessions: Session[] = [];
    for (const session of snapshot.sessions) {
      if (sessions.length % sessionsAtOnce === sessionsAtOnce - 1) await others();
      const { query } = session;
      sessions.push(query === null ? session : { ...session, query: show(query) });
    }
    return { snapshot: { ...snapshot, sessions }, judgement };
  };
}
