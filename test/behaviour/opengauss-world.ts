import { openGauss } from "../support/opengauss/double.ts";
import type { Options } from "../support/opengauss/options.ts";
import { person } from "../support/opengauss/person.ts";
import type { World } from "./world.ts";

const users = ["app", "clerk", "precious"] as const;

/** On the double, with Lockwarden's role as `grants` makes it. */
export async function openGaussWorld(options: Options): Promise<World> {
  const double = await openGauss(options);
  for (const name of users) await double.createUser({ name });
  await double.createUser({ name: "lockwarden", monadmin: true, signalBackend: true, auth: "sha256" });
  await double.createUser({ name: "powerless", monadmin: true });
  const dba = await person(double, "dba");
  await dba.rows("create table public.user_session (id int primary key, seen timestamptz)");
  await dba.rows("insert into public.user_session select i from generate_series(1, 20) i");
  await dba.rows(`grant all on public.user_session to ${users.join(", ")}`);
  return {
    target: `url: "${double.url("lockwarden")}"`,
    powerless: `url: "${double.url("powerless")}"`,
    table: "public.user_session",
    shown: (user) => user,
    guarded: true,
    variants: (handle) => {
      const [pid = "", sessionId = ""] = handle.split(",");
      return [
        { written: ` ${pid} , ${sessionId} `, ends: "found" },
        { written: pid, ends: "usage" },
        // With a thread pool the server would look at the second number alone.
        { written: `12345,${sessionId}`, ends: "changed" },
        { written: `${pid},987654`, ends: "gone" },
        { written: `0,${sessionId}`, ends: "changed" },
      ];
    },
    person: async (user) => {
      const one = await person(double, user);
      const now = async () =>
        (await dba.rows("select pid, waiting from pg_stat_activity where sessionid = $1", [one.sessionId]))[0];
      return {
        handle: async () => `${(await now())?.["pid"]},${one.sessionId}`,
        begin: async () => void (await one.rows("begin")),
        logIn: (row) => one.rows("update public.user_session set seen = now() where id = $1", [row]),
        commit: async () => void (await one.rows("commit")),
        runLong: async () => {
          await one.rows("savepoint a");
          const cancelled = await one.start("select pg_sleep(60)");
          // What an application does that catches the error: its transaction and its locks are still there.
          await one.rows("rollback to savepoint a").catch(() => undefined);
          return cancelled;
        },
        isAlive: async () => (await now()) !== undefined,
        isWaiting: async () => (await now())?.["waiting"] === "t",
      };
    },
  };
}
