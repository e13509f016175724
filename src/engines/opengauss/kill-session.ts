import type { Row } from "../postgres/connection.ts";
import type { Product } from "./product.ts";

/** Digits of one id; nothing else is ever written into a statement. */
const digits = /^\d{1,19}$/;

/** The one statement of these servers that takes no parameters: the ids are in its text, so they are digits or it is not made. */
export function killSessionSql(pid: string, sessionId: string): string | null {
  if (!digits.test(pid) || !digits.test(sessionId)) return null;
  return `alter system kill session '${pid},${sessionId}'`;
}

/** Why the statement must not be sent here; null: it may. */
export function killSessionRefusal(
  { threadPool, killSession }: Product,
  pid: string,
  sessionId: string,
): string | null {
  if (killSession === null) return "what ALTER SYSTEM KILL SESSION does on this server is not known, so it is not sent";
  if (!threadPool) return null;
  // By thread: it would end whichever session is on that thread by then.
  if (killSession === "pg_terminate_backend")
    return "ALTER SYSTEM KILL SESSION of this server ends whoever is on a thread, and the thread pool is on: it is never sent here";
  return pid === sessionId ? `${pid},${sessionId} names a thread of the server's own, no session of the pool` : null;
}

/** The one boolean that it answers, and whether its column says that the expected function ran. */
export function killSessionAnswer(row: Row | undefined, { killSession }: Product): "t" | "f" | "unexpected" {
  const answer = killSession === null ? undefined : row?.[killSession];
  return answer === "t" || answer === "f" ? answer : "unexpected";
}

export const unguardedText =
  "ALTER SYSTEM KILL SESSION cannot be guarded in one statement: the session was read again right before it was sent";
