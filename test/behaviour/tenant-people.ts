import { after } from "node:test";
import type mysql from "mysql2/promise";
import type { OceanBaseDouble } from "../support/oceanbase/oceanbase.ts";
import type { Person, World } from "./world.ts";

/** A login service on a tenant of OceanBase, and Lockwarden's account. */
export async function tenantPeople(double: OceanBaseDouble): Promise<World> {
  const isOracle = double.mode === "oracle";
  const table = isOracle ? "APP.USER_SESSION" : "app.user_session";
  // By the published source only whoever has SUPER ends sessions of others.
  await double.createUser({
    name: "lockwarden",
    password: "secret",
    alterSystem: true,
    showProcess: true,
    super: true,
  });
  await double.createUser({ name: "powerless", password: "secret", showProcess: true });
  for (const name of ["app", "clerk", "precious"]) await double.createUser({ name, password: "secret" });
  const admin = await double.person();
  const owner = await double.person("app");
  after(() => {
    admin.destroy();
    owner.destroy();
  });
  await owner.query("CREATE TABLE user_session (id INT PRIMARY KEY, n INT)");
  for (let row = 1; row <= 20; row++) await owner.query(`INSERT INTO user_session VALUES (${row}, 0)`);
  await owner.query("COMMIT");
  const target = (user: string) => `engine: oceanbase, url: "${double.url(user)}"`;
  return {
    target: target("lockwarden"),
    powerless: target("powerless"),
    table,
    shown: (user) => (isOracle ? user.toUpperCase() : user),
    guarded: false,
    variants: (handle) => [
      { written: `${handle}, 7`, ends: "found" },
      // 2^32 more, which is the same number to the server.
      { written: String(BigInt(handle) + 4_294_967_296n), ends: "gone" },
      { written: `7,${handle}`, ends: "gone" },
    ],
    person: async (user) => {
      const connection = await double.person(user);
      after(() => connection.destroy());
      return person(connection, { id: String(await double.idOf(connection)), table, admin, isOracle });
    },
  };
}

type Place = Readonly<{ id: string; table: string; admin: mysql.Connection; isOracle: boolean }>;

function person(connection: mysql.Connection, { id, table, admin, isOracle }: Place): Person {
  const view = (name: string) => `${isOracle ? "SYS" : "oceanbase"}.${name}`;
  const some = async (sql: string) => {
    const [rows] = await admin.query(sql);
    return Array.isArray(rows) && rows.length > 0;
  };
  return {
    handle: () => Promise.resolve(id),
    begin: async () => void (await connection.query("BEGIN")),
    logIn: (row) => connection.query(`UPDATE ${table} SET n = n + 1 WHERE id = ${row}`),
    commit: async () => void (await connection.query("COMMIT")),
    // KILL QUERY leaves the transaction as it is.
    runLong: () => connection.query("SELECT SLEEP(60) FROM DUAL").catch((error: unknown) => error),
    isAlive: () => some(`SELECT ID FROM ${view("GV$OB_PROCESSLIST")} WHERE ID = ${id}`),
    isWaiting: () => some(`SELECT SESSION_ID FROM ${view("GV$OB_LOCKS")} WHERE BLOCK = 1 AND SESSION_ID = ${id}`),
  };
}
