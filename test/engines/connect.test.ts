import assert from "node:assert/strict";
import { test } from "node:test";
import { LinkLost } from "../../src/engines/engine.ts";
import { type Opened, openConnection } from "../../src/engines/postgres/open.ts";
import { settings } from "../../src/engines/postgres/set-up.ts";
import { fleet } from "../support/fleet.ts";
import { client, eventually, server } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const hba = `
local all all trust
host all postgres 127.0.0.1/32 trust
host rejected all all reject
host all all 127.0.0.1/32 scram-sha-256
`;

const setting = "select setting from pg_catalog.pg_settings where pg_catalog.lower(name) = $1";

async function refusal(url: string, more: Parameters<typeof target>[1] = {}): Promise<LinkLost> {
  const error: unknown = await openConnection(target(url, more), {}, patience()).then(
    (connection) => connection.close(),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LinkLost, `expected LinkLost, got ${String(error)}`);
  return error;
}

async function one(connection: Opened, sql: string, values: readonly (string | null)[] = []): Promise<string | null> {
  const [row = {}] = await connection.query(sql, values, patience());
  return Object.values(row)[0] ?? null;
}

const servers = await fleet({ hba });
for (const { postgres } of servers) {
  const person = await client(postgres.url());
  await person.query("set password_encryption = 'scram-sha-256'");
  await person.query("create role lockwarden login password 'right'; create role full login connection limit 0");
  await person.query("create database closed allow_connections false");
  await person.query("create database rejected");
  await person.query("create database private");
  await person.query("revoke connect on database private from public");
  await person.end();
}

