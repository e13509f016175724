import { after } from "node:test";
import pg from "pg";
import { settled } from "../settled.ts";
import type { OpenGaussDouble } from "./options.ts";

/** Somebody with a session on a double, by the stock driver, and what the server told him unasked. */
export type Person = Readonly<{
  client: pg.Client;
  /** As text; of the moment when he came in: with the thread pool on the pid changes. */
  pid: string;
  sessionId: string;
  /** Errors of the connection, not of statements: `FATAL 57P01 terminating …`, `Connection terminated unexpectedly`. */
  losses: readonly string[];
  /** `WARNING text` */
  notices: readonly string[];
  rows(sql: string, values?: readonly unknown[]): Promise<readonly Readonly<Record<string, string | null>>[]>;
  /** Starts it and does not wait. How it ends: `done`, or SQLSTATE and message. */
  start(sql: string): Promise<string>;
}>;

/** A person of the user `name`, who must be there and log in by md5; he leaves after the tests of the file. */
export async function person(
  double: OpenGaussDouble,
  user: string,
  application = user,
  database = "postgres",
): Promise<Person> {
  const losses: string[] = [];
  const notices: string[] = [];
  const client = settled(
    new pg.Client({
      connectionString: double.url(user, database),
      application_name: application,
      types: { getTypeParser: () => (value: string) => value },
    }),
  );
  client.on("error", (error) => losses.push(severityOf(error) + error.message));
  client.on("notice", (notice) => notices.push(`${notice.severity} ${notice.message}`));
  await client.connect();
  after(() => client.end().catch(() => undefined));
  const rows: Person["rows"] = async (sql, values) =>
    (await client.query<Readonly<Record<string, string | null>>>(sql, values === undefined ? undefined : [...values]))
      .rows;
  const [own] = await rows("select pg_backend_pid() as pid, pg_current_sessid() as sessionid");
  return {
    client,
    pid: own?.["pid"] ?? "",
    sessionId: own?.["sessionid"] ?? "",
    losses,
    notices,
    rows,
    start: (sql) =>
      client.query(sql).then(
        () => "done",
        (error: unknown) => failureOf(error),
      ),
  };
}

/** SQLSTATE and message. */
export function failureOf(error: unknown): string {
  return error instanceof Error && "code" in error ? `${String(error.code)} ${error.message}` : String(error);
}

function severityOf(error: Error): string {
  return "severity" in error && "code" in error ? `${String(error.severity)} ${String(error.code)} ` : "";
}
