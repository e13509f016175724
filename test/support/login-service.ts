import { after } from "node:test";
import type pg from "pg";
import type { EmbeddedOptions, EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { client, server } from "./servers.ts";

/** A server with a login table, its service's role, and a least-privilege role for Lockwarden. */
export type LoginService = Readonly<{
  postgres: EmbeddedPostgres;
  /** As the server's superuser. */
  admin: pg.Client;
  url: string;
  /** A connection of the service, or of another role; ended after the test. */
  person(application: string, user?: string, config?: pg.ClientConfig): Promise<pg.Client>;
}>;

export async function loginService(options: EmbeddedOptions = {}): Promise<LoginService> {
  const postgres = await server(options);
  const people: pg.Client[] = [];
  after(async () => {
    for (const person of people) await person.end().catch(() => undefined);
  });
  const admin = await client(postgres.url());
  people.push(admin);
  await admin.query("create database app");
  await admin.query("create role login_service login replication");
  await admin.query(engine.grants("lockwarden"));
  const owner = await client(postgres.url("postgres", "app"));
  people.push(owner);
  await owner.query("create table public.user_session (id int primary key, seen timestamptz)");
  await owner.query("create table public.audit (id int primary key, note text)");
  await owner.query("insert into public.user_session select i from generate_series(1, 20) i");
  await owner.query("grant all on all tables in schema public to login_service");
  return {
    postgres,
    admin,
    url: postgres.url("lockwarden", "app"),
    person: async (application, user = "login_service", config = {}) => {
      const person = await client(postgres.url(user, "app"), { application_name: application, ...config });
      people.push(person);
      return person;
    },
  };
}

export async function pidOf(person: pg.Client): Promise<number> {
  const { rows } = await person.query<{ pid: number }>("select pg_backend_pid() as pid");
  const [row] = rows;
  if (row === undefined) throw new Error("no pid");
  return row.pid;
}

/** A login: one update of one's own row. */
export function logIn(person: pg.Client, id: number): Promise<unknown> {
  return person.query("update public.user_session set seen = now() where id = $1", [id]);
}

/** Abandons a transaction that holds a row. */
export async function abandon(person: pg.Client, id: number): Promise<void> {
  await person.query("begin");
  await logIn(person, id);
}
