import type { ServerTimeout, Survey, TableQuestion, TimeoutKind } from "../../core/survey.ts";
import type { Row } from "../postgres/connection.ts";
import { parseServerDuration } from "../postgres/server-duration.ts";
import type { SurveySource } from "../postgres/survey.ts";
import { surveyTables } from "../postgres/survey-tables.ts";

/** session_timeout ends whoever says nothing for so long, in a transaction or not. */
const kinds: Readonly<Record<string, readonly TimeoutKind[]>> = {
  idle_in_transaction_session_timeout: ["idle in transaction"],
  session_timeout: ["idle", "idle in transaction"],
  statement_timeout: ["statement"],
  lockwait_timeout: ["lock"],
  update_lockwait_timeout: ["lock"],
  deadlock_timeout: ["deadlock"],
};
const names = Object.keys(kinds);

const settingsSql = `/* lockwarden:settings */
select s.name, s.reset_val as value, s.unit from pg_catalog.pg_settings as s where s.name = any ($1::text[])`;

const ownSettingsSql = `/* lockwarden:role-settings */
select o.roleid, pg_catalog.pg_get_userbyid(o.roleid)::text as role, d.datname::text as database, o.databaseid, o.setting
  from (select s.setrole as roleid, s.setdatabase as databaseid, pg_catalog.unnest(s.setconfig) as setting
          from pg_catalog.pg_db_role_setting as s) as o
  left join pg_catalog.pg_database as d on d.oid = o.databaseid
 where pg_catalog.split_part(o.setting, '=', 1) = any ($1::text[])`;

// An ordinary user is shown only himself.
const rolesSql = `/* lockwarden:roles */
select r.* from pg_catalog.pg_roles as r order by r.rolname`;

const databasesSql = `/* lockwarden:databases */
select d.datname as name, d.datistemplate as template, d.datallowconn as connectable,
       pg_catalog.has_database_privilege(d.oid, 'connect') as permitted
  from pg_catalog.pg_database as d order by 1`;

/** What decides whether rules can fire here; a few statements, and a short connection to a database only for table names. */
export async function survey(
  source: SurveySource,
  questions: readonly TableQuestion[],
  signal: AbortSignal,
): Promise<Survey> {
  const { connection } = source;
  const settings = await connection.query(
    settingsSql,
    [[...names, "max_connections", "max_prepared_transactions"]],
    signal,
  );
  const own = await connection.query(ownSettingsSql, [names], signal);
  const roles = await connection.query(rolesSql, [], signal);
  const databases = await connection.query(databasesSql, [], signal);
  const { tables, gaps } = await surveyTables(source, { questions, databases }, signal);
  const most = (name: string) => {
    const value = settings.find((row) => row["name"] === name)?.["value"];
    return value === undefined || value === null ? null : Number(value);
  };
  const rolesHidden = roles.length <= 1;
  return {
    timeouts: timeoutsOf(settings, own),
    roles: roles.map((row) => ({
      name: row["rolname"] ?? "",
      login: row["rolcanlogin"] === "t",
      superuser: row["rolsuper"] === "t" || row["rolsystemadmin"] === "t",
    })),
    ...(rolesHidden ? { rolesHidden } : {}),
    ownRole: source.role,
    databases: databases.map((row) => row["name"] ?? ""),
    mostSessions: most("max_connections"),
    mostPrepared: most("max_prepared_transactions"),
    tables,
    gaps: [
      ...(rolesHidden ? ["this server shows a user only himself, so names of users in rules were not looked up"] : []),
      ...gaps,
    ],
  };
}

/** Pure: server-wide values, and those of roles and databases. A session of ours began with the server's own, unless our role has another. */
export function timeoutsOf(settings: readonly Row[], own: readonly Row[]): readonly ServerTimeout[] {
  const units = new Map(settings.map((row) => [row["name"] ?? "", row["unit"] ?? "ms"]));
  const of = (
    name: string,
    value: string,
    where: Pick<ServerTimeout, "role" | "database">,
  ): readonly ServerTimeout[] => {
    const ms = inMs(value, units.get(name) ?? "ms");
    return ms === null ? [] : (kinds[name] ?? []).map((kind) => ({ name, kind, ms, ...where }));
  };
  const everywhere = settings.flatMap((row) =>
    of(row["name"] ?? "", row["value"] ?? "", { role: null, database: null }),
  );
  const particular = own.flatMap((row) => {
    const [, name = "", value = ""] = /^([^=]*)=(.*)$/s.exec(row["setting"] ?? "") ?? [];
    const role = row["roleid"] === "0" ? null : (row["role"] ?? null);
    return of(name, value, { role, database: row["database"] ?? null });
  });
  return [...everywhere, ...particular];
}

/** A bare number is in the setting's own unit. */
function inMs(value: string, unit: string): number | null {
  return parseServerDuration(/^\s*[\d.]+\s*$/.test(value) ? `${value.trim()}${unit}` : value);
}
