import type { Connection } from "../postgres/connection.ts";
import { type Catalog, catalog, type Role } from "../postgres/names.ts";

// The users of all sessions. An ordinary role is shown no other role's name, by pg_roles nor by pg_get_userbyid(); the view
// of sessions, which joins pg_authid, names them. 1260 is pg_authid: who may read it is an administrator.
const usersSql = `/* lockwarden:users */
select u.usesysid::text as oid, u.name, pg_catalog.has_table_privilege(u.usesysid, 1260::oid, 'select') as superuser
  from (select distinct a.usesysid, a.usename::text as name from pg_catalog.pg_stat_activity as a) as u`;

/** Users by their ids; with somebody's lock on pg_authid they cannot be read, and are unknown. */
export function userCatalog(connection: Pick<Connection, "query">): Catalog<Role> {
  return catalog(
    "users",
    () => performance.now(),
    async (signal) => {
      const rows = await connection.query(usersSql, [], signal);
      return rows.flatMap(({ oid, name, superuser }) =>
        oid == null || name == null ? [] : [[oid, { name, superuser: superuser === "t" }] as const],
      );
    },
  );
}
