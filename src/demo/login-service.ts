import { randomBytes } from "node:crypto";
import { postgres } from "../engines/postgres/index.ts";
import { type PlainClient, plainClient } from "../engines/postgres/plain-client.ts";
import type { EmbeddedPostgres } from "./embedded-postgres.ts";

/** The database of a small login service, and whoever is connected to it. */
export type LoginService = Readonly<{
  /** An instance of the service, under its own application_name. */
  instance(application: string): Promise<PlainClient>;
  /** Somebody who only reads. */
  reader(application: string): Promise<PlainClient>;
  /** Who looks at the server to show what is there. */
  observer: PlainClient;
  /** The server's, such as 18.4. */
  version: string;
  /** Of the role that `lockwarden grants` makes. */
  lockwardenPassword: string;
}>;

export const observerName = "demo screen";

const schema = `create table public.user_session (
  user_name text primary key,
  token text not null,
  logins integer not null default 0,
  last_login timestamptz
);
insert into public.user_session (user_name, token) values ('alice', 'a1'), ('bob', 'b1'), ('carol', 'c1');
grant select, update on public.user_session to login_service;
grant select on public.user_session to reporting;`;

/** Makes the roles, the database and its table, as the server's superuser. */
export async function openLoginService(
  server: EmbeddedPostgres,
  opened: (client: PlainClient) => void,
): Promise<LoginService> {
  const connect = async (url: string, application: string): Promise<PlainClient> => {
    const client = await plainClient({ url, application });
    opened(client);
    return client;
  };
  const admin = await connect(server.url(), "demo set-up");
  const passwords = { lockwarden: newPassword(), loginService: newPassword(), reporting: newPassword() };
  await admin.query(`create role login_service login password '${passwords.loginService}'`);
  await admin.query(`create role reporting login password '${passwords.reporting}'`);
  await admin.query("create database app");
  // What an operator runs: the very text that `lockwarden grants` prints.
  await admin.query(postgres.grants("lockwarden"));
  await admin.query(`alter role lockwarden password '${passwords.lockwarden}'`);
  await admin.end();
  const observer = await connect(server.url("postgres", "app"), observerName);
  await observer.query(schema);
  const [answer] = await observer.query("show server_version");
  const url = (user: string, password: string) => `postgres://${user}:${password}@${server.host}:${server.port}/app`;
  return {
    instance: (application) => connect(url("login_service", passwords.loginService), application),
    reader: (application) => connect(url("reporting", passwords.reporting), application),
    observer,
    version: answer?.["server_version"] ?? "",
    lockwardenPassword: passwords.lockwarden,
  };
}

/** What the service does when somebody logs in: a new token in the user's row. */
export async function logIn(instance: PlainClient, user: string): Promise<string> {
  const [row] = await instance.query(
    "update public.user_session set token = $2, logins = logins + 1, last_login = now() where user_name = $1 returning token",
    [user, randomBytes(8).toString("hex")],
  );
  const token = row?.["token"] ?? null;
  if (token === null) throw new Error(`logging in: expected a row of public.user_session for ${user}, got none`);
  return token;
}

/** Hexadecimal, so that it can stand in SQL and in a url as it is. */
export function newPassword(): string {
  return randomBytes(16).toString("hex");
}
