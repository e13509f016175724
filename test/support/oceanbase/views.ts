import { mysqlDictionary, mysqlGuarded, oracleDictionary, oracleGuarded } from "./dictionary.ts";
import { locations, obLocks } from "./lock-views.ts";
import { participants, processlist, schedulers } from "./session-views.ts";
import { literal } from "./translate.ts";
import type { Scope, Value, View } from "./view.ts";
import { isFrom, type Mode, type World } from "./world.ts";

type Views = Readonly<Record<string, (scope: Scope) => View>>;

const always: Views = {
  gv$ob_processlist: processlist,
  gv$ob_transaction_participants: participants,
  dba_ob_table_locations: locations,
};

/** The views that a server of this version has, in lower case; those in `open` need no grant. */
export function viewsOf(world: World, mode: Mode): { all: Views; open: ReadonlySet<string> } {
  const open = mode === "oracle" ? oracleDictionary : mysqlDictionary;
  const all = {
    ...always,
    ...open,
    ...(mode === "oracle" ? oracleGuarded : mysqlGuarded),
    ...(isFrom(world, "4.2") ? { gv$ob_locks: obLocks } : {}),
    ...(isFrom(world, "4.2.1") ? { gv$ob_transaction_schedulers: schedulers } : {}),
  };
  return { all, open: new Set(Object.keys(open)) };
}

/** The view as a common table expression, its rows as they are now. In Oracle mode an empty text is NULL. */
export function asTable(name: string, view: View | undefined, mode: Mode): string {
  const { columns, rows } = view ?? { columns: [], rows: [] };
  const json = rows.map((row) =>
    Object.fromEntries(columns.map(([column]) => [column.toLowerCase(), text(row[column] ?? null, mode)])),
  );
  const types = columns.map(([column, type]) => `"${column.toLowerCase()}" ${type}`).join(", ");
  return `"${name}" as (select * from json_to_recordset(${literal(JSON.stringify(json))}::json) as t(${types}))`;
}

function text(value: Value, mode: Mode): string | null {
  return value === null || (value === "" && mode === "oracle") ? null : String(value);
}
