import { after } from "node:test";
import type pg from "pg";
import type { Order } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import type { LockWait, Snapshot } from "../../src/core/snapshot.ts";
import type { EmbeddedOptions, EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import type { Connection } from "../../src/engines/postgres/connection.ts";
import { client, eventually, majors, server } from "./servers.ts";
import { quiet, readerOn, textConnection } from "./text-connection.ts";

/** Somebody at the server who may hang in a statement. */
export type Person = Readonly<{
  pid: string;
  client: pg.Client;
  /** Runs it to its end. */
  run(sql: string): Promise<void>;
  /** Starts it and does not wait; how it ends is of no interest. */
  start(sql: string): void;
  end(): Promise<void>;
}>;

export type Scene = Readonly<{
  connection: Connection;
  person(name?: string, user?: string, database?: string, config?: object): Promise<Person>;
  /** A full look. */
  read(): Promise<Snapshot>;
  /** A full look, plainly idle sessions included. */
  readAll(): Promise<Snapshot>;
  /** The first full look in which so many waits show. */
  readWith(waits: number): Promise<Snapshot>;
  blockedBy(pid: string): Promise<readonly string[]>;
}>;

/**
 * One server and scene for each major, all of them made before the first test is declared: the runner counts a file as
 * done, and stops its servers, as soon as every test that it knows of has ended.
 */
export async function stages<T>(
  options: EmbeddedOptions,
  prepare: (here: Scene, postgres: EmbeddedPostgres) => Promise<T>,
): Promise<readonly Readonly<{ major: number; postgres: EmbeddedPostgres; here: Scene; prepared: T }>[]> {
  const made = [];
  for (const major of majors()) {
    const postgres = await server({ ...options, major });
    const here = await scene(postgres);
    made.push({ major, postgres, here, prepared: await prepare(here, postgres) });
  }
  return made;
}

/** Ends them one after the other. */
export async function leave(...people: readonly Person[]): Promise<void> {
  for (const one of people) await one.end();
}

/** Persons on one server, and a reader that watches them as `user`. Whoever is still there leaves when the file is done. */
export async function scene(postgres: EmbeddedPostgres, user = "postgres"): Promise<Scene> {
  const connection = await textConnection(postgres.url(user));
  const reader = readerOn(connection, (database) => postgres.url(user, database));
  const people: Person[] = [];
  after(async () => {
    for (const one of people) await one.client.end().catch(() => undefined);
  });
  const read = () => reader.read({ sessions: "transactions", locks: true }, quiet);
  return {
    connection,
    read,
    readAll: () => reader.read({ sessions: "all", locks: true }, quiet),
    person: async (name = "app", as = "postgres", database = "postgres", config = {}) => {
      const one = await person(postgres, postgres.url(as, database), { application_name: name, ...config });
      people.push(one);
      return one;
    },
    readWith: (waits) =>
      eventually(async () => {
        const snapshot = await read();
        return snapshot.waits?.length === waits ? snapshot : null;
      }),
    blockedBy: async (pid) => {
      const sql = "select distinct unnest(pg_blocking_pids($1::int))::text as pid order by 1";
      return (await connection.query(sql, [pid], quiet)).map((row) => row["pid"] ?? "");
    },
  };
}

async function person(postgres: EmbeddedPostgres, url: string, config: pg.ClientConfig): Promise<Person> {
  const own = await client(url, config);
  const { rows } = await own.query<{ pid: number }>("select pg_backend_pid() as pid");
  return {
    pid: String(rows[0]?.pid),
    client: own,
    run: async (sql) => void (await own.query(sql)),
    start: (sql) => void own.query(sql).catch(() => undefined),
    end: () => forget(postgres, own, rows[0]?.pid ?? 0),
  };
}

/** Until the server has forgotten it: a process that waits for a lock does not see that its client is gone. */
async function forget(postgres: EmbeddedPostgres, own: pg.Client, pid: number): Promise<void> {
  await own.end().catch(() => undefined);
  const admin = await client(postgres.url());
  await eventually(async () => {
    const { rowCount } = await admin.query("select pg_terminate_backend(pid) from pg_stat_get_activity($1)", [pid]);
    return rowCount === 0;
  });
  await admin.end();
}

export function sessionOf(snapshot: Snapshot, pid: string): Session {
  const session = snapshot.sessions.find((one) => one.pid === pid);
  if (session === undefined) throw new Error(`session ${pid} is not in the snapshot`);
  return session;
}

export function waitOf(snapshot: Snapshot, pid: string): LockWait {
  const wait = snapshot.waits?.find((one) => one.pid === pid);
  if (wait === undefined) throw new Error(`${pid} waits for nothing in the snapshot`);
  return wait;
}

/** The blockers' keys of one waiter. */
export function blockers(snapshot: Snapshot, pid: string, soft: boolean): readonly string[] {
  return waitOf(snapshot, pid)
    .blockers.filter((blocker) => blocker.soft === soft)
    .map((blocker) => blocker.node)
    .toSorted();
}

/** An order against one session with everything guarded that an ordinary rule would guard. */
export function orderOn(snapshot: Snapshot, pid: string, more: Partial<Order["guard"]> = {}): Order {
  const victim = sessionOf(snapshot, pid);
  const waits = snapshot.waits ?? [];
  return {
    action: "terminate",
    evidence: { at: snapshot.at, serverId: snapshot.serverId, victim, holds: [], waits, waiters: [] },
    guard: { sinceState: true, sinceQuery: false, blocks: null, waits: null, notMaintenance: true, ...more },
  };
}
