import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import type { Probe } from "../../src/core/decision.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { leave, type Scene, sessionOf, stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { target } from "../support/targets.ts";
import { quiet } from "../support/text-connection.ts";

const made = await stages({}, async (here, postgres) => {
  await here.connection.query("create table login as select i as id, 0 as n from generate_series(1, 5) i", [], quiet);
  await here.connection.query("create sequence drawn", [], quiet);
  await here.connection.query("create database elsewhere", [], quiet);
  // Only what is stuck has to wait for the end of its time.
  const watched: Target = target(postgres.url(), { statement_timeout: 60_000 });
  const link = await engine.connect(watched, quiet);
  after(() => link.close());
  return { link, watched };
});

const row = (id: number, timeout = 20_000): Probe => ({
  sql: `select 1 from public.login where id = ${id} for update`,
  timeout,
});

async function probers(here: Scene): Promise<readonly (string | null)[]> {
  const sql = "select state from pg_stat_activity where query like '%lockwarden:probe%' and pid <> pg_backend_pid()";
  return (await here.connection.query(sql, [], quiet)).map(({ state }) => state ?? null);
}

for (const { major, here, prepared } of made) {
  const { link, watched } = prepared;

  test(`${major}: a probe tells a free row from a locked one, and gets through again afterwards`, async () => {
    assert.equal((await link.probe(row(1), quiet)).kind, "works");
    const holder = await here.person();
    await holder.run("begin; update login set n = n + 1 where id = 1");
    assert.equal((await link.probe(row(1, 200), quiet)).kind, "stuck");
    assert.equal((await link.probe({ ...row(1), sql: `${row(1).sql} nowait` }, quiet)).kind, "stuck");
    assert.equal((await link.probe(row(2), quiet)).kind, "works");
    await leave(holder);
    assert.equal((await link.probe(row(1), quiet)).kind, "works");
  });

  test(`${major}: what a probe writes, locks and sets is gone afterwards`, async () => {
    const probe = (sql: string) => link.probe({ sql, timeout: 20_000 }, quiet);
    assert.equal((await probe("update public.login set n = 99 where id = 3")).kind, "works");
    assert.equal((await probe("select pg_advisory_lock(4711)")).kind, "works");
    assert.equal((await probe("select set_config('search_path', 'public', false)")).kind, "works");
    assert.equal((await probe("select 1 from login")).kind, "failed");
    const [left] = await here.connection.query(
      "select (select n from login where id = 3) as n, (select count(*) from pg_locks where locktype = 'advisory' and objid = 4711) as locks",
      [],
      quiet,
    );
    assert.deepEqual(left, { n: "0", locks: "0" });
    assert.deepEqual(await probers(here), ["idle"]);
  });

  test(`${major}: whatever else goes wrong is told as failed, never as stuck`, async () => {
    const failed = async (sql: string, timeout = 20_000) => {
      const probed = await link.probe({ sql, timeout }, quiet);
      return probed.kind === "failed" ? probed.error : probed.kind;
    };
    assert.match(await failed("select 1 from public.logins"), /relation "public.logins" does not exist/);
    assert.match(await failed("select 1; delete from public.login"), /cannot insert multiple commands/);
    assert.match(await failed("select 1 / 0"), /division by zero/);
    assert.match(await failed("select pg_sleep(60)", 200), /statement timeout/);
    const [count] = await here.connection.query("select count(*) as rows from login", [], quiet);
    assert.equal(count?.["rows"], "5");
  });

  test(`${major}: a probe in another database uses a session of its own there, and no database that is not there`, async () => {
    const sql = "select pg_catalog.current_database()::int";
    const probed = await link.probe({ sql, timeout: 20_000, database: "elsewhere" }, quiet);
    assert.match(probed.kind === "failed" ? probed.error : "", /elsewhere/);
    const nowhere = await link.probe({ sql, timeout: 20_000, database: "nowhere" }, quiet);
    assert.match(nowhere.kind === "failed" ? nowhere.error : "", /nowhere.*; check the rule's probe\.database$/);
    assert.equal((await link.probe(row(2), quiet)).kind, "works");
  });

  test(`${major}: a probe whose session was ended has failed, the link lives on, and the next probe works`, async () => {
    const holder = await here.person();
    await holder.run("begin; update login set n = n + 1 where id = 1");
    const probed = link.probe(row(1, 30_000), quiet);
    await eventually(async () => {
      const sql =
        "select pg_terminate_backend(pid) from pg_stat_activity where query = $1 and wait_event_type = 'Lock'";
      return (await here.connection.query(sql, [row(1).sql], quiet)).length === 1;
    });
    assert.equal((await probed).kind, "failed");
    await leave(holder);
    assert.equal((await link.probe(row(1), quiet)).kind, "works");
    assert.notEqual((await link.read({ sessions: "all", locks: true }, quiet)).waits, null);
  });

  test(`${major}: a probe that may wait longer than a statement is stuck before it is cut`, async () => {
    const holder = await here.person();
    await holder.run("begin; update login set n = n + 1 where id = 1");
    const hurried = await engine.connect({ ...watched, statement_timeout: 2_000 }, quiet);
    assert.equal((await hurried.probe(row(1, 60_000), quiet)).kind, "stuck");
    await hurried.close();
    await leave(holder);
  });

  test(`${major}: a probe that waits is one of Lockwarden's own sessions`, async () => {
    const holder = await here.person();
    await holder.run("begin; update login set n = n + 1 where id = 1");
    const other = await engine.connect(watched, quiet);
    const probed = link.probe(row(1, 5_000), quiet);
    const seen = await eventually(async () => {
      const snapshot = await other.read({ sessions: "all", locks: true }, quiet);
      return snapshot.waits?.[0] === undefined ? null : { snapshot, wait: snapshot.waits[0] };
    });
    assert.equal(sessionOf(seen.snapshot, seen.wait.pid ?? "").own, true);
    assert.equal((await probed).kind, "stuck");
    await other.close();
    await leave(holder);
  });
}
