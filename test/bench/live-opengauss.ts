import { randomBytes } from "node:crypto";
import { makeWatchdog, type Session, sessionAs, urlAs } from "../real/opengauss-session.ts";
import { eventually } from "../support/eventually.ts";

export type LiveScene = Readonly<{ url: string; name: string; stick(): Promise<void>; end(): Promise<void> }>;

type Crowd = Readonly<{ idle: number; waiting: number }>;

/** On a real server, by its system administrator: one holds a row, many do nothing, and after `stick` others wait for it. `end` takes it all away. */
export async function liveScene(admin: string, { idle, waiting }: Crowd): Promise<LiveScene> {
  const prefix = `lockwarden_bench_${process.pid}`;
  const [app, watchdog, table] = [`${prefix}_app`, `${prefix}_lockwarden`, `public.${prefix}`];
  const password = `Pw_${randomBytes(9).toString("hex")}`;
  const dba = await sessionAs(admin, "dba");
  const people: Session[] = [];
  const end = async () => {
    for (const session of people) {
      await dba.rows("select pg_terminate_session(pid, sessionid) from pg_stat_activity where application_name = $1", [
        prefix,
      ]);
      await session.end();
    }
    await dba.rows(`drop table if exists ${table}`);
    for (const name of [app, watchdog]) await dba.rows(`drop user if exists ${name} cascade`);
    await dba.end();
  };
  try {
    await dba.rows(`create user ${app} password '${password}'`);
    await makeWatchdog(dba, watchdog, password);
    await dba.rows(`create table ${table} (id int primary key, seen timestamptz)`);
    await dba.rows(`insert into ${table} values (1, null)`);
    await dba.rows(`grant all on ${table} to ${app}`);
    while (people.length < idle + waiting + 1) people.push(await sessionAs(urlAs(admin, app, password), prefix));
    const [victim, ...waiters] = people.slice(idle);
    await victim?.rows("begin");
    await victim?.rows(`update ${table} set seen = now()`);
    const stick = async () => {
      for (const waiter of waiters) waiter.rows(`update ${table} set seen = now()`).catch(() => undefined);
      await eventually("everybody waits", async () => {
        const sql = "select count(*) as n from pg_stat_activity where application_name = $1 and waiting";
        return Number((await dba.rows(sql, [prefix]))[0]?.["n"]) >= waiting;
      });
    };
    const [pool] = await dba.rows("show enable_thread_pool");
    const [version] = await dba.rows("select opengauss_version() as version");
    const name = `openGauss ${version?.["version"]}, thread pool ${pool?.["enable_thread_pool"]}`;
    return { url: urlAs(admin, watchdog, password), name, stick, end };
  } catch (error) {
    await end();
    throw error;
  }
}
