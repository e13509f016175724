import pg from "pg";
import { grants } from "../../src/engines/opengauss/grants.ts";
import { loginConnection } from "../../src/engines/opengauss/login-connection.ts";

type Row = Readonly<Record<string, string | null>>;

/** Somebody's session, by the password and the sha256 of the server. */
export type Session = Readonly<{
  rows(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  isEnded(): boolean;
  end(): Promise<void>;
}>;

export async function sessionAs(url: string, application: string): Promise<Session> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const read = () => Promise.resolve(decodeURIComponent(password));
  const config: pg.ClientConfig & Readonly<{ connection: pg.Connection }> = {
    host: hostname,
    port: Number(port || "5432"),
    user: decodeURIComponent(username),
    database: decodeURIComponent(pathname.slice(1)) || "postgres",
    password: read,
    application_name: application,
    types: { getTypeParser: () => (value: string) => value },
    connection: loginConnection({}, read),
  };
  const client = new pg.Client(config);
  let ended = false;
  client.on("error", () => (ended = true));
  client.on("end", () => (ended = true));
  await client.connect();
  return {
    rows: async (sql, values) => (await client.query<Row>(sql, values === undefined ? undefined : [...values])).rows,
    isEnded: () => ended,
    end: async () => {
      if (!ended) await client.end().catch(() => undefined);
    },
  };
}

/** Lockwarden's user, as `grants` says. */
export async function makeWatchdog(dba: Session, name: string, password: string): Promise<void> {
  for (const statement of grants(name)
    .replaceAll(/^--.*$/gm, "")
    .split(";"))
    if (statement.trim() !== "") await dba.rows(statement.replace("'...'", `'${password}'`));
}

/** The same server and database, as somebody else. */
export function urlAs(url: string, name: string, password: string): string {
  const other = new URL(url);
  [other.username, other.password] = [name, password];
  return other.href;
}
