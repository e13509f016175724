import assert from "node:assert/strict";
import { test } from "node:test";
import type { Missing } from "../../src/engines/engine.ts";
import { check, judge } from "../../src/engines/postgres/check.ts";
import { grants, quoteName } from "../../src/engines/postgres/grants.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { fleet } from "../support/fleet.ts";
import { client } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const servers = await fleet();

const hostile = [
  "lockwarden",
  'a"b; drop role postgres; --',
  "o'brien \\ back",
  "$lockwarden$ end $$ $lockwarden_$",
  "line\nbreak; create role sneaked; --",
  "%I %s %%",
  "ünïcödé",
  "x".repeat(63),
];

function lacks(found: readonly Missing[], what: string): Missing | undefined {
  return found.find((one) => one.missing.startsWith(what));
}

for (const { major, postgres } of servers) {
  async function checked(role: string, database = "postgres"): Promise<readonly Missing[]> {
    const url = `postgres://${encodeURIComponent(role)}@127.0.0.1:${postgres.port}/${database}`;
    const connection = await openConnection(target(url), {}, patience());
    const found = await check(connection, patience());
    await connection.close();
    return found;
  }

  test(`${major}: the grants run as they are, whatever the role is called, and leave nothing fatal`, async () => {
    const person = await client(postgres.url());
    for (const role of hostile) {
      await person.query(grants(role));
      const { rows } = await person.query<{ right: boolean }>(
        `select rolcanlogin and not rolsuper and rolconnlimit = 10 and rolconfig = '{search_path=pg_catalog}' as right
           from pg_roles where rolname = $1`,
        [role],
      );
      assert.deepEqual(rows, [{ right: true }], role);
      const found = await checked(role);
      assert.deepEqual(
        found.filter((one) => one.fatal),
        [],
        role,
      );
      const connection = await openConnection(target(postgres.url(encodeURIComponent(role))), {}, patience());
      assert.equal(connection.server.role, role);
      await connection.close();
      await person.query(`drop role ${quoteName(role)}`);
    }
    assert.equal((await person.query("select 1 from pg_roles where rolname = 'sneaked'")).rowCount, 0);
    await person.end();
  });

  test(`${major}: what a bare role lacks is told, and the SQL beside it grants it`, async () => {
    const person = await client(postgres.url());
    await person.query("create role bare login");
    const before = await checked("bare");
    assert.equal(lacks(before, "pg_read_all_stats")?.fatal, true);
    assert.equal(lacks(before, "pg_signal_backend")?.fatal, true);
    assert.equal(lacks(before, "pg_use_reserved_connections")?.fatal, major >= 16 ? false : undefined);
    assert.equal(lacks(before, "reserved_connections")?.fatal, major >= 16 ? false : undefined);
    for (const { grant } of before.filter((one) => !one.missing.startsWith("reserved_connections"))) {
      await person.query(grant);
    }
    const after = await checked("bare");
    assert.deepEqual(
      after.map((one) => one.missing.split(" ")[0]),
      major >= 16 ? ["reserved_connections"] : [],
    );
    await person.query("drop role bare");
    await person.end();
  });

  test(`${major}: pg_monitor will do, and a membership that is not inherited will not`, async () => {
    const person = await client(postgres.url());
    await person.query("create role watching login in role pg_monitor, pg_signal_backend");
    assert.deepEqual(
      (await checked("watching")).filter((one) => one.fatal),
      [],
    );
    await person.query("create role aloof login noinherit in role pg_read_all_stats, pg_signal_backend");
    assert.equal((await checked("aloof")).filter((one) => one.fatal).length, 2);
    await person.query("drop role watching, aloof");
    await person.end();
  });

  test(`${major}: a superuser works, and is told that less would do`, async () => {
    const found = await checked("postgres");
    assert.match(found[0]?.missing ?? "", /^postgres is a superuser/);
    assert.deepEqual(
      found.filter((one) => one.fatal),
      [],
    );
  });

  test(`${major}: functions that were revoked and statistics that are off are fatal`, async () => {
    const person = await client(postgres.url());
    await person.query("create role shorn login in role pg_read_all_stats, pg_signal_backend");
    await person.query("alter role shorn set track_activities = off");
    await person.query("revoke execute on function pg_stat_get_activity(int), pg_lock_status() from public");
    const fatal = (await checked("shorn")).filter((one) => one.fatal);
    assert.equal(fatal.length, 2);
    assert.match(fatal[0]?.missing ?? "", /^track_activities is off/);
    assert.equal(fatal[1]?.missing, "shorn may not execute pg_lock_status(), pg_stat_get_activity(integer)");
    await person.query("alter role shorn reset track_activities");
    await person.query(fatal[1]?.grant ?? "");
    assert.deepEqual(
      (await checked("shorn")).filter((one) => one.fatal),
      [],
    );
    await person.query("grant execute on function pg_stat_get_activity(int), pg_lock_status() to public");
    await person.query("drop owned by shorn; drop role shorn");
    await person.end();
  });

  test(`${major}: databases without CONNECT are named, up to a bound, and granted by the SQL`, async () => {
    const person = await client(postgres.url());
    await person.query("create role outsider login in role pg_read_all_stats, pg_signal_backend");
    const closed = ["a-closed", 'b"closed', ...Array.from({ length: 20 }, (_, index) => `z-${index + 10}`)];
    for (const database of closed.slice(0, major === servers[0]?.major ? 22 : 2)) {
      await person.query(`create database ${quoteName(database)}`);
      await person.query(`revoke connect on database ${quoteName(database)} from public`);
    }
    const found = lacks(await checked("outsider"), "CONNECT");
    assert.equal(found?.fatal, false);
    if (major === servers[0]?.major) {
      assert.match(found.missing, /^CONNECT on 22 of .*: a-closed, b"closed, .* and 2 more$/);
      await person.query(found.grant);
      assert.match(lacks(await checked("outsider"), "CONNECT")?.missing ?? "", /^CONNECT on 2 of .*: z-28, z-29$/);
    } else {
      assert.match(found.missing, /^CONNECT on 2 of .*: a-closed, b"closed$/);
      await person.query(found.grant);
      assert.equal(lacks(await checked("outsider"), "CONNECT"), undefined);
    }
    await person.end();
  });
}

test("a name that the server would cut off, or none at all, is refused", () => {
  for (const name of ["", "x".repeat(64), "ü".repeat(32), "zero\0byte"]) {
    assert.throws(() => grants(name), /^Error: role: expected a name of 1 to 63 bytes/);
  }
});

test("a standby is told: it sees and signals only its own sessions", () => {
  const rights = { role: "me", recovery: "t", superuser: "f", reads_all: "t", signals: "t", track_activities: "on" };
  const found = judge(rights, [], []);
  assert.equal(found.length, 1);
  assert.match(found[0]?.missing ?? "", /in recovery \(a standby\)/);
  assert.equal(found[0]?.fatal, false);
});
