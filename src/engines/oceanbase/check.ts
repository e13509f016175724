import type { Missing } from "../engine.ts";
import type { Connection, Row, Server } from "./connection.ts";
import { grantView, quoteUser } from "./grants.ts";
import { type Recognised, unlessMissing } from "./recognise.ts";
import { views } from "./views.ts";

/** What is known of the user and of the way to the server. */
export type Rights = Readonly<{
  server: Server;
  recognised: Pick<Recognised, "user" | "standby" | "noProcesses">;
  /** In capitals; null: they cannot be read. */
  privileges: ReadonlySet<string> | null;
  /** There is a lock by which one of several daemons acts. */
  lease: boolean;
  /** Settings that the server refused. */
  unset: readonly string[];
}>;

type Asked = Omit<Rights, "privileges" | "server">;

/** What the user lacks, each with the SQL that grants it. Who may not see other sessions is told nothing by the server: so it is asked. */
export async function check(connection: Connection, asked: Asked, signal: AbortSignal): Promise<readonly Missing[]> {
  const { server } = connection;
  return judge({ ...asked, server, privileges: await privilegesOf(connection, signal) });
}

async function privilegesOf(connection: Connection, signal: AbortSignal): Promise<ReadonlySet<string> | null> {
  const read = (sql: string) => unlessMissing(connection.query(sql, signal));
  if (connection.server.mode === "mysql") return globalPrivileges((await read("SHOW GRANTS")) ?? null);
  const own = await read("SELECT /* lockwarden:check */ PRIVILEGE FROM SYS.USER_SYS_PRIVS");
  const ofRoles = await read("SELECT /* lockwarden:check */ PRIVILEGE FROM SYS.ROLE_SYS_PRIVS");
  if (own === null && ofRoles === null) return null;
  return new Set([...(own ?? []), ...(ofRoles ?? [])].flatMap((row) => row["PRIVILEGE"]?.toUpperCase() ?? []));
}

