import { LinkLost } from "../engines/engine.ts";

const firstBackoffMs = 500;
export const longestBackoffMs = 30_000;
/** Accounts are locked after so many wrong passwords. */
const longestAfterWrongPasswordMs = 300_000;

/** How long to wait, after so many tries that failed, before the next one. */
export function backoffMs(failures: number, error: unknown): number {
  const harmful = error instanceof LinkLost && error.wrongPassword;
  const longestMs = harmful ? longestAfterWrongPasswordMs : longestBackoffMs;
  // Daemons that lost the same server do not all come back at the same moment.
  return Math.min(longestMs, firstBackoffMs * 2 ** failures) * (0.75 + Math.random() / 2);
}
