import type { World } from "./world.ts";

/** PostgreSQL's locks, by the pid of the session behind the double. */
export type Locks = Readonly<{
  schemas: readonly string[];
  relations: readonly Relation[];
  waits: readonly Wait[];
  holds: readonly Hold[];
  writers: ReadonlySet<number>;
}>;

export type Relation = Readonly<{ oid: number; schema: string; name: string; kind: string; owner: number | null }>;
/** A row lock has a key; a table lock has none. */
export type Wait = Readonly<{
  waiter: number;
  holder: number;
  relation: number | null;
  row: string | null;
  mode: string;
  microseconds: string;
}>;
export type Hold = Readonly<{ holder: number; relation: number; mode: string }>;

type WaitRow = {
  pid: number;
  locktype: string;
  mode: string;
  relation: string | null;
  row: string | null;
  microseconds: string;
  blockers: number[];
};

const waiting = `
select w.pid, w.locktype, w.mode, coalesce(w.relation, t.relation)::text as relation,
       case when w.locktype <> 'relation' then coalesce(w.page, t.page) || ',' || coalesce(w.tuple, t.tuple) end as row,
       coalesce(trunc(extract(epoch from clock_timestamp() - w.waitstart) * 1000000), 0)::bigint::text as microseconds,
       pg_blocking_pids(w.pid) as blockers
  from pg_locks w
  left join lateral (select relation, page, tuple from pg_locks t
                      where t.pid = w.pid and t.locktype = 'tuple' and t.granted limit 1) t on true
 where not w.granted and w.locktype <> 'advisory'`;

const holding = `
select l.pid, l.locktype, l.relation::text as relation, l.mode
  from pg_locks l left join pg_class c on c.oid = l.relation left join pg_namespace n on n.oid = c.relnamespace
 where l.granted and l.pid <> pg_backend_pid()
   and (l.locktype = 'transactionid' or l.locktype = 'relation' and c.relkind in ('r', 'p') and l.mode <> 'AccessShareLock'
        and n.nspname !~ '^(pg_|information_schema|ob$)')`;

const tables = `
select c.oid::text as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind, i.indrelid::text as owner
  from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_index i on i.indexrelid = c.oid
 where c.relkind in ('r', 'i') and n.nspname !~ '^(pg_|information_schema|ob$)'`;

export async function lookAtLocks({ ask }: World): Promise<Locks> {
  const waits = await ask<WaitRow>(waiting);
  const holds = await ask<{ pid: number; locktype: string; relation: string | null; mode: string }>(holding);
  const relations = await ask<{ oid: string; schema: string; name: string; kind: string; owner: string | null }>(
    tables,
  );
  const schemas = await ask<{ name: string }>(
    "select nspname as name from pg_namespace where nspname !~ '^(pg_|ob$)' order by 1",
  );
  return {
    schemas: schemas.map(({ name }) => name),
    relations: relations.map((row) => ({
      ...row,
      oid: Number(row.oid),
      owner: row.owner === null ? null : Number(row.owner),
    })),
    waits: waits.flatMap((row) => wait(row, waits)),
    holds: holds.flatMap(({ pid, relation, mode }) =>
      relation === null ? [] : [{ holder: pid, relation: Number(relation), mode }],
    ),
    writers: new Set(holds.filter(({ locktype }) => locktype === "transactionid").map(({ pid }) => pid)),
  };
}

function wait(row: WaitRow, all: readonly WaitRow[]): Wait[] {
  const holder = holderOf(row, all);
  if (holder === undefined) return [];
  return [
    {
      waiter: row.pid,
      holder,
      relation: row.relation === null ? null : Number(row.relation),
      row: row.locktype === "relation" ? null : (row.row ?? "?"),
      mode: row.mode,
      microseconds: row.microseconds,
    },
  ];
}

/** Who queues for a row behind another waiter waits, for OceanBase, for the row's holder all the same. */
function holderOf(row: WaitRow, all: readonly WaitRow[]): number | undefined {
  const seen = new Set<number>();
  let at = row;
  while (at.locktype === "tuple" && !seen.has(at.pid)) {
    seen.add(at.pid);
    const ahead = all.find(({ pid, row: theirs }) => at.blockers.includes(pid) && theirs === at.row);
    if (ahead === undefined) break;
    at = ahead;
  }
  return at.blockers.find((pid) => !all.some((other) => other.pid === pid)) ?? at.blockers[0];
}

/** The table lock's name in OceanBase. */
export function lockMode(mode: string): string {
  const names: Readonly<Record<string, string>> = {
    RowShareLock: "RS",
    RowExclusiveLock: "RX",
    ShareLock: "S",
    ShareUpdateExclusiveLock: "S",
    ShareRowExclusiveLock: "SRX",
  };
  return names[mode] ?? "X";
}

/** Numbers as OceanBase gives them out: tablets of users from 200001, tables from 500001. */
export const tabletId = (oid: number): number => 200_000 + oid;
export const tableId = (oid: number): number => 500_000 + oid;
