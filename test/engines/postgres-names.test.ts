import assert from "node:assert/strict";
import { test } from "node:test";
import type { Connection } from "../../src/engines/postgres/connection.ts";
import { databaseCatalog, roleCatalog } from "../../src/engines/postgres/names.ts";
import { relationNames } from "../../src/engines/postgres/relation-names.ts";
import { readRelations } from "../../src/engines/postgres/relations.ts";
import { stages } from "../support/scene.ts";
import { client } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

/** Counts what is asked of a connection. */
function counted(connection: Connection): { connection: Connection; asked: string[] } {
  const asked: string[] = [];
  const query: Connection["query"] = (sql, values, signal) => {
    asked.push(sql);
    return connection.query(sql, values, signal);
  };
  return { connection: { ...connection, query }, asked };
}

for (const { major, postgres, here } of await stages({}, () => Promise.resolve())) {
  const plain = here.connection;
  const sql = (text: string) => plain.query(text, [], quiet);
  const oidOf = async (text: string) => (await sql(`select (${text})::oid as oid`))[0]?.["oid"] ?? "";

  test(`${major}: indexes and TOAST tables stand for their table, partitions know what they are part of`, async () => {
    await sql("create table tree (id int primary key, t text) partition by range (id)");
    await sql("create table leaf partition of tree for values from (0) to (9)");
    const wanted = {
      table: await oidOf("'leaf'::regclass"),
      index: await oidOf("'leaf_pkey'::regclass"),
      toast: await oidOf("select reltoastrelid from pg_class where relname = 'leaf'"),
      toastIndex: await oidOf(
        "select indexrelid from pg_index where indrelid = (select reltoastrelid from pg_class where relname = 'leaf')",
      ),
    };
    const names = await readRelations(plain, "postgres", [...Object.values(wanted), "99999999"], quiet);
    const relation = { database: "postgres", schema: "public", name: "leaf", ancestors: ["public.tree"] };
    for (const oid of Object.values(wanted)) assert.deepEqual(names.get(oid), { relation, rowless: false });
    assert.equal(names.get("99999999"), null);
    const tree = await oidOf("'tree'::regclass");
    assert.equal((await readRelations(plain, "postgres", [tree], quiet)).get(tree)?.rowless, true);
  });

  test(`${major}: roles are asked for once, again for a new one, and again when they are old`, async () => {
    const { connection, asked } = counted(plain);
    let now = 0;
    const roles = roleCatalog(connection, () => now);
    await sql("create role azure_pg_admin");
    const admin = await oidOf("select oid from pg_roles where rolname = 'azure_pg_admin'");
    assert.equal(await roles.prepare(["10", admin], false, quiet), null);
    assert.deepEqual(roles.get("10"), { name: "postgres", superuser: true });
    assert.deepEqual(roles.get(admin), { name: "azure_pg_admin", superuser: true });
    assert.equal(roles.get(null), null);
    await roles.prepare(["10"], true, quiet);
    assert.equal(asked.length, 1);
    await sql("create role newcomer");
    const newcomer = await oidOf("select oid from pg_roles where rolname = 'newcomer'");
    for (let count = 0; count < 3; count++) await roles.prepare([newcomer, "77777"], false, quiet);
    assert.deepEqual(roles.get(newcomer), { name: "newcomer", superuser: false });
    assert.equal(asked.length, 2, "an id that stays unknown is not asked for at every look");
    now = 10_000;
    await roles.prepare(["10"], false, quiet);
    assert.equal(asked.length, 2, "a calm look asks for nothing");
    await roles.prepare(["10"], true, quiet);
    assert.equal(asked.length, 3);
  });

  test(`${major}: while roles cannot be read they are unknown, and later known again`, async () => {
    let now = 0;
    const roles = roleCatalog(plain, () => now);
    await roles.prepare(["10"], true, quiet);
    const locker = await client(postgres.url());
    await locker.query("begin; lock table pg_authid in access exclusive mode");
    now = 10_000;
    assert.match((await roles.prepare(["10"], true, quiet)) ?? "", /names of roles cannot be read/);
    assert.equal(roles.get("10"), null);
    await locker.end();
    assert.match((await roles.prepare(["10"], true, quiet)) ?? "", /cannot be read/, "not tried again at once");
    now = 20_000;
    assert.equal(await roles.prepare(["10"], true, quiet), null);
    assert.equal(roles.get("10")?.name, "postgres");
  });

  test(`${major}: databases that are templates or closed are never connected to, others once and for a moment`, async () => {
    for (const name of ["template_shop", "closed_shop", "open_shop"]) await sql(`create database ${name}`);
    await sql("alter database template_shop is_template true");
    await sql("alter database closed_shop allow_connections false");
    const opened: string[] = [];
    const closed: string[] = [];
    let now = 0;
    const databases = databaseCatalog(plain);
    const names = relationNames({
      connection: plain,
      database: "postgres",
      databases,
      openOther: async (database) => {
        opened.push(database);
        const other = await textConnection(postgres.url("postgres", database));
        return { ...other, close: () => other.close().then(() => void closed.push(database)) };
      },
      now: () => now,
    });
    const ids = new Map<string, string>();
    for (const row of await sql("select datname, oid from pg_database"))
      ids.set(row["datname"] ?? "", row["oid"] ?? "");
    await databases.prepare(ids.values(), false, quiet);
    const wanted = ["template_shop", "closed_shop", "open_shop"].map((name) => ({
      databaseId: ids.get(name) ?? "",
      relationId: "1259",
    }));
    const gaps = await names.prepare(wanted, quiet);
    assert.match(gaps.join("\n"), /template_shop have no names: it is a template/);
    assert.match(gaps.join("\n"), /closed_shop have no names: it does not allow connections/);
    assert.equal(gaps.length, 2);
    assert.deepEqual([opened, closed], [["open_shop"], ["open_shop"]]);
    const open = wanted[2] ?? { databaseId: "", relationId: "" };
    assert.equal(names.get(open)?.relation.name, "pg_class");
    assert.equal(names.get(open)?.relation.database, "open_shop");
    const unknown = { ...open, relationId: "99999999" };
    await names.prepare([open, unknown], quiet);
    await names.prepare([open, unknown], quiet);
    assert.equal(opened.length, 2, "what has no name is not asked for at every look");
    assert.equal(names.get(unknown), null);
    now = 30_000;
    await names.prepare([unknown], quiet);
    assert.equal(opened.length, 3);
    now = 60_000;
    assert.equal(names.get(open), null, "an old name is none");
  });
}
