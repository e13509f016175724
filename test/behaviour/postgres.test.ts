import { logIn, loginService } from "../support/login-service.ts";
import { called } from "../support/persons.ts";
import { behaves } from "./scenarios.ts";
import type { User, World } from "./world.ts";

const roles: Readonly<Record<User, string>> = { app: "login_service", clerk: "clerk", precious: "precious" };

async function postgres(): Promise<World> {
  const service = await loginService({ major: 18 });
  const { admin } = service;
  await admin.query("create role clerk login in role login_service");
  await admin.query("create role precious login in role login_service");
  await admin.query("create role powerless login in role pg_read_all_stats");
  return {
    target: `url: "${service.url}"`,
    powerless: `url: "${service.postgres.url("powerless", "app")}"`,
    table: "public.user_session",
    shown: (user) => roles[user],
    guarded: true,
    variants: (handle) => {
      const [pid = "", sessionId = ""] = handle.split(",");
      return [
        { written: ` ${pid} , ${sessionId.toUpperCase()} `, ends: "found" },
        { written: pid, ends: "usage" },
        { written: `${pid},5f000000.${Number(pid).toString(16)}`, ends: "gone" },
        { written: `${pid},${pid}`, ends: "gone" },
      ];
    },
    person: async (user) => {
      const one = await called(service, user, roles[user]);
      const { client } = one;
      const is = async (condition: string) => {
        const sql = `select from pg_stat_activity where pid = $1 and ${condition}`;
        return (await admin.query(sql, [one.pid])).rowCount === 1;
      };
      return {
        handle: () => Promise.resolve(one.handle),
        begin: async () => void (await client.query("begin")),
        logIn: (row) => logIn(client, row),
        commit: async () => void (await client.query("commit")),
        runLong: async () => {
          await client.query("savepoint a");
          const cancelled = await one.start("select pg_sleep(60)");
          // What an application does that catches the error: its transaction and its locks are still there.
          await client.query("rollback to a").catch(() => undefined);
          return cancelled;
        },
        isAlive: one.isThere,
        isWaiting: () => is("wait_event_type = 'Lock'"),
      };
    },
  };
}

behaves("PostgreSQL 18", await postgres());
