import type { Relation } from "../../core/session.ts";
import type { Connection, Row } from "./connection.ts";

/** A relation's name; `rowless`: nobody can wait for a row of it (a sequence, a view, a partitioned table). */
export type Named = Readonly<{ relation: Relation; rowless: boolean }>;

/** Names of one database, by object id; null: nothing of that id is there. */
export type Resolved = ReadonlyMap<string, Named | null>;

// An index stands for its table, a TOAST table (and its index) for the table whose long values it keeps. Ancestors are
// what the table is a partition of, or inherits from, all the way up.
// Owners of TOAST tables have no index to be found by: they are looked for only where one is asked for.
const relationsSql = `/* lockwarden:relations */
with recursive wanted as (
  select o.oid, coalesce(i.indrelid, o.oid) as base
    from pg_catalog.unnest($1::oid[]) as o(oid) left join pg_catalog.pg_index as i on i.indexrelid = o.oid),
named as materialized (
  select w.oid, owner.oid as owner
    from wanted as w
    join pg_catalog.pg_class as b on b.oid = w.base
    join pg_catalog.pg_class as owner on owner.oid = case when b.relkind <> 't' then b.oid
      else coalesce((select c.oid from pg_catalog.pg_class as c where c.reltoastrelid = b.oid), b.oid) end),
above(owner, parent, depth) as (
  select h.inhrelid, h.inhparent, 1 from pg_catalog.pg_inherits as h where h.inhrelid in (select n.owner from named as n)
  union
  select a.owner, h.inhparent, a.depth + 1 from above as a join pg_catalog.pg_inherits as h on h.inhrelid = a.parent)
select n.oid, s.nspname as schema, c.relname as name,
       own.relkind in ('S', 'v', 'p', 'I') as rowless,
       array_to_json(array(select ps.nspname || '.' || p.relname from above as a
         join pg_catalog.pg_class as p on p.oid = a.parent
         join pg_catalog.pg_namespace as ps on ps.oid = p.relnamespace
        where a.owner = n.owner group by ps.nspname, p.relname order by min(a.depth), 1)) as ancestors
  from named as n
  join pg_catalog.pg_class as own on own.oid = n.oid
  join pg_catalog.pg_class as c on c.oid = n.owner
  join pg_catalog.pg_namespace as s on s.oid = c.relnamespace`;

/** Reads the names of these relations of the connection's own database. */
export type ReadRelations = (
  connection: Connection,
  database: string,
  oids: readonly string[],
  signal: AbortSignal,
) => Promise<Resolved>;

export const readRelations = relationsReader(relationsSql);

/** `sql` takes the object ids, and answers oid, schema, name, rowless and ancestors (JSON). */
export function relationsReader(sql: string): ReadRelations {
  return async (connection, database, oids, signal) => {
    const resolved = new Map<string, Named | null>(oids.map((oid) => [oid, null]));
    for (const row of await connection.query(sql, [oids], signal)) {
      resolved.set(row["oid"] ?? "", namedOf(row, database));
    }
    return resolved;
  };
}

function namedOf(row: Row, database: string): Named {
  const ancestors = JSON.parse(row["ancestors"] ?? "[]") as string[];
  const relation = { database, schema: row["schema"] ?? "", name: row["name"] ?? "", ancestors };
  return { relation, rowless: row["rowless"] === "t" };
}
