import { readFile } from "node:fs/promises";
import pg from "pg";
import { type EmbeddedOptions, type EmbeddedPostgres, startPostgres } from "../../src/demo/embedded-postgres.ts";

export const watchdogRole = "lockwarden";

/** Runs `measure` on a server of its own, with Lockwarden's least-privilege role; no autovacuum runs beside the figures. */
export async function withServer<T>(
  options: EmbeddedOptions,
  measure: (server: EmbeddedPostgres, superuser: pg.Client) => Promise<T>,
): Promise<T> {
  const server = await startPostgres({ ...options, settings: { autovacuum: "off", ...options.settings } });
  try {
    const superuser = await person(server.url());
    await superuser.query(`create role ${watchdogRole} login in role pg_read_all_stats, pg_signal_backend`);
    await superuser.query("create role app login");
    return await measure(server, superuser);
  } finally {
    await server.stop();
  }
}

/** A client whose loss is part of the measurement. */
export async function person(url: string, application = "bench"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: application });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

export async function processIdOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ pid: string }>("select pg_backend_pid()::text as pid");
  return rows[0]?.pid ?? "";
}

/** So many at once; a server forks each by itself. */
const connectingAtOnce = 25;

export async function crowdOf(count: number, connect: (index: number) => Promise<pg.Client>): Promise<pg.Client[]> {
  const clients: pg.Client[] = [];
  while (clients.length < count) {
    const next = Math.min(connectingAtOnce, count - clients.length);
    clients.push(...(await Promise.all(Array.from({ length: next }, (_, at) => connect(clients.length + at)))));
  }
  return clients;
}

/** Milliseconds of processor time that a process has used, to the nanosecond; null where the system does not tell. */
export async function processorMs(pid: string): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => null);
  const nanoseconds = Number(text?.split(" ")[0] ?? Number.NaN);
  return Number.isNaN(nanoseconds) ? null : nanoseconds / 1e6;
}

export async function versionOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ server_version: string }>("show server_version");
  return `PostgreSQL ${rows[0]?.server_version ?? "unknown"}`;
}

export async function forgetStatements(superuser: pg.Client): Promise<void> {
  await superuser.query("select pg_stat_statements_reset()");
}

/** What the watchdog's role sent, short connections to other databases included. */
export async function statementsSent(superuser: pg.Client): Promise<number> {
  const { rows } = await superuser.query<{ calls: string }>(
    "select coalesce(sum(calls), 0) as calls from pg_stat_statements where userid = $1::regrole",
    [watchdogRole],
  );
  return Number(rows[0]?.calls);
}
