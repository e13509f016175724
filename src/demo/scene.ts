import type { Row } from "../engines/postgres/connection.ts";
import type { PlainClient } from "../engines/postgres/plain-client.ts";

/** A session of the login service, as the server shows it. */
export type Person = Readonly<{
  pid: string;
  application: string;
  state: string;
  stateMs: number;
  /** Whom it waits for, by pid. */
  blockers: readonly string[];
  /** The table of the row it waits for. */
  table: string | null;
}>;

/** Who blocks whom, at one moment; for showing only: what is done about it the daemon decides. */
export type Scene = Readonly<{
  root: Person | null;
  /** Behind the root, directly or not; who waits longest first. */
  waiting: readonly Person[];
  /** Idle in a transaction, and in nobody's way. */
  harmless: readonly Person[];
}>;

// A row-lock waiter holds or awaits a tuple lock, which names the table.
const sql = `select a.pid, a.application_name as application, a.state,
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.state_change) * 1000 as state_ms,
    pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(a.pid), ',') as blockers,
    (select pg_catalog.format('%I.%I', n.nspname, c.relname)
       from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where l.pid = a.pid and l.locktype = 'tuple' limit 1) as table_name
  from pg_catalog.pg_stat_activity a
 where a.datname = 'app' and a.usename in ('login_service', 'reporting')`;

export async function lookAtScene(observer: PlainClient): Promise<Scene> {
  return sceneOf((await observer.query(sql)).map(personOf));
}

export function sceneOf(people: readonly Person[]): Scene {
  const blocking = new Set(people.flatMap(({ blockers }) => blockers));
  const isInTransaction = ({ state }: Person) => state.startsWith("idle in transaction");
  return {
    root: people.find(({ pid, blockers }) => blocking.has(pid) && blockers.length === 0) ?? null,
    waiting: people.filter(({ blockers }) => blockers.length > 0).toSorted((a, b) => b.stateMs - a.stateMs),
    harmless: people.filter((person) => isInTransaction(person) && !blocking.has(person.pid)),
  };
}

function personOf(row: Row): Person {
  const { pid, application, state, state_ms: stateMs, blockers, table_name: table } = row;
  return {
    pid: pid ?? "",
    application: application ?? "",
    state: state ?? "unknown",
    stateMs: Math.max(0, Number(stateMs ?? 0)),
    blockers: (blockers ?? "").split(",").filter((one) => one !== ""),
    table: table ?? null,
  };
}
