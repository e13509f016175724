import type { Missing } from "../engine.ts";
import type { Connection, Row } from "./connection.ts";
import { quoteName } from "./grants.ts";
import { preparedRights } from "./prepared-rights.ts";

// USAGE, not MEMBER: the server asks for privileges that are inherited, so a membership WITH INHERIT FALSE is none.
const rightsSql = `select /* lockwarden:check */
    current_user as role,
    pg_catalog.pg_is_in_recovery() as recovery,
    (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) as superuser,
    pg_catalog.pg_has_role('pg_read_all_stats', 'usage') as reads_all,
    pg_catalog.pg_has_role('pg_signal_backend', 'usage') as signals,
    (select pg_catalog.pg_has_role(r.oid, 'usage') from pg_catalog.pg_roles r
      where r.rolname = 'pg_use_reserved_connections') as reserved,
    pg_catalog.current_setting('reserved_connections', true) as reserved_connections,
    pg_catalog.current_setting('track_activities') as track_activities`;

const functionsSql = `select /* lockwarden:check */ p.oid::pg_catalog.regprocedure as signature
    from pg_catalog.pg_proc p
   where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and p.proname = any ($1::pg_catalog.name[])
     and not pg_catalog.has_function_privilege(p.oid, 'execute')
   order by 1`;

const databasesSql = `select /* lockwarden:check */ d.datname as name
    from pg_catalog.pg_database d
   where d.datallowconn and not d.datistemplate and not pg_catalog.has_database_privilege(d.oid, 'connect')
   order by 1`;

/** What Lockwarden calls of what a careful administrator may have revoked from PUBLIC. */
const calledToSee = ["pg_stat_get_activity", "pg_lock_status", "pg_blocking_pids"];
const calledToAct = ["pg_cancel_backend", "pg_terminate_backend", "pg_try_advisory_lock"];
const mostNamed = 20;

type Asked = Pick<Connection, "query">;

/** What the role lacks, each with the SQL that grants it; a few cheap statements. */
export async function check(connection: Connection, signal: AbortSignal): Promise<readonly Missing[]> {
  const [rights = {}] = await connection.query(rightsSql, [], signal);
  const functions = await connection.query(functionsSql, [[...calledToSee, ...calledToAct]], signal);
  const databases = await closedDatabases(connection, signal);
  const found = judge(rights, names(functions, "signature"), databases);
  return [...found, ...(await preparedRights(connection, signal))];
}

/** Databases that take connections, though not from this role. */
export async function closedDatabases(connection: Asked, signal: AbortSignal): Promise<readonly string[]> {
  return names(await connection.query(databasesSql, [], signal), "name");
}

/** Pure: what these answers mean. */
export function judge(rights: Row, functions: readonly string[], databases: readonly string[]): readonly Missing[] {
  const name = rights["role"] ?? "";
  const role = quoteName(name);
  const found: Missing[] = [...standing(rights), ...membership(rights, role)];
  if (rights["track_activities"] !== "on") {
    found.push({
      missing:
        "track_activities is off for this role's sessions, and may be for others: their state and age are unknown",
      grant: "alter system set track_activities = on; select pg_catalog.pg_reload_conf();",
      fatal: true,
      needed: "to see",
    });
  }
  const isToAct = (signature: string) => calledToAct.some((called) => signature.startsWith(`${called}(`));
  for (const needed of ["to see", "to act"] as const) {
    const lacking = functions.filter((one) => isToAct(one) === (needed === "to act"));
    if (lacking.length === 0) continue;
    found.push({
      missing: `${name} may not execute ${lacking.join(", ")}`,
      grant: lacking.map((one) => `grant execute on function pg_catalog.${one} to ${role};`).join(" "),
      fatal: true,
      needed,
    });
  }
  if (databases.length > 0) found.push(noConnect(databases, role));
  return found;
}

/** What is not wrong, but should be known. */
function standing(rights: Row): readonly Missing[] {
  const found: Missing[] = [];
  if (rights["superuser"] === "t") {
    found.push({
      missing: `${rights["role"]} is a superuser: it works, and a role with just enough rights would be safer`,
      grant: "-- the SQL that lockwarden grants prints makes one",
      fatal: false,
      needed: "known",
    });
  }
  if (rights["recovery"] === "t") {
    found.push({
      missing:
        "this server is in recovery (a standby): its own sessions are seen, and signalled only where the url says target_session_attrs=standby",
      grant: "-- nothing to grant here; grants are made on the primary",
      fatal: false,
      needed: "known",
    });
  }
  return found;
}

function membership(rights: Row, role: string): readonly Missing[] {
  const found: Missing[] = [];
  if (rights["reads_all"] !== "t") {
    found.push({
      missing: "pg_read_all_stats: state, age and statement of other roles' sessions are hidden",
      grant: `grant pg_read_all_stats to ${role};`,
      fatal: true,
      needed: "to see",
    });
  }
  if (rights["signals"] !== "t") {
    found.push({
      missing: "pg_signal_backend: other roles' sessions cannot be cancelled or terminated (needed to enforce)",
      grant: `grant pg_signal_backend to ${role};`,
      fatal: true,
      needed: "to act",
    });
  }
  return [...found, ...reservedSlots(rights, role)];
}

/** 16 and later; before, only superusers have slots of their own. */
function reservedSlots(rights: Row, role: string): readonly Missing[] {
  const found: Missing[] = [];
  if (rights["reserved"] === "f") {
    found.push({
      missing: "pg_use_reserved_connections: when every connection is taken, Lockwarden cannot connect anew",
      grant: `grant pg_use_reserved_connections to ${role};`,
      fatal: false,
      needed: "advised",
    });
  }
  if (rights["reserved_connections"] === "0") {
    found.push({
      missing: "reserved_connections is 0: no connection is kept free for Lockwarden",
      grant: "alter system set reserved_connections = 3; -- takes effect at the next restart",
      fatal: false,
      needed: "advised",
    });
  }
  return found;
}

export function noConnect(databases: readonly string[], role: string): Missing {
  const named = databases.slice(0, mostNamed);
  const more = databases.length - named.length;
  return {
    missing:
      `CONNECT on ${databases.length} of the databases: tables in them have no names, and rules on tables do not match there: ` +
      `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`,
    grant: named.map((one) => `grant connect on database ${quoteName(one)} to ${role};`).join(" "),
    fatal: false,
    needed: "advised",
  };
}

function names(rows: readonly Row[], column: string): readonly string[] {
  return rows.flatMap((row) => row[column] ?? []);
}
