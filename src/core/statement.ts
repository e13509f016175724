import type { Way } from "./by-hand.ts";
import { longestRead, shown } from "./handle.ts";

export type ReadStatement =
  /** `session`: as it was written; it is read like any handle. */
  Readonly<{ kind: "kill"; session: string; way: Way }> | Readonly<{ kind: "processes"; full: boolean }>;

type Form = Readonly<{ pattern: RegExp; read(parts: Parts): ReadStatement }>;
type Parts = Readonly<Record<string, string | undefined>>;

/** Spaces in the pattern stand for any blanks, `~` for blanks or none; nothing but a semicolon may follow. */
function pattern(text: string): RegExp {
  const spaced = text.replaceAll(" ", "[ \\t\\r\\n]+").replaceAll("~", "[ \\t\\r\\n]*");
  return new RegExp(`^[ \\t\\r\\n]*${spaced}[ \\t\\r\\n]*;?[ \\t\\r\\n]*$`, "i");
}

const kill = (session: string, way: Way): ReadStatement => ({ kind: "kill", session, way });
const signal = "select (?:pg_catalog~\\.~)?pg_(?<verb>terminate|cancel)_";
const wayOf = (verb: string | undefined): Way => (verb?.toLowerCase() === "cancel" ? "cancel" : "immediate");

/** What people know from the vendors' pages. Whatever is written, the session is found, guarded and journalled as by `kill`. */
const forms: readonly Form[] = [
  {
    pattern: pattern("alter system kill session '(?<session>[^']*)'(?<immediate> immediate)?"),
    read: ({ session = "", immediate }) => kill(session, immediate === undefined ? "gentle" : "immediate"),
  },
  {
    pattern: pattern("kill(?<query> query| connection)? (?:(?<id>\\d+)|'(?<quoted>[^']*)')"),
    read: ({ query, id, quoted = "" }) => kill(id ?? quoted, /query/iu.test(query ?? "") ? "cancel" : "immediate"),
  },
  {
    pattern: pattern(`${signal}session~\\(~(?<pid>\\d+)~,~(?<session>\\d+)~\\)`),
    read: ({ verb, pid, session }) => kill(`${pid},${session}`, wayOf(verb)),
  },
  {
    // One number, which names nobody for certain where it is a pid: the answer says who has it.
    pattern: pattern(`${signal}backend~\\(~(?<pid>\\d+)~\\)`),
    read: ({ verb, pid = "" }) => kill(pid, wayOf(verb)),
  },
  {
    pattern: pattern("show (?<full>full )?processlist"),
    read: ({ full }) => ({ kind: "processes", full: full !== undefined }),
  },
];

const known =
  "ALTER SYSTEM KILL SESSION 'PID,SESSIONID' [IMMEDIATE], KILL [QUERY] ID, SELECT pg_terminate_session(PID, SESSIONID), " +
  "SELECT pg_cancel_session(PID, SESSIONID) or SHOW [FULL] PROCESSLIST";

/** One of the statements that several vendors have for it; a text says what was expected. */
export function readStatement(sql: string): ReadStatement | string {
  for (const form of sql.length <= longestRead ? forms : []) {
    const found = form.pattern.exec(sql);
    if (found !== null) return form.read(found.groups ?? {});
  }
  return `expected ${known}, and nothing else, got ${shown(sql)}`;
}
