import type { Connection } from "../postgres/connection.ts";
import { type Catalog, catalog, type Role } from "../postgres/names.ts";

// pg_roles shows an ordinary role only itself. 1260 is pg_authid: who may read it is an administrator.
const usersSql = `/* lockwarden:users */
select u.oid::text as oid, pg_catalog.pg_get_userbyid(u.oid)::text as name,
       pg_catalog.has_table_privilege(u.oid, 1260::oid, 'select') as superuser
  from (select pg_catalog.unnest($1::oid[]) as oid) as u`;

/** Users by their ids; one that was dropped is unknown. */
export function userCatalog(connection: Pick<Connection, "query">): Catalog<Role> {
  return catalog(
    "users",
    () => performance.now(),
    async (signal, wanted) => {
      const rows = await connection.query(usersSql, [wanted], signal);
      return rows.flatMap(({ oid, name, superuser }) => {
        // Of a user who was dropped the name is empty, or says so.
        if (oid == null || name == null || name === "" || name === `unknown (OID=${oid})`) return [];
        return [[oid, { name, superuser: superuser === "t" }] as const];
      });
    },
  );
}
