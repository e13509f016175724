import { glob } from "../../core/glob.ts";
import { isQualified, mayBeIn } from "../../core/server-names.ts";
import type { DatabaseTables, ServerTimeout, Survey, TableQuestion, TimeoutKind } from "../../core/survey.ts";
import type { Connection, Row, Server } from "./connection.ts";
import { reasonOf } from "./errors.ts";
import { unlessMissing } from "./recognise.ts";
import { viewName, views } from "./views.ts";

/** What ends what, and the server's unit in ms. */
const kinds: Readonly<Record<string, Readonly<{ kind: TimeoutKind; ms: number }>>> = {
  ob_trx_idle_timeout: { kind: "idle in transaction", ms: 0.001 },
  ob_trx_timeout: { kind: "transaction", ms: 0.001 },
  ob_query_timeout: { kind: "statement", ms: 0.001 },
  ob_trx_lock_timeout: { kind: "lock", ms: 0.001 },
  wait_timeout: { kind: "idle", ms: 1_000 },
};
const timeoutsSql = "SHOW GLOBAL VARIABLES LIKE '%timeout'";

const usersSql = {
  oracle: "SELECT /* lockwarden:survey */ USERNAME AS NAME FROM SYS.ALL_USERS",
  mysql: "SELECT /* lockwarden:survey */ USER AS NAME FROM mysql.user",
} as const;
const databasesSql = {
  oracle: "SELECT /* lockwarden:survey */ USERNAME AS NAME FROM SYS.ALL_USERS",
  mysql: "SELECT /* lockwarden:survey */ SCHEMA_NAME AS NAME FROM information_schema.SCHEMATA",
} as const;

const mostNames = 20_000;

/**
 * What decides whether rules can fire here. Names that cannot be read make it fail as a whole: a name would otherwise be
 * called misspelt because nobody could look it up.
 */
export async function survey(
  connection: Connection,
  { user, questions }: Readonly<{ user: string; questions: readonly TableQuestion[] }>,
  signal: AbortSignal,
): Promise<Survey> {
  const { mode } = connection.server;
  const users = await namesOf(connection, usersSql[mode], "users", signal);
  const databases = await namesOf(connection, databasesSql[mode], "databases", signal);
  const rows = await unlessMissing(connection.query(timeoutsSql, signal));
  const tables = questions.length === 0 ? [] : await tablesOf(connection, { databases, questions }, signal);
  const refused = tables.find((one) => one.refused !== null)?.refused;
  return {
    timeouts: timeoutsOf(rows ?? []),
    roles: users.map((name) => ({ name, login: true, superuser: name === (mode === "oracle" ? "SYS" : "root") })),
    ownRole: user,
    databases,
    mostSessions: null,
    mostPrepared: null,
    tables,
    gaps: [
      ...(rows === null ? ["the server's own timeouts cannot be read"] : []),
      ...(refused === undefined || refused === null
        ? []
        : [`tables could not be looked up, so names of rules may be wrong: ${refused}`]),
    ],
  };
}

async function namesOf(
  connection: Connection,
  sql: string,
  what: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const rows = await connection.query(sql, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new Error(`the names of ${what} cannot be read: ${reasonOf(cause)}`, { cause });
  });
  return [...new Set(rows.flatMap((row) => row["NAME"] ?? []))];
}

/** Pure: the server-wide values; a session may have its own. */
export function timeoutsOf(rows: readonly Row[]): readonly ServerTimeout[] {
  return rows.flatMap((row): readonly ServerTimeout[] => {
    const name = (row["VARIABLE_NAME"] ?? "").toLowerCase();
    const known = kinds[name];
    const value = Number(row["VALUE"] ?? Number.NaN);
    if (known === undefined || !Number.isFinite(value)) return [];
    // -1: as long as the statement may take.
    return [{ name, kind: known.kind, ms: Math.max(0, value * known.ms), role: null, database: null }];
  });
}

type Asked = Readonly<{ databases: readonly string[]; questions: readonly TableQuestion[] }>;

async function tablesOf(connection: Connection, asked: Asked, signal: AbortSignal): Promise<readonly DatabaseTables[]> {
  const rows = await connection.query(tablesSql(connection.server), signal).catch((error: unknown) => {
    signal.throwIfAborted();
    return reasonOf(error);
  });
  const refused = typeof rows === "string" ? rows : rows.length > mostNames ? `more than ${mostNames} tables` : null;
  const known = typeof rows === "string" ? [] : rows;
  return asked.databases.map((database) => {
    const names = known.flatMap((row) =>
      row["DATABASE_NAME"] === database && row["TABLE_NAME"] !== undefined ? [`${database}.${row["TABLE_NAME"]}`] : [],
    );
    const patterns = [...new Set(asked.questions.map(({ pattern }) => pattern))];
    const found = patterns.filter((pattern) => mayBeIn(pattern, database) && isFound(pattern, database, names));
    return { database, found, names, refused };
  });
}

function isFound(pattern: string, database: string, names: readonly string[]): boolean {
  const test = glob(pattern);
  return names.some((name) => test(isQualified(pattern) ? `${database}.${name}` : name));
}

function tablesSql({ mode, views: may }: Pick<Server, "mode" | "views">): string {
  const limit = mode === "oracle" ? `FETCH FIRST ${mostNames + 1} ROWS ONLY` : `LIMIT ${mostNames + 1}`;
  const from = may.objects
    ? `OWNER AS DATABASE_NAME, OBJECT_NAME AS TABLE_NAME FROM ${viewName(mode, views.objects)} WHERE OBJECT_TYPE = 'TABLE'`
    : `DATABASE_NAME, TABLE_NAME FROM ${viewName(mode, views.locations)}`;
  return `SELECT /* lockwarden:survey */ DISTINCT ${from} ${limit}`;
}
