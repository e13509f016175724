import { anyGlob } from "../../core/glob.ts";
import { isQualified, mayBeIn } from "../../core/server-names.ts";
import type { DatabaseTables, TableQuestion } from "../../core/survey.ts";
import { LinkLost } from "../engine.ts";
import type { Connection, Row } from "./connection.ts";
import { reasonOf } from "./names.ts";
import type { OpenOther } from "./relation-names.ts";

export type TablesSource = Readonly<{ connection: Connection; database: string; openOther: OpenOther }>;
export type TablesAsked = Readonly<{ questions: readonly TableQuestion[]; databases: readonly Row[] }>;
export type TablesFound = Readonly<{ tables: readonly DatabaseTables[]; gaps: readonly string[] }>;

/** Short connections, one after the other. */
const mostDatabases = 32;
const mostNames = 20_000;

// What a lock can be about by name: an index and a TOAST table stand for their table.
const foundSql = `/* lockwarden:patterns */
select p.pattern
  from (select pg_catalog.unnest($1::text[]) as pattern, pg_catalog.unnest($2::text[]) as likeness,
               pg_catalog.unnest($3::boolean[]) as qualified) as p
 where exists (
   select 1 from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'm', 'f', 'v', 'S')
      and (case when p.qualified then pg_catalog.current_database() || '.' || n.nspname || '.' || c.relname
                else n.nspname || '.' || c.relname end) collate "C" like p.likeness)`;

const namesSql = `/* lockwarden:tables */
select n.nspname || '.' || c.relname as name
  from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'm', 'f', 'v')
   and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
 limit ${mostNames}`;

/** In which databases there is a table for each pattern; others are connected to only while one is missing. */
export async function surveyTables(
  source: TablesSource,
  asked: TablesAsked,
  signal: AbortSignal,
): Promise<TablesFound> {
  const tables: DatabaseTables[] = [];
  const gaps: string[] = [];
  let connections = 0;
  for (const { name, why } of databasesOf(asked.databases, source.database)) {
    const patterns = openQuestions(asked.questions, tables, name);
    if (patterns.length === 0) continue;
    const atHome = name === source.database;
    const refused =
      why ?? (!atHome && ++connections > mostDatabases ? `more than ${mostDatabases} databases to ask` : null);
    const read = refused === null ? await readDatabase(source, name, patterns, signal) : refusal(name, refused);
    tables.push(read);
    if (read.refused !== null)
      gaps.push(
        `tables of database ${name} could not be looked up, so names of rules may be wrong there: ${read.refused}`,
      );
  }
  return { tables, gaps };
}

/** Our own first. Templates and closed databases have no sessions, and are never connected to. */
function databasesOf(rows: readonly Row[], home: string): readonly Readonly<{ name: string; why: string | null }>[] {
  const open = rows.filter((row) => row["connectable"] === "t" && (row["template"] !== "t" || row["name"] === home));
  return open
    .toSorted((one, other) => Number(other["name"] === home) - Number(one["name"] === home))
    .map((row) => ({ name: row["name"] ?? "", why: row["permitted"] === "t" ? null : "no CONNECT on it" }));
}

/** Patterns that could be of this database and were not yet found where their rule looks. */
function openQuestions(
  questions: readonly TableQuestion[],
  tables: readonly DatabaseTables[],
  database: string,
): readonly string[] {
  const open = questions.filter(({ pattern, databases }) => {
    const about = databases === null ? () => true : anyGlob(databases);
    if (!about(database) || !mayBeIn(pattern, database)) return false;
    return !tables.some((one) => about(one.database) && one.found.includes(pattern));
  });
  return [...new Set(open.map(({ pattern }) => pattern))];
}

async function readDatabase(
  source: TablesSource,
  database: string,
  patterns: readonly string[],
  signal: AbortSignal,
): Promise<DatabaseTables> {
  if (database === source.database) return readTables(source.connection, database, patterns, signal);
  try {
    const connection = await source.openOther(database, signal);
    try {
      return await readTables(connection, database, patterns, signal);
    } finally {
      await connection.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    return refusal(database, reasonOf(error));
  }
}

async function readTables(
  connection: Connection,
  database: string,
  patterns: readonly string[],
  signal: AbortSignal,
): Promise<DatabaseTables> {
  try {
    const qualified = patterns.map((pattern) => String(isQualified(pattern)));
    const rows = await connection.query(foundSql, [patterns, patterns.map(likeness), qualified], signal);
    const found = rows.map((row) => row["pattern"] ?? "");
    const complete = patterns.every((pattern) => found.includes(pattern));
    const names = complete ? [] : await connection.query(namesSql, [], signal);
    return { database, found, names: names.map((row) => row["name"] ?? ""), refused: null };
  } catch (error) {
    if (error instanceof LinkLost || signal.aborted) throw error;
    return refusal(database, reasonOf(error));
  }
}

function refusal(database: string, refused: string): DatabaseTables {
  return { database, found: [], names: [], refused };
}

/** A glob as LIKE has it. */
export function likeness(glob: string): string {
  return glob
    .replace(/[\\%_]/g, "\\$&")
    .replaceAll("*", "%")
    .replaceAll("?", "_");
}
