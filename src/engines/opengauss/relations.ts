import { type ReadRelations, relationsReader } from "../postgres/relations.ts";

// As for PostgreSQL, in what the older grammar has: an index stands for its table, a TOAST table for the table whose long
// values it keeps. A lock on a partition names its table itself, so ancestors are only what it inherits from.
const relationsSql = `/* lockwarden:relations */
with recursive wanted as (
  select o.oid, coalesce(i.indrelid, o.oid) as base
    from (select pg_catalog.unnest($1::oid[]) as oid) as o left join pg_catalog.pg_index as i on i.indexrelid = o.oid),
named as (
  select w.oid, owner.oid as owner
    from wanted as w
    join pg_catalog.pg_class as b on b.oid = w.base
    join pg_catalog.pg_class as owner on owner.oid = case when b.relkind <> 't' then b.oid
      else coalesce((select c.oid from pg_catalog.pg_class as c where c.reltoastrelid = b.oid), b.oid) end),
above(owner, parent, depth) as (
  select h.inhrelid, h.inhparent, 1 from pg_catalog.pg_inherits as h where h.inhrelid in (select n.owner from named as n)
  union
  select a.owner, h.inhparent, a.depth + 1 from above as a join pg_catalog.pg_inherits as h on h.inhrelid = a.parent)
select n.oid::text as oid, s.nspname as schema, c.relname as name,
       own.relkind in ('S', 'L', 'v', 'p', 'I') as rowless,
       pg_catalog.array_to_json(array(select ps.nspname || '.' || p.relname from above as a
         join pg_catalog.pg_class as p on p.oid = a.parent
         join pg_catalog.pg_namespace as ps on ps.oid = p.relnamespace
        where a.owner = n.owner group by ps.nspname, p.relname order by min(a.depth), 1)) as ancestors
  from named as n
  join pg_catalog.pg_class as own on own.oid = n.oid
  join pg_catalog.pg_class as c on c.oid = n.owner
  join pg_catalog.pg_namespace as s on s.oid = c.relnamespace`;

export const readRelations: ReadRelations = relationsReader(relationsSql);
