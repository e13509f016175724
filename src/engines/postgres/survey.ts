import type { ServerTimeout, Survey, SurveyedRole, TableQuestion, TimeoutKind } from "../../core/survey.ts";
import type { Connection, Row } from "./connection.ts";
import { cloudAdmins } from "./names.ts";
import type { OpenOther } from "./relation-names.ts";
import { parseServerDuration } from "./server-duration.ts";
import { surveyTables } from "./survey-tables.ts";

export type SurveySource = Readonly<{
  connection: Connection;
  /** Another session of ours, in another database perhaps: what one cannot see of server-wide settings, it may. */
  second: Connection;
  role: string;
  database: string;
  openOther: OpenOther;
}>;

const kinds: Readonly<Record<string, TimeoutKind>> = {
  idle_in_transaction_session_timeout: "idle in transaction",
  idle_session_timeout: "idle",
  statement_timeout: "statement",
  lock_timeout: "lock",
  transaction_timeout: "transaction",
  deadlock_timeout: "deadlock",
};
const names = Object.keys(kinds);

// What a session of ours began with: the server's own value, unless our role or database has another one (`own`).
const settingsSql = `/* lockwarden:settings */
select s.name, s.reset_val as value, s.unit,
       exists (select from pg_catalog.pg_db_role_setting as o
         cross join lateral pg_catalog.unnest(o.setconfig) as c(setting)
        where (o.setrole <> 0 or o.setdatabase <> 0)
          and o.setrole in (0, (select r.oid from pg_catalog.pg_roles as r where r.rolname = session_user))
          and o.setdatabase in (0, (select d.oid from pg_catalog.pg_database as d
                                     where d.datname = pg_catalog.current_database()))
          and pg_catalog.split_part(c.setting, '=', 1) = s.name) as own
  from pg_catalog.pg_settings as s where s.name = any ($1::text[])`;

const ownSettingsSql = `/* lockwarden:role-settings */
select r.rolname as role, d.datname as database, c.setting
  from pg_catalog.pg_db_role_setting as o
 cross join lateral pg_catalog.unnest(o.setconfig) as c(setting)
  left join pg_catalog.pg_roles as r on r.oid = o.setrole
  left join pg_catalog.pg_database as d on d.oid = o.setdatabase
 where pg_catalog.split_part(c.setting, '=', 1) = any ($1::text[])
   and (o.setrole = 0) = (r.oid is null) and (o.setdatabase = 0) = (d.oid is null)`;

const rolesSql = `/* lockwarden:roles */
select rolname as name, rolcanlogin as login, rolsuper as superuser from pg_catalog.pg_roles order by 1`;

const databasesSql = `/* lockwarden:databases */
select datname as name, datistemplate as template, datallowconn as connectable,
       pg_catalog.has_database_privilege(oid, 'connect') as permitted
  from pg_catalog.pg_database order by 1`;

/** What decides whether rules can fire here; a few statements, and a short connection to a database only for table names. */
export async function survey(
  source: SurveySource,
  questions: readonly TableQuestion[],
  signal: AbortSignal,
): Promise<Survey> {
  const { connection, second } = source;
  const own = await connection.query(ownSettingsSql, [names], signal);
  const settings = await connection.query(
    settingsSql,
    [[...names, "max_connections", "max_prepared_transactions"]],
    signal,
  );
  const others = await second.query(settingsSql, [names], signal);
  const roles = await connection.query(rolesSql, [], signal);
  const databases = await connection.query(databasesSql, [], signal);
  const timeouts = timeoutsOf(own, settings, others);
  const { tables, gaps } = await surveyTables(source, { questions, databases }, signal);
  const most = (name: string) => {
    const value = settings.find((row) => row["name"] === name)?.["value"];
    return value === undefined || value === null ? null : Number(value);
  };
  return {
    timeouts: timeouts.known,
    roles: roles.map(roleOf),
    ownRole: source.role,
    databases: databases.map((row) => row["name"] ?? ""),
    mostSessions: most("max_connections"),
    mostPrepared: most("max_prepared_transactions"),
    tables,
    gaps: [...timeouts.gaps, ...gaps],
  };
}

function roleOf(row: Row): SurveyedRole {
  const name = row["name"] ?? "";
  return { name, login: row["login"] === "t", superuser: row["superuser"] === "t" || cloudAdmins.has(name) };
}

/** Pure: server-wide values, and those of roles and databases. */
export function timeoutsOf(
  own: readonly Row[],
  settings: readonly Row[],
  others: readonly Row[],
): Readonly<{ known: readonly ServerTimeout[]; gaps: readonly string[] }> {
  const known: ServerTimeout[] = [];
  const gaps: string[] = [];
  for (const row of own) {
    const [name = "", value = ""] = splitOnce(row["setting"] ?? "");
    const ms = parseServerDuration(value);
    const kind = kinds[name];
    if (ms !== null && kind !== undefined)
      known.push({ name, kind, ms, role: row["role"] ?? null, database: row["database"] ?? null });
  }
  for (const [name, kind] of Object.entries(kinds)) {
    // `alter role all set` goes before the server's file.
    if (known.some((one) => one.name === name && one.role === null && one.database === null)) continue;
    const both = [...settings, ...others].filter((row) => row["name"] === name);
    const value = both.find((row) => row["own"] === "f")?.["value"];
    const ms = value === undefined || value === null ? null : parseServerDuration(value);
    if (ms !== null) known.push({ name, kind, ms, role: null, database: null });
    else if (both.length > 0)
      gaps.push(`the server-wide ${name} cannot be seen, as Lockwarden's role or database has one of its own`);
  }
  return { known, gaps };
}

function splitOnce(setting: string): readonly string[] {
  const at = setting.indexOf("=");
  return [setting.slice(0, at), setting.slice(at + 1)];
}
