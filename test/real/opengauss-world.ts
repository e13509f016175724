import { randomBytes } from "node:crypto";
import { after } from "node:test";
import type { User, World } from "../behaviour/world.ts";
import { makeWatchdog, type Session, sessionAs, urlAs } from "./opengauss-session.ts";

/** By a system administrator: makes a table, the users of the scenarios, and Lockwarden's as `grants` says, and drops them after the file. */
export async function realWorld(admin: string): Promise<World> {
  const prefix = `lockwarden_test_${process.pid}`;
  const table = `public.${prefix}`;
  const password = `Pw_${randomBytes(9).toString("hex")}`;
  const dba = await sessionAs(admin, "dba");
  const named = (name: string) => `${prefix}_${name}`;
  const people = (["app", "clerk", "precious"] as const).map(named);
  const made = [...people, named("powerless"), named("lockwarden")];
  after(async () => {
    await dba.rows(`drop table if exists ${table}`).catch(() => undefined);
    for (const name of made) await dba.rows(`drop user if exists ${name} cascade`).catch(() => undefined);
    await dba.end();
  });
  for (const name of people) await dba.rows(`create user ${name} password '${password}'`);
  await dba.rows(`create user ${named("powerless")} monadmin password '${password}'`);
  await makeWatchdog(dba, named("lockwarden"), password);
  await dba.rows(`create table ${table} (id int primary key, seen timestamptz)`);
  await dba.rows(`insert into ${table} select generate_series(1, 20), null`);
  await dba.rows(`grant all on ${table} to ${people.join(", ")}`);
  const urlOf = (name: string) => urlAs(admin, named(name), password);
  return {
    target: `url: "${urlOf("lockwarden")}"`,
    powerless: `url: "${urlOf("powerless")}"`,
    table,
    shown: named,
    guarded: true,
    variants: (handle) => {
      const [pid = "", sessionId = ""] = handle.split(",");
      return [
        { written: ` ${pid} , ${sessionId} `, ends: "found" },
        { written: pid, ends: "usage" },
        { written: `12345,${sessionId}`, ends: "changed" },
        { written: `${pid},987654`, ends: "gone" },
        { written: `0,${sessionId}`, ends: "changed" },
      ];
    },
    person: (user) => person(dba, { url: urlOf(user), user, table }),
  };
}

type Called = Readonly<{ url: string; user: User; table: string }>;

async function person(dba: Session, { url, user, table }: Called): ReturnType<World["person"]> {
  const session = await sessionAs(url, user);
  after(() => session.end());
  const [own] = await session.rows("select pg_current_sessid() as id");
  const id = own?.["id"] ?? "";
  const now = async () =>
    (
      await dba.rows("select pid, waiting from pg_stat_activity where sessionid = $1 and application_name = $2", [
        id,
        user,
      ])
    )[0];
  return {
    handle: async () => `${(await now())?.["pid"]},${id}`,
    begin: async () => void (await session.rows("begin")),
    logIn: (row) => session.rows(`update ${table} set seen = now() where id = ${row}`),
    commit: async () => void (await session.rows("commit")),
    runLong: async () => {
      await session.rows("savepoint a");
      const cancelled = await session.rows("select pg_sleep(60)").catch((error: unknown) => error);
      // What an application does that catches the error: its transaction and its locks are still there.
      await session.rows("rollback to savepoint a").catch(() => undefined);
      return cancelled;
    },
    isAlive: async () => !session.isEnded() && (await now()) !== undefined,
    isWaiting: async () => (await now())?.["waiting"] === "t",
  };
}