/** Of GRANT … ON *.* TO …; null: nothing of the kind was said. */
export function globalPrivileges(rows: readonly Row[] | null): ReadonlySet<string> | null {
  const grants = (rows ?? []).flatMap((row) => Object.values(row)).flatMap((text) => text ?? []);
  if (grants.length === 0) return null;
  const lists = grants.flatMap((text) => /^GRANT ([^`]+?) ON \*\.\* TO /iu.exec(text)?.[1] ?? []);
  return new Set(lists.flatMap((list) => list.toUpperCase().split(/\s*,\s*/u)));
}

/** Pure: what these answers mean. */
export function judge(rights: Rights): readonly Missing[] {
  return [...standing(rights), ...toSee(rights), ...toAct(rights), ...advised(rights)];
}

/** Sees and ends every session of the tenant, whatever it was granted. */
function isAdministrator({ server, recognised: { user }, privileges }: Rights): boolean {
  if (server.tenant?.toLowerCase() === "sys") return true;
  return server.mode === "oracle" ? user === "SYS" : privileges?.has("ALL PRIVILEGES") === true;
}

function toSee(rights: Rights): readonly Missing[] {
  const { server, recognised, privileges } = rights;
  const { mode } = server;
  const name = quoteUser(mode, recognised.user);
  const found: Missing[] = [];
  if (recognised.noProcesses !== null)
    found.push({
      missing: `the list of sessions, ${views.processes}, cannot be read: ${recognised.noProcesses}`,
      grant: `${grantView(mode, views.processes, name)} -- OceanBase 4.0 and later`,
      fatal: true,
      needed: "to see",
    });
  const privilege = mode === "oracle" ? "SHOW PROCESS" : "PROCESS";
  const grant = mode === "oracle" ? `GRANT SHOW PROCESS TO ${name};` : `GRANT PROCESS ON *.* TO ${name};`;
  if (privileges === null && !isAdministrator(rights))
    found.push({
      missing: `whether ${recognised.user} may see other users' sessions (${privilege}) cannot be asked here, and without it they are left out in silence`,
      grant,
      fatal: false,
      needed: "advised",
    });
  else if (!isAdministrator(rights) && privileges?.has(privilege) !== true)
    found.push({
      missing: `${privilege}: other users' sessions are left out, and the server does not say so`,
      grant,
      fatal: true,
      needed: "to see",
    });
  if (!server.views.locks) found.push(noLocks(server, name));
  return found;
}

function noLocks({ mode, version }: Server, name: string): Missing {
  const missing = `${views.locks} cannot be read: who waits for whom is not known, and rules on blocks, waits and holds match nobody`;
  return isBefore(version, [4, 2])
    ? { missing, grant: `-- it is there from 4.2 on; this is ${version}`, fatal: false, needed: "advised" }
    : { missing, grant: grantView(mode, views.locks, name), fatal: true, needed: "to see" };
}

function toAct(rights: Rights): readonly Missing[] {
  const { server, recognised, privileges } = rights;
  const name = quoteUser(server.mode, recognised.user);
  const found: Missing[] = [];
  if (server.proxySessionIds) found.push({ missing: throughProxy, grant: aroundProxy, fatal: true, needed: "to act" });
  if (isAdministrator(rights)) return found;
  if (server.mode === "mysql") {
    if (privileges !== null && !privileges.has("SUPER"))
      found.push({
        missing: "SUPER: sessions of other users cannot be ended (needed to enforce)",
        grant: `GRANT SUPER ON *.* TO ${name};`,
        fatal: true,
        needed: "to act",
      });
    return found;
  }
  if (privileges !== null && !privileges.has("ALTER SYSTEM"))
    found.push({
      missing: "ALTER SYSTEM: no session can be ended (needed to enforce)",
      grant: `GRANT ALTER SYSTEM TO ${name};`,
      fatal: true,
      needed: "to act",
    });
  found.push({
    missing: `${recognised.user} is not SYS: by the published source it ends only sessions of its own name, ALTER SYSTEM or not, and acts on others come back denied`,
    grant: "-- where acts come back denied, let Lockwarden log in as SYS, or as the user whose sessions it is to end",
    fatal: false,
    needed: "advised",
  });
  return found;
}

const throughProxy =
  "the way leads through a proxy (OBProxy) that has session ids of its own: a KILL there means another session than the server's, so Lockwarden only observes";
const aroundProxy =
  "-- name a server itself in the url (port 2881), or set client_session_id_version = 2 at the proxy (OBProxy 4.2.3 with OceanBase 4.2.5, or 4.3 and later)";

/** Why nothing is sent; null: it may be. */
export function whyNotAct({ proxySessionIds }: Pick<Server, "proxySessionIds">, standby: boolean): string | null {
  if (proxySessionIds) return `${throughProxy}; ${aroundProxy.slice("-- ".length)}`;
  return standby ? "this is a standby tenant, where Lockwarden only observes: what is stuck is on the primary" : null;
}

function advised(rights: Rights): readonly Missing[] {
  const { server, recognised, lease, unset } = rights;
  const { mode, version, views: may } = server;
  const name = quoteUser(mode, recognised.user);
  const found: Missing[] = [];
  const advise = (missing: string, grant: string) => found.push({ missing, grant, fatal: false, needed: "advised" });
  if (!may.schedulers) {
    const others = may.participants
      ? `${views.participants} stands in for it: a transaction has an age only from its first write on`
      : "transactions have no age, and rules on transaction_for match nobody";
    const grant = isBefore(version, [4, 2, 1])
      ? `-- it is there from 4.2.1 on; this is ${version}`
      : grantView(mode, views.schedulers, name);
    advise(`${views.schedulers} cannot be read: ${others}`, grant);
  }
  if (!may.locations && !may.objects)
    advise(
      `${views.locations} cannot be read: tables have no names, and rules on tables match nobody`,
      grantView(mode, views.locations, name),
    );
  else if (may.locks && !may.lockId3)
    advise(
      `${views.locks} has no ID3 in this version: of a wait it is not known for which table it is`,
      `-- this is ${version}`,
    );
  if (!lease)
    advise(
      "there is no lock here by which one of several Lockwardens acts and the others observe: two on this target would both act, so run one",
      mode === "oracle"
        ? `GRANT EXECUTE ON SYS.DBMS_LOCK TO ${name}; -- where the version has it`
        : "-- GET_LOCK of a later version",
    );
  for (const sql of unset.filter((one) => one.startsWith("SET")))
    advise(
      `this server refuses a setting of Lockwarden's own session: ${sql}`,
      "-- what it bounds is bounded by Lockwarden too",
    );
  return found;
}

/** What is not wrong, but should be known. */
function standing({ server, recognised: { user, standby } }: Rights): readonly Missing[] {
  const found: Missing[] = [];
  const know = (missing: string, grant: string) => found.push({ missing, grant, fatal: false, needed: "known" });
  // The one of seekdb is called so too, and is the only one there.
  if (server.tenant?.toLowerCase() === "sys" && !/seekdb/iu.test(server.version))
    know(
      "this is the system tenant: sessions of every tenant are seen, and none of another tenant is acted on",
      "-- one target for each tenant that is to be watched: USER@TENANT",
    );
  else if (server.mode === "oracle" ? user === "SYS" : user === "root")
    know(
      `${user} is the tenant's administrator: it works, and may do much more than Lockwarden needs`,
      server.mode === "oracle"
        ? "-- a user with less, as lockwarden grants makes it, by the published source ends only sessions of its own name"
        : "-- the SQL that lockwarden grants prints makes a user with less",
    );
  if (standby)
    know("this is a standby tenant: its own sessions are seen, and none is acted on", "-- nothing to grant here");
  return found;
}

/** An unknown version is none that is too old; seekdb counts its own otherwise. */
export function isBefore(version: string, wanted: readonly number[]): boolean {
  if (!/^\d/u.test(version) || /seekdb/iu.test(version)) return false;
  const parts = version.split(".").map(Number);
  for (const [index, least] of wanted.entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}
