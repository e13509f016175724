import pg from "pg";
import type { Missing } from "../engine.ts";
import { closedDatabases, noConnect } from "../postgres/check.ts";
import type { Connection, Row } from "../postgres/connection.ts";
import { quoteName } from "../postgres/grants.ts";
import { initialUserId } from "./never-victims.ts";
import type { Product } from "./product.ts";
import { hiddenSessions, hiddenText } from "./visibility.ts";

// All columns: which kinds of administrator there are depends on the release. Everybody may read the line of his own.
const roleSql = `select /* lockwarden:check */ r.* from pg_catalog.pg_roles as r where r.rolname = current_user`;

const rightsSql = `select /* lockwarden:check */
    current_user as role,
    pg_catalog.pg_is_in_recovery() as recovery,
    pg_catalog.current_setting('track_activities') as track_activities`;

const signalsSql = `select /* lockwarden:check */ pg_catalog.pg_has_role('gs_role_signal_backend', 'usage') as signals`;

const functionsSql = `select /* lockwarden:check */ distinct p.proname as name
    from pg_catalog.pg_proc as p
   where p.pronamespace = (select n.oid from pg_catalog.pg_namespace as n where n.nspname = 'pg_catalog')
     and p.proname in ('pg_terminate_session', 'pg_cancel_session', 'pg_try_advisory_lock')
     and not pg_catalog.has_function_privilege(p.oid, 'execute')
   order by 1`;

const preparedSql = `select /* lockwarden:check */ distinct p.owner::text as owner from pg_catalog.pg_prepared_xacts as p
   where p.owner <> current_user order by 1`;

const mostNamed = 20;

/** What the answers said; null: the server has no such thing, or did not say. */
export type Rights = Readonly<{
  role: string;
  initialUser: boolean;
  administrator: boolean;
  monitors: boolean;
  signals: boolean | null;
  recovery: boolean;
  tracksActivities: boolean;
  hidden: readonly string[];
  /** Functions that it may not call. */
  functions: readonly string[];
  databases: readonly string[];
  preparedOwners: readonly string[];
}>;

/** What the role lacks, each with the SQL that grants it; a few cheap statements. */
export async function check(
  connection: Connection,
  product: Product,
  signal: AbortSignal,
): Promise<readonly Missing[]> {
  const [rights = {}] = await connection.query(rightsSql, [], signal);
  const [role = {}] = await connection.query(roleSql, [], signal);
  const owners = await connection.query(preparedSql, [], signal);
  const functions = await connection.query(functionsSql, [], signal);
  const found: Rights = {
    role: rights["role"] ?? "",
    initialUser: role["oid"] === initialUserId,
    administrator: role["rolsystemadmin"] === "t" || role["oid"] === initialUserId,
    monitors: role["rolmonitoradmin"] === "t",
    signals: await maySignal(connection, signal),
    recovery: rights["recovery"] === "t",
    tracksActivities: rights["track_activities"] === "on",
    hidden: await hiddenSessions(connection, product, signal),
    functions: texts(functions, "name"),
    databases: await closedDatabases(connection, signal),
    preparedOwners: texts(owners, "owner"),
  };
  return judge(found, product);
}

/** null: this release has no such role. */
async function maySignal(connection: Connection, signal: AbortSignal): Promise<boolean | null> {
  try {
    const [row] = await connection.query(signalsSql, [], signal);
    return row?.["signals"] === "t";
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === "42704") return null;
    throw error;
  }
}

/** Pure: what these answers mean. */
export function judge(rights: Rights, product: Product): readonly Missing[] {
  const role = quoteName(rights.role);
  return [
    ...standing(rights),
    ...seeing(rights, role),
    ...acting(rights, role, product),
    ...(rights.databases.length > 0 ? [noConnect(rights.databases, role)] : []),
    ...prepared(rights),
  ];
}

