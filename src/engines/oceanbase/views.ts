import type { Server } from "./connection.ts";

// Views have the same names in both modes, in a schema of their own in each.

type Mode = Server["mode"];

export const views = {
  processes: "GV$OB_PROCESSLIST",
  schedulers: "GV$OB_TRANSACTION_SCHEDULERS",
  participants: "GV$OB_TRANSACTION_PARTICIPANTS",
  locks: "GV$OB_LOCKS",
  locations: "DBA_OB_TABLE_LOCATIONS",
  objects: "DBA_OBJECTS",
} as const;

/** The name under which a view is read. */
export function viewName(mode: Mode, view: string): string {
  return mode === "oracle" ? `SYS.${view}` : `oceanbase.${view}`;
}

/** A text as the server reads it. Standard in Oracle mode; in MySQL mode a backslash escapes too. */
export function literal(mode: Mode, text: string): string {
  const escaped = mode === "oracle" ? text : text.replaceAll("\\", "\\\\");
  return `'${escaped.replaceAll("'", "''")}'`;
}
