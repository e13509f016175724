import { quoted } from "./plain-text.ts";

/**
 * What people call a session by, as Lockwarden prints it: `4711,67a1b2c3.1267`, with the server log's session id, or two
 * numbers, the second one the session's own; the pid of a session that is on no thread is written 0.
 */
export type Handle = Readonly<{ pid: string; sessionId: string }>;

/** `alone`: one number. Where it is a process id it says nothing of whose that is by now; some servers name a session by it. */
export type ReadHandle =
  | (Readonly<{ kind: "handle" }> & Handle)
  | Readonly<{ kind: "alone"; pid: string }>
  | Readonly<{ kind: "wrong"; text: string }>;

const blanks = "[ \\t\\r\\n]*";
const alone = new RegExp(`^${blanks}([1-9][0-9]{0,19})${blanks}$`);
const whole = new RegExp(
  `^${blanks}([1-9][0-9]{0,19})${blanks},${blanks}([0-9a-f]{1,16})\\.([0-9a-f]{1,16})${blanks}$`,
  "i",
);
const pair = new RegExp(`^${blanks}(0|[1-9][0-9]{0,19})${blanks},${blanks}(0|[1-9][0-9]{0,19})${blanks}$`);
const longestShown = 80;
/** No handle or statement that means anything is longer; among many blanks the search for an end takes the square of their number. */
export const longestRead = 1_000;

export const handleForm = "'PID,SESSIONID' such as '4711,67a1b2c3.1267', as lockwarden tree and explain print it";

const anyForm =
  "a session as lockwarden tree and explain print it, such as '4711,67a1b2c3.1267', '139802072635136,143' or '3221487726'";

export function readHandle(written: string): ReadHandle {
  if (written.length > longestRead) return { kind: "wrong", text: `expected ${anyForm}, got ${shown(written)}` };
  const [, pid] = alone.exec(written) ?? [];
  if (pid !== undefined) return { kind: "alone", pid };
  const [, first, second] = pair.exec(written) ?? [];
  if (first !== undefined && second !== undefined) return { kind: "handle", pid: first, sessionId: second };
  const [, process, start, hex] = whole.exec(written) ?? [];
  if (process === undefined || start === undefined || hex === undefined)
    return { kind: "wrong", text: `expected ${anyForm}, got ${shown(written)}` };
  if (BigInt(`0x${hex}`) !== BigInt(process)) {
    const other = BigInt(`0x${hex}`).toString();
    const text = `expected a pid and a session id of the same process, got pid ${process} and ${start}.${hex}, which is of pid ${other}`;
    return { kind: "wrong", text };
  }
  return { kind: "handle", pid: process, sessionId: `${start}.${hex}`.toLowerCase() };
}

/** What somebody wrote, cut where it is long. */
export function shown(text: string): string {
  return quoted(text.length > longestShown ? `${text.slice(0, longestShown)}…` : text);
}
