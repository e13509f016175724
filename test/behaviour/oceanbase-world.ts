import type mysql from "mysql2/promise";
import { type OceanBaseOptions, oceanBase } from "../support/oceanbase/oceanbase.ts";
import type { User, World } from "./world.ts";

const users = ["app", "clerk", "precious"] as const;

/** On the double, directly at the server; Lockwarden as a user who may end everybody's sessions. */
export async function oceanBaseWorld(options: OceanBaseOptions): Promise<World> {
  const double = await oceanBase(options);
  const oracle = double.mode === "oracle";
  for (const name of users) await double.createUser({ name });
  await double.createUser({
    name: "lockwarden",
    password: "secret",
    super: true,
    alterSystem: true,
    showProcess: true,
  });
  await double.createUser({ name: "powerless", password: "secret", showProcess: true });
  const table = oracle ? "APP.USER_SESSION" : "app.user_session";
  const owner = await double.person("app");
  await owner.query("CREATE TABLE user_session (id INT PRIMARY KEY, n INT)");
  for (let row = 1; row <= 20; row++) await owner.query(`INSERT INTO user_session VALUES (${row}, 0)`);
  const others = ["b", "c", "d", "e", "f", "g", "h"].map((name) => `${table} ${name}`).join(", ");
  // Oracle mode has no function that sleeps.
  const long = oracle ? `SELECT COUNT(*) AS N FROM ${table} a, ${others}` : "SELECT SLEEP(60) FROM DUAL";
  const dba = await double.person(oracle ? "SYS" : "root");
  const target = (user: string) => `engine: oceanbase, url: "${double.url(user, "secret")}"`;
  const shown = (user: User) => (oracle ? user.toUpperCase() : user);
  return {
    target: target("lockwarden"),
    powerless: target("powerless"),
    table,
    shown,
    guarded: false,
    variants: (handle) => [
      { written: ` ${handle} , 7 `, ends: "found" },
      { written: String(BigInt(handle) + 4_294_967_296n), ends: "gone" },
      { written: `${handle},x`, ends: "usage" },
      { written: "17", ends: "gone" },
    ],
    person: async (user) => {
      const connection = await double.person(user);
      const id = String(await double.idOf(connection));
      const listed = async (view: string, condition: string) => {
        const [rows] = await dba.query<mysql.RowDataPacket[]>(
          `SELECT COUNT(*) AS N FROM ${oracle ? "SYS" : "oceanbase"}.${view} WHERE ${condition} = ${id}`,
        );
        return Number(rows[0]?.["N"]) > 0;
      };
      return {
        handle: () => Promise.resolve(id),
        begin: async () => void (await connection.query("BEGIN")),
        logIn: (row) => connection.query(`UPDATE ${table} SET n = n + 1 WHERE id = ${row}`),
        commit: async () => void (await connection.query("COMMIT")),
        // KILL QUERY leaves the transaction and its locks as they are.
        runLong: () => connection.query(long).catch((error: unknown) => error),
        isAlive: () => listed("GV$OB_PROCESSLIST", "ID"),
        isWaiting: () => listed("GV$OB_LOCKS", "BLOCK = 1 AND SESSION_ID"),
      };
    },
  };
}
