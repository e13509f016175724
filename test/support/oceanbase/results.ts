import type pg from "pg";
import { columnNames } from "./names.ts";
import type { Cell, Column } from "./packets.ts";
import type { Table } from "./show.ts";
import type { Token } from "./tokens.ts";
import type { Mode, Session } from "./world.ts";

const types = {
  long: 3,
  double: 5,
  longLong: 8,
  dateTime: 12,
  timestampLocal: 201,
  interval: 205,
  decimal: 246,
  text: 253,
} as const;

/** PostgreSQL's own numbers of the types that occur. */
const oid = {
  bool: 16,
  int8: 20,
  int2: 21,
  int4: 23,
  float4: 700,
  float8: 701,
  timestamp: 1114,
  interval: 1186,
  numeric: 1700,
};

/** The mode's own type: every number of Oracle mode is a NUMBER, which goes over the wire as a decimal. */
function typeOf(type: number, mode: Mode): number {
  switch (type) {
    case oid.int8:
    case oid.bool:
      return mode === "oracle" ? types.decimal : types.longLong;
    case oid.int2:
    case oid.int4:
      return mode === "oracle" ? types.decimal : types.long;
    case oid.float4:
    case oid.float8:
      return mode === "oracle" ? types.decimal : types.double;
    case oid.numeric:
      return types.decimal;
    case oid.timestamp:
      return mode === "oracle" ? types.timestampLocal : types.dateTime;
    case oid.interval:
      return types.interval;
    default:
      return types.text;
  }
}

/** A result of PostgreSQL as the mode shows it. */
export function shown(
  { fields, rows }: Pick<pg.QueryArrayResult<Cell[]>, "fields" | "rows">,
  tokens: readonly Token[],
  session: Session,
): { columns: Column[]; rows: Cell[][] } {
  const names = columnNames(
    tokens,
    fields.map(({ name }) => name),
    session.mode,
  );
  const columns = fields.map(({ dataTypeID }, at) => {
    const type = typeOf(dataTypeID, session.mode);
    return { name: names[at] ?? "", type, numeric: type !== types.text };
  });
  return {
    columns,
    rows: rows.map((row) => row.map((cell, at) => shownCell(cell, fields[at]?.dataTypeID ?? 0, session))),
  };
}

function shownCell(cell: Cell, type: number, session: Session): Cell {
  if (cell === null) return null;
  if (type === oid.bool) return cell === "t" ? "1" : "0";
  if (type === oid.timestamp) return timestamp(cell, session);
  if (cell === "" && session.mode === "oracle") return null;
  return /^\("[\d: -]+"\)$/.test(cell) ? cell.slice(2, -2) : cell;
}

const months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/** Oracle mode writes DD-MON-RR HH.MI.SSXFF AM until the session sets a format that begins with the year. */
function timestamp(text: string, session: Session): string {
  const full = text.includes(".") ? text.padEnd(26, "0") : `${text}.000000`;
  const format =
    session.variables.get("nls_timestamp_tz_format") ?? session.variables.get("nls_timestamp_format") ?? "";
  if (session.mode === "mysql" || /^yyyy/i.test(format)) return full;
  const [, year = "", month = "", day = "", hour = "", rest = ""] = /^..(..)-(..)-(..) (..):(.*)$/.exec(full) ?? [];
  const half = Number(hour) < 12 ? "AM" : "PM";
  const clock = String(Number(hour) % 12 || 12).padStart(2, "0");
  return `${day}-${months[Number(month) - 1]}-${year} ${clock}.${rest.replace(":", ".")} ${half}`;
}

/** What SHOW answers, as columns and rows. */
export function shownTable({ names, numbers, rows }: Table): { columns: Column[]; rows: Cell[][] } {
  const columns = names.map((name) => ({
    name,
    type: numbers.includes(name) ? types.longLong : types.text,
    numeric: numbers.includes(name),
  }));
  return { columns, rows: rows.map((row) => [...row]) };
}
