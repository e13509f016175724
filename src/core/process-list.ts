import { plainText } from "./plain-text.ts";
import { handleOf, type Session, type Statement } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";
import { unreachable } from "./unreachable.ts";

/** One client as SHOW PROCESSLIST lists it; `id` is what `kill` takes. */
export type Process = Readonly<{
  id: string;
  user: string | null;
  host: string | null;
  db: string | null;
  command: "Query" | "Sleep" | null;
  /** Whole seconds in this state. */
  time: number | null;
  state: string | null;
  info: string | null;
}>;

/** Every client of a look at everybody; of a statement only what may be shown, and only while it runs. */
export function processList({ sessions }: Snapshot, show: (session: Statement) => string | null): readonly Process[] {
  return sessions.filter(isListed).map((session) => ({
    id: handleOf(session),
    user: session.user,
    host: session.client,
    db: session.database,
    command: commandOf(session),
    time: session.stateMs === null ? null : Math.floor(session.stateMs / 1_000),
    state: session.state,
    info: session.state === "active" ? show(session) : null,
  }));
}

/** Who is hidden may be a client. */
function isListed({ role, group }: Session): boolean {
  return (role === "client" || role === "unknown") && group === null;
}

function commandOf({ state }: Session): Process["command"] {
  switch (state) {
    case "active":
    case "other":
      return "Query";
    case "idle":
    case "idle in transaction":
    case "idle in transaction (aborted)":
      return "Sleep";
    case null:
      return null;
    default:
      return unreachable(state);
  }
}

const columns = ["id", "user", "host", "db", "command", "time", "state", "info"] as const;
const longestCell = 100;
const longestFull = 10_000;

/** The table as the vendors' own clients print it. */
export function processTable(list: readonly Process[], full: boolean): readonly string[] {
  const longest = full ? longestFull : longestCell;
  const cell = (value: string | number | null) => (value === null ? "NULL" : plainText(String(value), longest));
  const rows = list.map((one) => columns.map((column) => cell(one[column])));
  const head = columns.map((column) => column.toUpperCase());
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]) => `| ${row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const rule = `+${widths.map((width) => "-".repeat(width + 2)).join("+")}+`;
  const count = list.length === 1 ? "1 row in set" : `${list.length} rows in set`;
  if (list.length === 0) return ["Empty set"];
  return [rule, line(head), rule, ...rows.map(line), rule, count];
}
