import { after } from "node:test";
import pg from "pg";
import type { Connection, Row, Value } from "../../src/engines/postgres/connection.ts";
import { createReader, type Reader, type ReaderOptions } from "../../src/engines/postgres/snapshot.ts";
import { settled } from "./settled.ts";

/** Never aborts. */
export const quiet = new AbortController().signal;

/** A Connection as the engine opens it, without its watch over timeouts and loss: every value is the server's own text. */
export async function textConnection(url: string, config: pg.ClientConfig = {}): Promise<Connection> {
  const client = settled(
    new pg.Client({
      connectionString: url,
      application_name: "lockwarden",
      options: "-c datestyle=ISO -c timezone=UTC -c lock_timeout=300ms -c statement_timeout=20s",
      ...config,
      types: { getTypeParser: () => (value: string) => value },
    }),
  );
  let open = true;
  client.on("error", () => (open = false));
  await client.connect();
  const query = async (sql: string, values: readonly Value[]): Promise<readonly Row[]> =>
    (await client.query<Row>(sql, [...values])).rows;
  const [facts] = await query("select pg_backend_pid() as pid, current_setting('server_version_num') as version", []);
  const close = async () => {
    if (open) {
      open = false;
      await client.end();
    }
  };
  after(close);
  return {
    pid: facts?.["pid"] ?? "",
    versionNumber: Number(facts?.["version"]),
    query: (sql, values, signal) => {
      signal.throwIfAborted();
      return query(sql, values);
    },
    queryPrepared: (sql, values, signal) => {
      signal.throwIfAborted();
      return query(sql, values);
    },
    isOpen: () => open,
    close,
  };
}

/** A reader over one connection; other databases of the server are opened as the same user. */
export function readerOn(
  connection: Connection,
  urlOf: (database: string) => string,
  more: Partial<ReaderOptions> = {},
): Reader {
  return createReader({
    connection,
    target: { name: "app" },
    facts: { version: String(connection.versionNumber), serverId: "server", recovery: false, database: "postgres" },
    openOther: (database) => textConnection(urlOf(database)),
    ownPids: [connection.pid],
    ...more,
  });
}
