/** The places of the edges' parts in a statement's parameters, such as `$10`. */
export type EdgePlaces = Readonly<Record<"waiter" | "node" | "blocker" | "lock" | "mode" | "counts", string>>;

/**
 * Two expressions of a `with recursive` that has `waiting`: the edges whose waiter still waits for the same lock, and
 * `behind`: whoever the server itself (pg_blocking_pids) still sees behind `victim` over them, directly or not.
 */
export const stillBehind = (victim: string, { waiter, node, blocker, lock, mode, counts }: EdgePlaces) => `
edge as materialized (
  select e.* from rows from (
    pg_catalog.unnest(${waiter}::int4[]), pg_catalog.unnest(${node}::int4[]), pg_catalog.unnest(${blocker}::int4[]),
    pg_catalog.unnest(${lock}::text[]), pg_catalog.unnest(${mode}::text[]), pg_catalog.unnest(${counts}::bool[])
  ) as e(waiter, node, blocker, lock, mode, counts)
   where exists (select from waiting as w where w.pid = e.waiter and w.lock = e.lock and w.mode = e.mode)),
blocking as materialized (
  select w.pid, pg_catalog.pg_blocking_pids(w.pid) as pids from (select distinct e.waiter as pid from edge as e) as w),
confirmed as materialized (
  select distinct e.node, e.blocker from edge as e join blocking as b on b.pid = e.waiter and e.blocker = any (b.pids)),
behind(node) as (
  select c.node from confirmed as c where c.blocker = ${victim}::int4
  union
  select c.node from behind as b join confirmed as c on c.blocker = b.node)`;

/** How many of those that count are still there. */
export const countBehind = (victim: string) => `
       select count(distinct e.node) from behind as b join edge as e on e.node = b.node
        where e.counts and e.node <> ${victim}::int4`;
