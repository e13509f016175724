import type { Relation } from "../../core/session.ts";
import { LinkLost } from "../engine.ts";
import type { Connection, Row } from "./connection.ts";
import { readId } from "./session-id.ts";
import { locationsSql, objectsSql } from "./sql.ts";

/** What locks are about: rows name a tablet, tables an object, which is a tablet or a table. */
export type Wanted = Readonly<{ tablets: Iterable<string>; objects: Iterable<string> }>;

/** Names of tables. One that cannot be read is a gap, never an error: a look goes on without. */
export type TableNames = Readonly<{
  prepare(wanted: Wanted, signal: AbortSignal): Promise<string | null>;
  ofTablet(id: string): Relation | null;
  ofObject(id: string): Relation | null;
}>;

const freshForMs = 10_000;
const mostIds = 500;

type Place = Readonly<{ relation: Relation; tableId: string; dataTableId: string | null; tabletId: string | null }>;
type By = "TABLET_ID" | "TABLE_ID";

export function tableNames(connection: Connection, now: () => number = () => performance.now()): TableNames {
  const { mode, views } = connection.server;
  let places: Place[] = [];
  let asked: Record<By, Set<string>> = { TABLET_ID: new Set(), TABLE_ID: new Set() };
  let sinceMs = Number.NEGATIVE_INFINITY;
  let problem: string | null = null;

  const load = async (by: By, ids: Iterable<string>, signal: AbortSignal): Promise<readonly Place[]> => {
    const unknown = [...new Set(ids)].filter((id) => !asked[by].has(id)).slice(0, mostIds);
    if (unknown.length === 0) return [];
    for (const id of unknown) asked[by].add(id);
    const sql = views.locations ? locationsSql : objectsSql;
    const found = (await connection.query(sql(mode, by, unknown), signal)).flatMap(placeOf);
    places.push(...found);
    return found;
  };
  return {
    prepare: async ({ tablets, objects }, signal) => {
      const [ofRows, ofTables] = [[...tablets], [...objects]];
      if (ofRows.length + ofTables.length === 0) return null;
      if (!views.locations && !views.objects)
        return "the names of tables cannot be read (DBA_OB_TABLE_LOCATIONS), so rules about tables match nobody";
      if (now() - sinceMs >= freshForMs) {
        places = [];
        asked = { TABLET_ID: new Set(), TABLE_ID: new Set() };
        sinceMs = now();
        problem = null;
      }
      if (problem !== null) return problem;
      try {
        await load("TABLET_ID", [...ofRows, ...ofTables], signal);
        await load("TABLE_ID", ofTables, signal);
        // An index stands for its table.
        await load(
          "TABLE_ID",
          places.flatMap(({ dataTableId }) => dataTableId ?? []),
          signal,
        );
      } catch (error) {
        if (error instanceof LinkLost || signal.aborted) throw error;
        places = [];
        const reason = error instanceof Error ? error.message : String(error);
        problem = `the names of tables cannot be read (${reason}), so rules about tables match nobody for ${freshForMs / 1_000} s`;
      }
      return problem;
    },
    ofTablet: (id) => only(places, (place) => place.tabletId === id),
    ofObject: (id) => only(places, (place) => place.tabletId === id || place.tableId === id),
  };
}

/** The one table that fits; null where several do, as tablets and tables are numbered apart. */
function only(places: readonly Place[], fits: (place: Place) => boolean): Relation | null {
  const found = new Map<string, Relation>();
  for (const place of places) {
    if (!fits(place)) continue;
    const table = place.dataTableId === null ? place : places.find((one) => one.tableId === place.dataTableId);
    if (table === undefined) return null;
    found.set(table.tableId, table.relation);
  }
  const [relation] = found.values();
  return found.size === 1 && relation !== undefined ? relation : null;
}

function placeOf(row: Row): readonly Place[] {
  const { DATABASE_NAME: schema, TABLE_NAME: name } = row;
  const tableId = readId(row["TABLE_ID"]);
  if (schema === null || schema === undefined || name === null || name === undefined || tableId === null) return [];
  const data = readId(row["DATA_TABLE_ID"]);
  const dataTableId = data === tableId ? null : data;
  const relation = { database: schema, schema, name, ancestors: [] };
  return [{ relation, tableId, dataTableId, tabletId: readId(row["TABLET_ID"]) }];
}
