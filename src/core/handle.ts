/** What people call a session by: `4711,67a1b2c3.1267`, as Lockwarden and the server's log print it. */
export type Handle = Readonly<{ pid: string; sessionId: string }>;

/** `pid`: a process id alone, which says nothing of whose it is by now. */
export type ReadHandle =
  | (Readonly<{ kind: "handle" }> & Handle)
  | Readonly<{ kind: "pid"; pid: string }>
  | Readonly<{ kind: "wrong"; text: string }>;

const blanks = "[ \\t\\r\\n]*";
const alone = new RegExp(`^${blanks}([1-9][0-9]{0,19})${blanks}$`);
const whole = new RegExp(
  `^${blanks}([1-9][0-9]{0,19})${blanks},${blanks}([0-9a-f]{1,16})\\.([0-9a-f]{1,16})${blanks}$`,
  "i",
);
const longestShown = 80;
/** No handle or statement that means anything is longer; among many blanks the search for an end takes the square of their number. */
const longestRead = 1_000;

export const handleForm = "'PID,SESSIONID' such as '4711,67a1b2c3.1267', as lockwarden tree and explain print it";

export function readHandle(written: string): ReadHandle {
  if (written.length > longestRead) return { kind: "wrong", text: `expected ${handleForm}, got ${shown(written)}` };
  const [, pid] = alone.exec(written) ?? [];
  if (pid !== undefined) return { kind: "pid", pid };
  const [, process, start, hex] = whole.exec(written) ?? [];
  if (process === undefined || start === undefined || hex === undefined)
    return { kind: "wrong", text: `expected ${handleForm}, got ${shown(written)}` };
  if (BigInt(`0x${hex}`) !== BigInt(process)) {
    const other = BigInt(`0x${hex}`).toString();
    const text = `expected a pid and a session id of the same process, got pid ${process} and ${start}.${hex}, which is of pid ${other}`;
    return { kind: "wrong", text };
  }
  return { kind: "handle", pid: process, sessionId: `${start}.${hex}`.toLowerCase() };
}

const statement =
  /^[ \t\r\n]*alter[ \t\r\n]+system[ \t\r\n]+kill[ \t\r\n]+session[ \t\r\n]+'([^']*)'([ \t\r\n]+immediate)?[ \t\r\n]*;?[ \t\r\n]*$/i;

/** The one statement that GaussDB, openGauss and OceanBase have for it; a text says what was expected. */
export function readKillStatement(sql: string): Readonly<{ session: string; immediate: boolean }> | string {
  const [all, session, immediate] = sql.length > longestRead ? [] : (statement.exec(sql) ?? []);
  if (all === undefined || session === undefined)
    return `expected ALTER SYSTEM KILL SESSION 'PID,SESSIONID' [IMMEDIATE], and nothing else, got ${shown(sql)}`;
  return { session, immediate: immediate !== undefined };
}

function shown(text: string): string {
  return JSON.stringify(text.length > longestShown ? `${text.slice(0, longestShown)}…` : text);
}
