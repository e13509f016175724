import type pg from "pg";
import { type LoginService, pidOf } from "./login-service.ts";
import { eventually } from "./servers.ts";

/** One session of a login service as people call it. */
export type Called = Readonly<{
  pid: string;
  /** `pid,sessionid`. */
  handle: string;
  client: pg.Client;
  isThere(): Promise<boolean>;
  /** Waits until it shows so. */
  shows(condition: string): Promise<void>;
  /** Starts it and does not wait. */
  start(sql: string): Promise<unknown>;
}>;

/** The %c of log_line_prefix, made by the server. */
const handleSql = `select to_hex(trunc(extract(epoch from backend_start))::bigint) || '.' || to_hex(pid) as id
                     from pg_stat_activity where pid = $1`;

export async function called(service: LoginService, application: string, user?: string): Promise<Called> {
  const client = await service.person(application, user);
  const number = await pidOf(client);
  const { rows } = await service.admin.query<{ id: string }>(handleSql, [number]);
  const is = async (condition: string) => {
    const sql = `select 1 from pg_stat_activity where pid = $1 and ${condition}`;
    return (await service.admin.query(sql, [number])).rowCount === 1;
  };
  return {
    pid: String(number),
    handle: `${number},${rows[0]?.id}`,
    client,
    isThere: () => is("true"),
    shows: async (condition) => void (await eventually(() => is(condition))),
    start: (sql) => client.query(sql).catch((error: unknown) => error),
  };
}

/** Runs on until it is terminated: whatever cancels it is swallowed. */
export const deafToCancel = `do $$ begin
  for turn in 1..10000 loop
    begin perform pg_sleep(1); exception when query_canceled then null; end;
  end loop;
end $$`;
