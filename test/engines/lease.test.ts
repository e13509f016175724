import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import type { Lease, Link } from "../../src/engines/engine.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { fleet } from "../support/fleet.ts";
import { client, eventually } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const servers = await fleet();
for (const { postgres } of servers) {
  const person = await client(postgres.url());
  await person.query("create role lockwarden login in role pg_read_all_stats, pg_signal_backend");
  await person.query("create database app");
  await person.query("create database private");
  await person.query("revoke connect on database private from public");
  await person.end();
}

/** The actor's pid: it is the one in leader_database. */
const actorSql = "select pid from pg_stat_activity where application_name = 'lockwarden' and datname = 'postgres'";
const holderSql = "select pid from pg_locks where locktype = 'advisory' and granted";

function lease(link: Link): Promise<Lease> {
  return link.lease(patience());
}

for (const { major, postgres } of servers) {
  const open = (more: Partial<Target> = {}): Promise<Link> =>
    engine.connect(target(postgres.url("lockwarden", "app"), more), patience());

  test(`${major}: of two links one holds the lease, and asking again changes nothing`, async () => {
    const person = await client(postgres.url());
    const first = await open();
    const second = await open();
    assert.deepEqual([await lease(first), await lease(second)], ["held", "taken"]);
    const asked = `select query_start::text as at from pg_stat_activity where pid = (${holderSql})`;
    const before = (await person.query(asked)).rows;
    assert.deepEqual([await lease(first), await lease(second)], ["held", "taken"]);
    // The server would count it as held twice.
    assert.deepEqual((await person.query(asked)).rows, before);
    await first.close();
    await eventually(async () => (await lease(second)) === "held");
    await second.close();
    await eventually(async () => (await person.query(holderSql)).rowCount === 0);
    await person.end();
  });

  test(`${major}: when the holder's session is killed the other gets the lease, and the holder knows`, async () => {
    const person = await client(postgres.url());
    const first = await open();
    assert.equal(await lease(first), "held");
    const second = await open();
    assert.equal(await lease(second), "taken");
    await person.query(`select pg_terminate_backend(pid) from (${holderSql}) as holder`);
    await eventually(async () => (await lease(second)) === "held");
    // The server may have told another one first.
    await eventually(() =>
      lease(first).then(
        () => false,
        () => true,
      ),
    );
    await assert.rejects(lease(first), { name: "LinkLost", kind: "lost" });
    await assert.rejects(first.check(patience()), { name: "LinkLost", kind: "lost" });
    await first.close();
    await second.close();
    await person.end();
  });

  test(`${major}: the same key in another database is another lock, so leader_database must be the same`, async () => {
    const first = await open();
    const second = await open({ leader_database: "app" });
    assert.deepEqual([await lease(first), await lease(second)], ["held", "held"]);
    await first.close();
    await second.close();
  });

  // How long it really takes is measured by `npm run test:partition`.
  test(`${major}: the server asks after a silent daemon soon enough for another one to have its lease within 15 s`, async () => {
    const connection = await openConnection(target(postgres.url("lockwarden", "app")), {}, patience());
    const setting = async (name: string): Promise<number> => {
      // In ms, whatever the unit that it shows.
      const sql =
        "select setting::int * case unit when 's' then 1000 else 1 end as value from pg_settings where name = $1";
      const [row] = await connection.query(sql, [name], patience());
      return Number(row?.["value"]);
    };
    const [firstMs, everyMs] = [await setting("tcp_keepalives_idle"), await setting("tcp_keepalives_interval")];
    const [count, userMs] = [await setting("tcp_keepalives_count"), await setting("tcp_user_timeout")];
    const endMs = firstMs + count * everyMs;
    assert.ok(count >= 2 && firstMs > 0, "one lost packet is no dead daemon");
    assert.ok(endMs <= 13_000, `${endMs} ms`);
    // Linux ends it at the first of these moments that is past tcp_user_timeout.
    assert.ok(userMs < endMs && userMs > endMs - everyMs, `${userMs} ms`);
    await connection.close();
  });

  test(`${major}: a link keeps a reader and an actor, and closes both`, async () => {
    const person = await client(postgres.url());
    const link = await open();
    const sessions = "select datname as name from pg_stat_activity where application_name = 'lockwarden' order by 1";
    // Those of a link that has just been closed may be listed a moment longer.
    await eventually(async () => {
      assert.deepEqual((await person.query(sessions)).rows, [{ name: "app" }, { name: "postgres" }]);
      return true;
    });
    assert.equal(link.facts.database, "app");
    assert.equal(link.capabilities.waitAge, major >= 14);
    await Promise.all([link.close(), link.close()]);
    await eventually(async () => (await person.query(sessions)).rowCount === 0);
    await assert.rejects(lease(link), { kind: "lost" });
    await person.end();
  });

  test(`${major}: without its actor a link does not even read`, async () => {
    const person = await client(postgres.url());
    const link = await open();
    await person.query(`select pg_terminate_backend(pid) from (${actorSql}) as actor`);
    await eventually(() =>
      link.check(patience()).then(
        () => false,
        () => true,
      ),
    );
    await assert.rejects(link.read({ sessions: "all", locks: false }, patience()), { kind: "lost" });
    await link.close();
    await person.end();
  });

  test(`${major}: a leader_database that is missing or denied says so, and leaves no session behind`, async () => {
    const person = await client(postgres.url());
    await assert.rejects(open({ leader_database: "private" }), {
      kind: "denied",
      message: /permission denied for database "private".*\(leader_database, /,
      hint: /^grant connect on database "private" to "lockwarden"; .*or set leader_database/,
    });
    await assert.rejects(open({ leader_database: "nowhere" }), {
      kind: "denied",
      message: /database "nowhere" does not exist \(leader_database, /,
    });
    const left = "select 1 from pg_stat_activity where application_name = 'lockwarden'";
    await eventually(async () => (await person.query(left)).rowCount === 0);
    await person.end();
  });
}
