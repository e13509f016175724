import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after } from "node:test";
import { grantsIn } from "../../src/engines/oceanbase/grants.ts";
import type { User, World } from "../behaviour/world.ts";
import { type Session, sessionAs } from "./oceanbase-session.ts";

/**
 * By the administrator of a tenant in MySQL mode, in the url's database: makes a table, the users of the scenarios, and
 * Lockwarden's as `grants` says, and drops them after the file.
 */
export async function realWorld(admin: string): Promise<World> {
  const dba = await sessionAs(admin);
  assert.equal(dba.mode, "mysql", "the scenarios need a tenant in MySQL mode");
  const prefix = `lw_test_${process.pid}`;
  const [here] = await dba.rows("SELECT DATABASE() AS NAME FROM DUAL");
  const table = `${here?.["NAME"]}.${prefix}`;
  const password = `Pw_${randomBytes(9).toString("hex")}`;
  const named = (name: string) => `${prefix}_${name}`;
  const urlOf = (name: string) =>
    admin.replace(/^(\w+:\/\/)[^@:]*?((?:(?:@|%40)[^@:]*)?)(?::.*)?@([^@]*)$/iu, `$1${named(name)}$2:${password}@$3`);
  const people = ["app", "clerk", "precious"] as const;
  const run = (sql: string) => dba.rows(sql);
  after(async () => {
    await run(`DROP TABLE IF EXISTS ${table}`).catch(() => undefined);
    for (const name of [...people, "powerless", "lockwarden"]) await run(`DROP USER IF EXISTS ${named(name)}`);
    await dba.end();
  });
  await run(`CREATE TABLE ${table} (id INT PRIMARY KEY, n INT)`);
  for (let row = 1; row <= 20; row++) await run(`INSERT INTO ${table} VALUES (${row}, 0)`);
  for (const name of people) {
    await run(`CREATE USER ${named(name)} IDENTIFIED BY '${password}'`);
    await run(`GRANT SELECT, UPDATE ON ${table} TO ${named(name)}`);
  }
  for (const name of ["powerless", "lockwarden"]) {
    const statements = grantsIn("mysql", named(name))
      .replaceAll(/^--.*$/gmu, "")
      .split(";");
    for (const sql of statements.filter((one) => one.trim() !== "")) {
      if (name === "powerless" && sql.includes("SUPER")) continue;
      // One that has fewer views has the names of tables elsewhere.
      await run(sql.replace("change this password", password)).catch(() =>
        run(`GRANT SELECT ON oceanbase.DBA_OBJECTS TO ${named(name)}`),
      );
    }
  }
  const person = (user: User) => personOf(dba, urlOf(user), table);
  const target = (name: string) => `engine: oceanbase, url: "${urlOf(name)}"`;
  return {
    target: target("lockwarden"),
    powerless: (await endsOthers(await sessionAs(urlOf("powerless").replace(/\/[^/]*$/u, "/")), person))
      ? null
      : target("powerless"),
    table,
    shown: named,
    guarded: false,
    variants: (handle) => [
      { written: ` ${handle} , 7 `, ends: "found" },
      { written: String(BigInt(handle) + 4_294_967_296n), ends: "gone" },
      { written: `${handle},x`, ends: "usage" },
      { written: "4294967295", ends: "gone" },
    ],
    person,
  };
}

/** Some servers let everybody end everybody's sessions. */
async function endsOthers(powerless: Session, person: World["person"]): Promise<boolean> {
  const other = await person("app");
  const ended = await powerless.rows(`KILL ${await other.handle()}`).then(
    () => true,
    () => false,
  );
  await powerless.end();
  return ended;
}

async function personOf(dba: Session, url: string, table: string): ReturnType<World["person"]> {
  const session = await sessionAs(url);
  after(() => session.end());
  const listed = async (view: string, condition: string) =>
    (await dba.rows(`SELECT 1 AS N FROM oceanbase.${view} WHERE ${condition} = ${session.id}`)).length > 0;
  return {
    handle: () => Promise.resolve(session.id),
    begin: async () => void (await session.rows("BEGIN")),
    logIn: (row) => session.rows(`UPDATE ${table} SET n = n + 1 WHERE id = ${row}`),
    commit: async () => void (await session.rows("COMMIT")),
    runLong: () => session.rows("SELECT SLEEP(60) FROM DUAL").catch((error: unknown) => error),
    isAlive: async () => session.isOpen() && (await listed("GV$OB_PROCESSLIST", "ID")),
    isWaiting: () => listed("GV$OB_LOCKS", "BLOCK = 1 AND SESSION_ID"),
  };
}
