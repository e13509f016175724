import type { Server } from "./connection.ts";
import { viewName, views } from "./views.ts";

type Mode = Server["mode"];

const mostNameBytes = 64;
const readable = [views.processes, views.schedulers, views.locks, views.locations];
/** In place of the schedulers in the versions that do not have those. */
const olderReadable = views.participants;
const tenantsView = "DBA_OB_TENANTS";

/** SQL that makes a user with just enough rights, in the form of each mode: one of both is run, in the tenant that is watched. */
export function grants(role: string): string {
  return `${grantsIn("oracle", role)}
${grantsIn("mysql", role)}`;
}

/** The form of one mode. */
export function grantsIn(mode: Mode, role: string): string {
  return mode === "oracle" ? oracleGrants(quoteUser(mode, role)) : mysqlGrants(quoteUser(mode, role));
}

function oracleGrants(name: string): string {
  return `-- A tenant in Oracle mode: run this as SYS, with a password of your own.
CREATE USER ${name} IDENTIFIED BY "change this password";
GRANT CREATE SESSION TO ${name};
-- Sees other users' sessions: without it the server leaves them out and says nothing.
GRANT SHOW PROCESS TO ${name};
-- ALTER SYSTEM KILL SESSION.
GRANT ALTER SYSTEM TO ${name};
${readable.map((view) => grantView("oracle", view, name)).join("\n")}
-- Before 4.2.1 instead of ${views.schedulers}: ${grantView("oracle", olderReadable, name)}
-- Where it exists (4.1 and later), so that a standby tenant is known for one: ${grantView("oracle", tenantsView, name)}
-- Where it exists: the lock by which of several Lockwardens one acts.
GRANT EXECUTE ON SYS.DBMS_LOCK TO ${name};
-- By the published source a user ends only sessions of its own name, whatever it is granted, and SYS ends all of its tenant.
-- Where Lockwarden's acts come back denied, let it log in as SYS, or as the user whose sessions it is to end.
`;
}

function mysqlGrants(name: string): string {
  return `-- A tenant in MySQL mode: run this as root, with a password of your own.
CREATE USER ${name} IDENTIFIED BY 'change this password';
-- Sees other users' sessions: without it the server leaves them out and says nothing.
GRANT PROCESS ON *.* TO ${name};
-- KILL of other users' sessions.
GRANT SUPER ON *.* TO ${name};
${readable.map((view) => grantView("mysql", view, name)).join("\n")}
-- Before 4.2.1 instead of ${views.schedulers}: ${grantView("mysql", olderReadable, name)}
-- Where it exists (4.1 and later), so that a standby tenant is known for one: ${grantView("mysql", tenantsView, name)}
-- Only if lockwarden check is to compare the names in rules with the server's: GRANT SELECT ON mysql.user TO ${name};
`;
}

export function grantView(mode: Mode, view: string, name: string): string {
  return `GRANT SELECT ON ${viewName(mode, view)} TO ${name};`;
}

/** A user's name as it stands in SQL, whatever is in it. In Oracle mode plain names are in capitals, as at login. */
export function quoteUser(mode: Mode, name: string): string {
  const bytes = Buffer.byteLength(name);
  const unwritable = mode === "oracle" && name.includes('"') ? " and without a double quote" : "";
  if (bytes < 1 || bytes > mostNameBytes || /\p{Cc}/u.test(name) || unwritable !== "")
    throw new Error(
      `role: expected a name of 1 to ${mostNameBytes} bytes without control characters${unwritable}, got ${bytes} bytes`,
    );
  if (mode === "mysql") return `'${name.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
  return /^[A-Za-z][\w$#]*$/u.test(name) ? name : `"${name}"`;
}