for (const { major, postgres } of servers) {
  const at = `127.0.0.1:${postgres.port}`;
  const url = `postgres://lockwarden:right@${at}/postgres`;

  test(`${major}: every session carries Lockwarden's own settings`, async () => {
    const chosen = { statement_timeout: 4_321, lock_timeout: 1_234 };
    const connection = await openConnection(target(url, chosen), {}, patience());
    for (const [name, value] of Object.entries(settings(chosen))) {
      const got = await one(connection, setting, [name]);
      if (name === "idle_session_timeout" && major < 14) assert.equal(got, null);
      else if (name === "datestyle") assert.match(got ?? "", /^ISO/);
      else assert.equal(got, value, name);
    }
    assert.equal(await one(connection, setting, ["application_name"]), "lockwarden");
    await assert.rejects(connection.query("create table t ()", [], patience()), /read-only transaction/);
    await connection.close();
  });

  test(`${major}: values are the server's own text, and text goes back in unchanged`, async () => {
    const connection = await openConnection(target(url), {}, patience());
    const sql = `select '2026-02-28 23:59:59.123456+00'::timestamptz as moment, 9007199254740993::bigint as big,
      true as yes, null as nothing, array['a', null] as list, '{"a": 1}'::json as json, 0.1::float8 as real, 1::oid as oid`;
    const [row = {}] = await connection.query(sql, [], patience());
    assert.deepEqual(
      { ...row },
      {
        moment: "2026-02-28 23:59:59.123456+00",
        big: "9007199254740993",
        yes: "t",
        nothing: null,
        list: "{a,NULL}",
        json: '{"a": 1}',
        real: "0.1",
        oid: "1",
      },
    );
    const same = "select backend_start = $2::timestamptz as same from pg_catalog.pg_stat_get_activity($1::int)";
    const begun = await one(connection, "select backend_start from pg_catalog.pg_stat_get_activity($1::int)", [
      connection.pid,
    ]);
    assert.equal(await one(connection, same, [connection.pid, begun]), "t");
    assert.equal(
      (await connection.query("select $1::text[] as list", [['a"b', null, "c,d"]], patience()))[0]?.["list"],
      '{"a\\"b",NULL,"c,d"}',
    );
    await connection.close();
  });

  test(`${major}: the server says who it is, and is another one after a restart`, async () => {
    const connection = await openConnection(target(url), {}, patience());
    const { serverId, ...facts } = connection.server;
    assert.deepEqual(
      { ...facts, version: Number.parseInt(facts.version, 10) },
      {
        version: major,
        role: "lockwarden",
        database: "postgres",
        recovery: false,
        encrypted: false,
      },
    );
    assert.equal(Math.floor(connection.versionNumber / 10_000), major);
    assert.equal(await one(connection, "select pg_backend_pid()"), connection.pid);
    await postgres.restart("fast");
    const after = await openConnection(target(url), {}, patience());
    assert.notEqual(after.server.serverId, serverId);
    assert.equal(after.server.serverId.split("/")[0], serverId.split("/")[0]);
    assert.match(serverId, /^\d{19}\/\d+/);
    await after.close();
    await connection.close();
  });

  test(`${major}: without the right to the system identifier a server is still told from its successor`, async () => {
    const superuser = await client(postgres.url());
    await superuser.query("revoke execute on function pg_control_system() from public");
    const connection = await openConnection(target(url), {}, patience());
    assert.match(connection.server.serverId, /^-\/\d+/);
    assert.equal(await one(connection, setting, ["timezone"]), "UTC");
    await superuser.query("grant execute on function pg_control_system() to public");
    await superuser.end();
    await connection.close();
  });

  test(`${major}: a Unix socket works, whatever sslmode says`, async () => {
    const socket = `postgres://lockwarden@:${postgres.port}/postgres?host=${postgres.folder}&sslmode=verify-full`;
    const connection = await openConnection(target(socket), {}, patience());
    assert.equal(await one(connection, "select client_port from pg_stat_get_activity(pg_backend_pid())"), "-1");
    await connection.close();
    const nobody = await refusal(`postgres://lockwarden@/postgres?host=${postgres.folder}/nowhere`);
    assert.equal(nobody.kind, "unreachable");
    assert.match(nobody.message, /nowhere\/\.s\.PGSQL\.5432, user lockwarden, database postgres\): connect ENOENT/);
  });

  const denied: readonly [string, string, RegExp, RegExp][] = [
    [
      "a wrong password",
      `postgres://lockwarden:wrong-one@${at}/postgres`,
      /password authentication failed/,
      /check the password in the target's url/,
    ],
    ["an unknown role", `postgres://nobody_at_all@${at}/postgres`, /the server asks for a password/, /password_file/],
    [
      "an unknown database",
      `postgres://lockwarden:right@${at}/nowhere`,
      /database "nowhere" does not exist/,
      /check the database/,
    ],
    [
      "a database that pg_hba.conf rejects",
      `postgres://lockwarden:right@${at}/rejected`,
      /pg_hba.conf rejects/,
      /pg_hba\.conf has a line/,
    ],
    [
      "a database without CONNECT",
      `postgres://lockwarden:right@${at}/private`,
      /permission denied for database "private"/,
      /^grant connect on database "private" to "lockwarden";$/,
    ],
    [
      "a database that is closed",
      `postgres://lockwarden:right@${at}/closed`,
      /not currently accepting connections/,
      /name another one/,
    ],
  ];
  for (const [what, bad, message, hint] of denied) {
    test(`${major}: ${what} is denied, and the message says where and what to do`, async () => {
      const error = await refusal(bad);
      assert.equal(error.kind, "denied");
      assert.ok(error.message.startsWith(`cannot connect to app (${at}, user `), error.message);
      assert.match(error.message, message);
      assert.match(error.hint ?? "", hint);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /wrong-one|right@|postgres:\/\//);
    });
  }

  test(`${major}: too many connections is a matter of trying again`, async () => {
    const error = await refusal(
      `postgres://full@/postgres?host=${postgres.folder}`.replace("@/", `@:${postgres.port}/`),
    );
    assert.equal(error.kind, "unreachable");
    assert.match(error.message, /too many connections for role "full"/);
  });

  test(`${major}: a session that is killed while idle is lost, and says by what`, async () => {
    const connection = await openConnection(target(url), {}, patience());
    const killer = await client(postgres.url());
    await killer.query("select pg_terminate_backend($1::int)", [connection.pid]);
    await eventually(() => !connection.isOpen());
    await assert.rejects(connection.query("select 1", [], patience()), {
      name: "LinkLost",
      kind: "lost",
      message: `the connection to app (${at}, user lockwarden, database postgres) was lost: terminating connection due to administrator command`,
    });
    await killer.end();
    await connection.close();
    await connection.close();
  });

  test(`${major}: a session that is killed in the middle of a statement is lost`, async () => {
    const connection = await openConnection(target(url, { statement_timeout: 60_000 }), {}, patience());
    const killer = await client(postgres.url());
    const answer = assert.rejects(connection.query("select pg_sleep(50)", [], patience()), { kind: "lost" });
    const kill =
      "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1::int and query like '%pg_sleep%'";
    await eventually(async () => (await killer.query(kill, [connection.pid])).rowCount);
    await answer;
    assert.equal(connection.isOpen(), false);
    await killer.end();
  });

  test(`${major}: an error of the statement leaves the session open`, async () => {
    const connection = await openConnection(target(url, { statement_timeout: 1_000 }), {}, patience());
    await assert.rejects(connection.query("select 1/0", [], patience()), { code: "22012" });
    await assert.rejects(connection.query("select pg_sleep(30)", [], patience()), { code: "57014" });
    assert.equal(await one(connection, "select 1"), "1");
    await connection.close();
    await assert.rejects(connection.query("select 1", [], patience()), { kind: "lost", message: /is closed$/ });
  });

  test(`${major}: statements asked for at once are answered one after the other`, async () => {
    const connection = await openConnection(target(url), {}, patience());
    const asked = ["1", "2", "3"].map((value) => one(connection, "select $1::text", [value]));
    assert.deepEqual(await Promise.all(asked), ["1", "2", "3"]);
    await connection.close();
  });
}

test("a server that does not run is unreachable", async () => {
  const postgres = await server({});
  await postgres.stop();
  const error = await refusal(postgres.url());
  assert.equal(error.kind, "unreachable");
  assert.match(error.message, /connect ECONNREFUSED/);
  assert.match(error.hint ?? "", /check that the server runs/);
});
