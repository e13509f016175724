import { after } from "node:test";
import pg from "pg";
import type { Order } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { act } from "../../src/engines/opengauss/guard.ts";
import type { Product } from "../../src/engines/opengauss/product.ts";
import { createReader } from "../../src/engines/opengauss/snapshot.ts";
import type { Connection, Row, Value } from "../../src/engines/postgres/connection.ts";
import type { OpenGaussDouble } from "./opengauss/options.ts";
import { eventually } from "./servers.ts";
import { settled } from "./settled.ts";
import { quiet } from "./text-connection.ts";

/** A server of the newest release without a thread pool. */
export const product: Product = {
  name: "openGauss",
  version: "7.0.0-RC2",
  threadPool: false,
  terminateSession: true,
  cancelSession: true,
  activity: "pg_catalog.pg_stat_get_activity(null)",
  lockTags: true,
  walSenders: true,
  emptyIsNull: true,
  killSession: "pg_terminate_session",
};

/** A session of an application. */
export type Client = Readonly<{
  sessionId: string;
  client: pg.Client;
  /** As it is now: a session of a pool changes its thread. */
  pid(): Promise<string>;
  run(sql: string): Promise<readonly Row[]>;
  /** Starts it and does not wait; how it ends is of no interest. */
  start(sql: string): void;
  /** The server has ended it. */
  isEnded(): boolean;
  end(): Promise<void>;
}>;

export type GaussScene = Readonly<{
  connection: Connection;
  product: Product;
  person(user?: string, application?: string): Promise<Client>;
  read(): Promise<Snapshot>;
  readAll(): Promise<Snapshot>;
  readWith(waits: number): Promise<Snapshot>;
  send(order: Order, as?: Partial<Product>): ReturnType<typeof act>;
}>;

/** Everything is the server's own text, as on the engine's own connections. */
export async function gaussConnection(
  url: string,
  application = "lockwarden",
): Promise<Connection & { sessionId: string }> {
  const client = settled(
    new pg.Client({
      connectionString: url,
      application_name: application,
      types: { getTypeParser: () => (value: string) => value },
    }),
  );
  let open = true;
  client.on("error", () => (open = false));
  await client.connect();
  const close = async () => {
    if (open) await client.end();
    open = false;
  };
  after(close);
  const query = async (sql: string, values: readonly Value[]): Promise<readonly Row[]> =>
    (await client.query<Row>(sql, [...values])).rows;
  await query("set datestyle = 'ISO'", []);
  await query("set timezone = 'UTC'", []);
  const [own] = await query("select pg_backend_pid()::text as pid, pg_current_sessid()::text as id", []);
  const ask = (sql: string, values: readonly Value[], signal: AbortSignal) => {
    signal.throwIfAborted();
    return query(sql, values);
  };
  return {
    pid: own?.["pid"] ?? "",
    sessionId: own?.["id"] ?? "",
    versionNumber: 90_204,
    query: ask,
    queryPrepared: ask,
    isOpen: () => open,
    close,
  };
}

/** Applications on the double, and a watcher of least privilege: MONADMIN and gs_role_signal_backend. */
export async function gaussScene(double: OpenGaussDouble, more: Partial<Product> = {}): Promise<GaussScene> {
  await double.createUser({ name: "lockwarden", monadmin: true, signalBackend: true });
  await double.createUser({ name: "app" });
  await double.createUser({ name: "other" });
  const connection = await gaussConnection(double.url("lockwarden"));
  const own = { ...product, threadPool: double.threadPool, ...more };
  const reader = createReader({
    connection,
    product: own,
    target: { name: "app" },
    facts: { version: "7.0.0-RC2", serverId: "server", recovery: false, database: "postgres" },
    openOther: (database) => gaussConnection(double.url("lockwarden", database)),
    own: [connection.sessionId],
  });
  const people: Client[] = [];
  after(async () => {
    for (const one of people) await one.end();
  });
  const read = () => reader.read({ sessions: "transactions", locks: true }, quiet);
  return {
    connection,
    product: own,
    read,
    readAll: () => reader.read({ sessions: "all", locks: true }, quiet),
    readWith: (waits) =>
      eventually(async () => {
        const snapshot = await read();
        return snapshot.waits?.length === waits ? snapshot : null;
      }),
    person: async (user = "app", application = "shop") => {
      const one = await person(double.url(user), application);
      people.push(one);
      return one;
    },
    send: (order, as = {}) => act(connection, order, { ...own, ...as }, quiet),
  };
}

async function person(url: string, application: string): Promise<Client> {
  const client = settled(
    new pg.Client({
      connectionString: url,
      application_name: application,
      types: { getTypeParser: () => (value: string) => value },
    }),
  );
  let ended = false;
  client.on("error", () => (ended = true));
  client.on("end", () => (ended = true));
  await client.connect();
  const run = async (sql: string): Promise<readonly Row[]> => {
    const results: unknown = await client.query(sql);
    return Array.isArray(results) ? [] : (results as pg.QueryResult<Row>).rows;
  };
  const [own] = await run("select pg_current_sessid()::text as id");
  return {
    sessionId: own?.["id"] ?? "",
    client,
    pid: async () => (await run("select pg_backend_pid()::text as pid"))[0]?.["pid"] ?? "",
    run,
    start: (sql) => void client.query(sql).catch(() => undefined),
    isEnded: () => ended,
    end: () => client.end().catch(() => undefined),
  };
}

export function sessionIn(snapshot: Snapshot, { sessionId }: Pick<Client, "sessionId">): Session {
  const session = snapshot.sessions.find((one) => one.sessionId === sessionId);
  if (session === undefined) throw new Error(`session ${sessionId} is not in the snapshot`);
  return session;
}

/** An order against one session with what an ordinary rule would guard. */
export function orderOn(snapshot: Snapshot, who: Pick<Client, "sessionId">, more: Partial<Order["guard"]> = {}): Order {
  return {
    action: "terminate",
    evidence: {
      at: snapshot.at,
      serverId: snapshot.serverId,
      victim: sessionIn(snapshot, who),
      holds: [],
      waits: snapshot.waits ?? [],
      waiters: [],
    },
    guard: { sinceState: true, sinceQuery: false, blocks: null, waits: null, notMaintenance: true, ...more },
  };
}

/** Every wait of the snapshot as an edge that counts, and must still be there. */
export function blocksIn(snapshot: Snapshot, waiters = 1): Order["guard"]["blocks"] {
  const pids = new Map(snapshot.sessions.map((one) => [one.key, one.pid]));
  const edges = (snapshot.waits ?? []).flatMap((wait) =>
    wait.blockers.map(({ node }) => ({
      waiterPid: wait.pid ?? "",
      blockerPid: pids.get(node) ?? "0",
      lock: wait.lock,
      mode: wait.mode,
      counts: true,
    })),
  );
  return { edges, waiters };
}
