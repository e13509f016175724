import { after } from "node:test";
import pg from "pg";
import type { OpenGaussDouble } from "../support/opengauss/options.ts";
import type { Person, World } from "./world.ts";

/** A login service on openGauss, and Lockwarden's role of least privilege, which logs in as new servers ask it to. */
export async function gaussPeople(double: OpenGaussDouble): Promise<World> {
  await double.createUser({
    name: "lockwarden",
    password: "secret",
    auth: "sha256",
    monadmin: true,
    signalBackend: true,
  });
  await double.createUser({ name: "powerless", monadmin: true });
  for (const name of ["app", "clerk", "precious"]) await double.createUser({ name });
  const admin = await connected(double.url("dba"));
  await admin.query("create table user_session (id int primary key, n int)");
  const rows = Array.from({ length: 20 }, (_, at) => `(${at + 1}, 0)`);
  await admin.query(`insert into user_session values ${rows.join(", ")}`);
  await admin.query("grant all on user_session to app, clerk, precious");
  return {
    target: `url: "${double.url("lockwarden")}"`,
    powerless: `url: "${double.url("powerless")}"`,
    table: "public.user_session",
    shown: (user) => user,
    guarded: true,
    variants: (handle) => {
      const [pid = "", sessionId = ""] = handle.split(",");
      return [
        { written: `${pid}, ${sessionId}`, ends: "found" },
        { written: sessionId, ends: "usage" },
        { written: `12345,${sessionId}`, ends: "changed" },
        { written: `${pid},987654321`, ends: "gone" },
      ];
    },
    person: async (user) => person(await connected(double.url(user), user), admin),
  };
}

async function connected(url: string, application = "people"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: application });
  client.on("error", () => undefined);
  await client.connect();
  after(() => client.end().catch(() => undefined));
  return client;
}

async function person(client: pg.Client, admin: pg.Client): Promise<Person> {
  const { rows } = await client.query<{ id: string }>("select pg_current_sessid()::text as id");
  const id = rows[0]?.id ?? "";
  const seen = async (condition: string) => {
    const sql = `select pid::text as pid from pg_stat_activity where sessionid = ${id} and ${condition}`;
    return (await admin.query<{ pid: string }>(sql)).rows[0];
  };
  return {
    handle: async () => `${(await seen("1 = 1"))?.pid ?? "?"},${id}`,
    begin: async () => void (await client.query("begin")),
    logIn: (row) => client.query(`update user_session set n = n + 1 where id = ${row}`),
    commit: async () => void (await client.query("commit")),
    runLong: async () => {
      await client.query("savepoint a");
      const cancelled: unknown = await client.query("select pg_sleep(60)").catch((error: unknown) => error);
      // What an application does that catches the error: its transaction and its locks are still there.
      await client.query("rollback to a").catch(() => undefined);
      return cancelled;
    },
    isAlive: async () => (await seen("1 = 1")) !== undefined,
    isWaiting: async () => (await seen("waiting")) !== undefined,
  };
}
