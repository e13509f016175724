import { setImmediate as others } from "node:timers/promises";
import type { RecordedLook } from "./core/recorded-look.ts";
import type { Session } from "./core/session.ts";
import type { QueryText } from "./query-text.ts";

/** Makes looks as they may leave the process. */
export type LookMask = (look: RecordedLook) => Promise<RecordedLook>;

/** So long it keeps everything else in this process waiting, at most. */
const breathMs = 20;

export function lookMask(show: QueryText): LookMask {
  return async ({ snapshot, judgement }) => {
    const sessions: Session[] = [];
    let since = performance.now();
    for (const session of snapshot.sessions) {
      if (performance.now() - since >= breathMs) {
        await others();
        since = performance.now();
      }
      sessions.push(session.query === null ? session : { ...session, query: show(session) });
    }
    return { snapshot: { ...snapshot, sessions }, judgement };
  };
}