/** What is not wrong, but should be known. */
function standing({ role, initialUser, administrator, recovery }: Rights): readonly Missing[] {
  const found: Missing[] = [];
  const known = (missing: string, grant: string) => found.push({ missing, grant, fatal: false, needed: "known" });
  if (initialUser)
    known(
      `${role} is the initial user, who may do everything and is let in from the server's own host only`,
      "-- the SQL that lockwarden grants prints makes one with just enough rights",
    );
  else if (administrator)
    known(
      `${role} is a system administrator: it works, and a role with just enough rights would be safer`,
      "-- the SQL that lockwarden grants prints makes one",
    );
  if (recovery)
    known(
      "this server is in recovery (a standby): its own sessions are seen, and signalled only where the url says target_session_attrs=standby",
      "-- nothing to grant here; grants are made on the primary",
    );
  return found;
}

function seeing({ administrator, monitors, tracksActivities, hidden }: Rights, role: string): readonly Missing[] {
  const found: Missing[] = [];
  const grant = `alter user ${role} monadmin;`;
  if (!administrator && !monitors)
    found.push({
      missing: "MONADMIN: sessions of other users are missing from pg_stat_activity, while their locks show",
      grant,
      fatal: true,
      needed: "to see",
    });
  if (hidden.length > 0)
    found.push({
      missing: `${hiddenText(hidden.length)}, so Lockwarden acts on nobody here (session ids: ${some(hidden)})`,
      grant,
      fatal: true,
      needed: "to act",
    });
  if (!tracksActivities)
    found.push({
      missing:
        "track_activities is off for this role's sessions, and may be for others: their state and age are unknown",
      grant: '-- set track_activities = on in postgresql.conf (gs_guc reload -c "track_activities = on")',
      fatal: true,
      needed: "to see",
    });
  return found;
}

function acting(
  { role: name, administrator, signals, functions }: Rights,
  role: string,
  product: Product,
): readonly Missing[] {
  const found: Missing[] = [];
  if (!administrator && signals !== true)
    found.push({
      missing:
        signals === null
          ? "this release has no role gs_role_signal_backend: only a system administrator, the owner of its database or its own user may end a session"
          : "gs_role_signal_backend: other users' sessions cannot be cancelled or terminated (needed to enforce)",
      grant: signals === null ? `alter user ${role} sysadmin;` : `grant gs_role_signal_backend to ${role};`,
      fatal: true,
      needed: "to act",
    });
  if (functions.length > 0)
    found.push({
      missing: `${name} may not execute ${functions.join(", ")}`,
      grant: functions
        .map(
          (one) =>
            `grant execute on function pg_catalog.${one}(${one === lockFunction ? "int, int" : "int8, int8"}) to ${role};`,
        )
        .join(" "),
      fatal: true,
      needed: "to act",
    });
  return [...found, ...abilities(product)];
}

const lockFunction = "pg_try_advisory_lock";

/** What this release cannot do, whoever asks. */
function abilities({
  name,
  version,
  threadPool,
  terminateSession,
  cancelSession,
  killSession,
}: Product): readonly Missing[] {
  const found: Missing[] = [];
  const grant = `-- nothing to grant: ${name} ${version} has no such function`;
  if (threadPool && !terminateSession && killSession !== "pg_terminate_session")
    found.push({
      missing:
        "pg_terminate_session: with the thread pool on, a session cannot be ended without the risk of hitting another",
      grant,
      fatal: true,
      needed: "to act",
    });
  if (threadPool && !cancelSession)
    found.push({
      missing: "pg_cancel_session: with the thread pool on, statements cannot be cancelled here; a step `cancel` fails",
      grant,
      fatal: false,
      needed: "advised",
    });
  return found;
}

/** Only those that are there now: who will ever prepare a transaction cannot be known beforehand. */
function prepared({ administrator, preparedOwners }: Rights): readonly Missing[] {
  if (administrator || preparedOwners.length === 0) return [];
  return [
    {
      missing:
        `prepared transactions of ${some(preparedOwners)} cannot be rolled back by this role (a rule's step rollback-prepared); ` +
        "only the user who prepared one and system administrators may",
      grant: "-- no lesser right allows it: give the rule no such step, or end them by hand (ROLLBACK PREPARED)",
      fatal: false,
      needed: "advised",
    },
  ];
}

function some(names: readonly string[]): string {
  const more = names.length - mostNamed;
  return `${names.slice(0, mostNamed).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function texts(rows: readonly Row[], column: string): readonly string[] {
  return rows.flatMap((row) => row[column] ?? []);
}
