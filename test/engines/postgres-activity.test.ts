import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { scene, sessionOf, stages } from "../support/scene.ts";
import { client, eventually, server } from "../support/servers.ts";
import { quiet, readerOn } from "../support/text-connection.ts";

const settings = { wal_level: "replica" };
for (const { major, postgres, here } of await stages({ settings }, () => Promise.resolve())) {
  const reader = readerOn(here.connection, (database) => postgres.url("postgres", database));
  const calm = () => reader.read({ sessions: "transactions", locks: false }, quiet);

  test(`${major}: a calm look lists who is in a transaction, and nobody who is plainly idle`, async () => {
    const idle = await here.person("idle");
    const open = await here.person("open");
    await open.run("begin; create temp table t (); select 1");
    const snapshot = await calm();
    assert.equal(
      snapshot.sessions.some((one) => one.pid === idle.pid),
      false,
    );
    const session = sessionOf(snapshot, open.pid);
    assert.equal(session.state, "idle in transaction");
    assert.equal(session.role, "client");
    assert.equal(session.user, "postgres");
    assert.equal(session.database, "postgres");
    assert.equal(session.superuser, true);
    assert.equal(session.application, "open");
    assert.equal(session.client, "127.0.0.1");
    assert.equal(session.query, "begin; create temp table t (); select 1");
    assert.equal(session.maintenance, null);
    assert.equal(session.transaction.kind === "open" && session.transaction.writeId !== null, true);
    assert.deepEqual([snapshot.holds, snapshot.waits, snapshot.contended], [null, null, false]);
    const all = await reader.read({ sessions: "all", locks: false }, quiet);
    assert.equal(sessionOf(all, idle.pid).transaction.kind, "none");
    await open.end();
  });

  test(`${major}: an open transaction that has written holds back what began after it, without any snapshot`, async () => {
    const writer = await here.person();
    await writer.run("begin; create temp table mine (id int)");
    const age = async () => sessionOf(await here.read(), writer.pid).xminAge ?? assert.fail("unknown");
    const before = await age();
    await here.connection.query("create table later (id int); drop table later", [], quiet);
    assert.equal(await age(), before + 1);
    await writer.end();
  });

  test(`${major}: moments are text with microseconds that the server finds again, ages count by its clock`, async () => {
    const open = await here.person();
    await open.run("begin");
    const session = sessionOf(await calm(), open.pid);
    assert.match(session.identity, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const found = await here.connection.query(
      "select from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz and state_change = $3::timestamptz",
      [open.pid, session.identity, session.stateAt],
      quiet,
    );
    assert.equal(found.length, 1);
    const later = await eventually(async () => {
      const again = sessionOf(await calm(), open.pid);
      return (again.stateMs ?? 0) > (session.stateMs ?? 0) ? again : null;
    });
    assert.equal(later.transaction.kind === "open" && (later.transaction.ageMs ?? -1) >= (later.stateMs ?? 0), true);
    await open.end();
  });

  test(`${major}: a client of the Unix socket is local, and the moment of the look is the server's`, async () => {
    const local = await client(`postgres://postgres@localhost:${postgres.port}/postgres?host=${postgres.folder}`);
    await local.query("begin");
    const snapshot = await calm();
    assert.equal(Date.parse(snapshot.at), snapshot.atMs);
    assert.equal(
      snapshot.sessions.some((one) => one.client === "local"),
      true,
    );
    await local.end();
  });

  test(`${major}: our own sessions and twins of our role are own, the same application of another role is not`, async () => {
    await here.connection.query("create role stranger login", [], quiet);
    const twin = await here.person("lockwarden");
    const stranger = await here.person("lockwarden", "stranger");
    await twin.run("begin");
    await stranger.run("begin");
    const snapshot = await calm();
    assert.equal(sessionOf(snapshot, twin.pid).own, true);
    assert.equal(sessionOf(snapshot, stranger.pid).own, false);
    assert.equal(sessionOf(snapshot, stranger.pid).superuser, false);
    assert.equal(sessionOf(snapshot, here.connection.pid).own, true);
    for (const one of [twin, stranger]) await one.end();
  });

  test(`${major}: a replication connection is listed as replication`, async () => {
    const config = { connectionString: postgres.url(), replication: "database" } as pg.ClientConfig;
    const replica = new pg.Client(config);
    await replica.connect();
    const all = await reader.read({ sessions: "all", locks: false }, quiet);
    assert.equal(all.sessions.filter((one) => one.role === "replication").length, 1);
    await replica.end();
  });

  test(`${major}: whoever has track_activities off shows no state and an unknown transaction`, async () => {
    const silent = await here.person();
    await silent.run("set track_activities = off; begin; create table silent ()");
    const session = sessionOf(await calm(), silent.pid);
    assert.equal(session.state, null);
    assert.equal(session.transaction.kind, "unknown");
    await silent.end();
  });

  test(`${major}: without pg_read_all_stats others are a count, and unknown where they block`, async () => {
    await here.connection.query("create role blind login", [], quiet);
    const blind = await scene(postgres, "blind");
    const holder = await here.person();
    await holder.run("begin; create table if not exists seen (); lock table seen");
    await holder.run("commit; begin; lock table seen");
    const waiter = await here.person();
    waiter.start("select from seen");
    await here.readWith(1);
    const snapshot = await blind.readWith(1);
    const session = sessionOf(snapshot, holder.pid);
    assert.deepEqual(
      [session.identity, session.state, session.query, session.role, session.transaction.kind, session.backendType],
      ["", null, null, "unknown", "unknown", null],
    );
    assert.match(snapshot.gaps.join(), /sessions are hidden/);
    await holder.end();
    await waiter.end();
  });
}

test("what shows in pg_stat_progress is maintenance, in a look at locks only", async () => {
  const postgres = await server();
  const here = await scene(postgres);
  await here.connection.query("create table t as select 1 as n", [], quiet);
  const holder = await here.person();
  await holder.run("begin; insert into t values (2)");
  const indexer = await here.person();
  indexer.start("create index concurrently on t (n)");
  const snapshot = await eventually(async () => {
    const look = await here.read();
    return look.sessions.some((one) => one.pid === indexer.pid && one.maintenance === true) ? look : null;
  });
  assert.equal(sessionOf(snapshot, holder.pid).maintenance, false);
  for (const one of [holder, indexer]) await one.end();
});

test("the session id is what %c prints in the server's log", async () => {
  const postgres = await server();
  process.kill(postgres.pid, "SIGINT");
  const { uid, gid } = await stat(postgres.dataFolder);
  await eventually(() => !existsSync(join(postgres.dataFolder, "postmaster.pid")));
  const flags = ["port", "unix_socket_directories", "log_line_prefix", "log_connections"];
  const values = [String(postgres.port), postgres.folder, "%p=%c ", "on"];
  const args = flags.flatMap((flag, place) => ["-c", `${flag}=${values[place]}`]);
  const as = process.getuid?.() === 0 ? { uid, gid } : {};
  const child = spawn(join(postgres.program, "bin", "postgres"), ["-D", postgres.dataFolder, ...args], as);
  let log = "";
  child.stderr.on("data", (text: Buffer) => (log += text.toString()));
  const here = await eventually(() => scene(postgres));
  const open = await here.person();
  await open.run("begin");
  const { sessionId } = sessionOf(await here.read(), open.pid);
  await eventually(() => log.includes(`${open.pid}=${sessionId} `));
  await open.end();
  await here.connection.close();
  child.kill("SIGINT");
  await once(child, "exit");
});
