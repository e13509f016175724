import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { parseAddress } from "./address.ts";
import type { Row, Value } from "./connection.ts";

/** An ordinary client: what Lockwarden watches, not what it watches with. */
export type PlainClient = Readonly<{
  /** pg_backend_pid() of its session. */
  pid: string;
  /** Without values the text may hold several statements; the rows are the last one's. */
  query(sql: string, values?: readonly Value[]): Promise<readonly Row[]>;
  /** Why the session is over; null: nothing has said so. */
  lost(): Error | null;
  /** Says goodbye, or only hangs up while a statement runs. Never throws. */
  end(): Promise<void>;
}>;

export type PlainOptions = Readonly<{ url: string; application: string }>;

const connectMs = 10_000;
const goodbyeMs = 1_000;
const asText: pg.CustomTypesConfig = { getTypeParser: () => (value: string) => value };

/** Connects, unencrypted. A session that is lost later is told by `lost` and by its next query, and ends nobody's process. */
export async function plainClient({ url, application }: PlainOptions): Promise<PlainClient> {
  const { host, port, user, password, database } = parseAddress(url);
  const client = new pg.Client({
    host,
    port,
    user,
    database,
    // A function, so that neither PGPASSWORD nor the driver's own pass file is asked.
    password: () => password ?? "",
    ssl: false,
    application_name: application,
    connectionTimeoutMillis: connectMs,
    types: asText,
  });
  let lost: Error | null = null;
  client.on("error", (error) => {
    lost ??= error;
  });
  await client.connect();
  const query = async (sql: string, values: readonly Value[] = []): Promise<readonly Row[]> => {
    const answer: unknown = await client.query<Row>(sql, [...values]);
    const results = (Array.isArray(answer) ? answer : [answer]) as readonly pg.QueryResult<Row>[];
    return results.at(-1)?.rows ?? [];
  };
  const [self] = await query("select pg_catalog.pg_backend_pid() as pid");
  let ending: Promise<void> | null = null;
  const end = async (): Promise<void> => {
    await Promise.race([client.end().catch(() => undefined), sleep(goodbyeMs, undefined, { ref: false })]);
    client.connection.stream.destroy();
  };
  return {
    pid: self?.["pid"] ?? "",
    query,
    lost: () => lost,
    end: () => {
      ending ??= end();
      return ending;
    },
  };
}
