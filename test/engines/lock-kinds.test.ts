import assert from "node:assert/strict";
import { test } from "node:test";
import type { LockWait, Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { agreeing } from "../support/oracle/agree.ts";
import { blockers, leave, type Person, type Scene, stages, waitOf } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

// What the other tests of locks do not have: the rarer kinds of wait, each on a real server.

/** The first full look in which somebody waits for a lock of this kind. */
function readWithKind(here: Scene, locktype: string): Promise<{ snapshot: Snapshot; wait: LockWait }> {
  return eventually(async () => {
    const snapshot = await here.read();
    const wait = snapshot.waits?.find((one) => one.locktype === locktype);
    return wait === undefined ? null : { snapshot, wait };
  });
}

const settings = { deadlock_timeout: "60s", max_prepared_transactions: "10", autovacuum: "off" };
const made = await stages({ settings }, async (here, postgres) => {
  await here.connection.query("create table account (id int primary key, n int)", [], quiet);
  return agreeing((database) => postgres.url("postgres", database));
});
for (const { major, here, prepared: look } of made) {
  const sql = (text: string) => here.connection.query(text, [], quiet);

  test(`${major}: dropping a schema in which somebody creates a table is a wait for an object, without a table`, async () => {
    await sql("create schema crowded");
    const [holder, waiter] = [await here.person(), await here.person()];
    await holder.run("begin; create table crowded.new_one ()");
    waiter.start("drop schema crowded");
    await here.readWith(1);
    const wait = waitOf(await look(), waiter.pid);
    assert.deepEqual([wait.locktype, wait.relation, wait.candidates], ["object", null, []]);
    assert.deepEqual(wait.blockers, [{ node: holder.pid, soft: false }]);
    await leave(holder, waiter);
  });

  test(`${major}: dropping a role that somebody makes an owner is a wait for an object of no database`, async () => {
    await sql("create role keeper");
    const [holder, waiter] = [await here.person(), await here.person()];
    await holder.run("begin; create table kept (); alter table kept owner to keeper");
    waiter.start("drop role keeper");
    await here.readWith(1);
    const wait = waitOf(await look(), waiter.pid);
    assert.match(wait.lock, /^object 0\/1260\/\d+\/0$/);
    assert.deepEqual(wait.blockers, [{ node: holder.pid, soft: false }]);
    await leave(holder, waiter);
  });

  test(`${major}: an insert on conflict waits for one that may yet be taken back, on the table that both insert into`, async () => {
    await sql("create table upsert (id int primary key)");
    await sql(`create function hang(int) returns int language plpgsql immutable as
               $$ begin perform pg_advisory_xact_lock(7); return $1; end $$`);
    await sql("create index on upsert (hang(id))");
    const [gate, inserter, second] = [await here.person(), await here.person(), await here.person()];
    await gate.run("select pg_advisory_lock(7)");
    // Its row and its key are there; the other index still hangs.
    inserter.start("insert into upsert values (1) on conflict do nothing");
    await here.readWith(1);
    second.start("insert into upsert values (1) on conflict do nothing");
    await here.readWith(2);
    const snapshot = await look();
    const wait = waitOf(snapshot, second.pid);
    assert.equal(wait.locktype, major < 13 ? "speculative token" : "spectoken");
    assert.deepEqual(wait.blockers, [{ node: inserter.pid, soft: false }]);
    assert.equal(wait.relation, null);
    assert.deepEqual(
      wait.candidates.map(({ name }) => name),
      ["upsert"],
    );
    assert.deepEqual(waitGraph(snapshot).roots(), [gate.pid]);
    await leave(gate, inserter, second);
  });

  test(`${major}: two that clean up one GIN index are a wait for a page, on the index's table`, async () => {
    await sql("create table words (list int[])");
    await sql(
      "create index words_list on words using gin (list) with (fastupdate = on, gin_pending_list_limit = 2000000)",
    );
    const people = [await here.person(), await here.person()];
    const [wait, snapshot] = await eventually(async () => {
      await sql("insert into words select array[n, n + 1, n + 2] from generate_series(1, 60000) as n");
      for (const one of people) one.start("select gin_clean_pending_list('words_list')");
      for (;;) {
        const seen = await here.read();
        const found = seen.waits?.find(({ locktype }) => locktype === "page");
        if (found !== undefined) return [found, seen];
        if (people.every(({ pid }) => seen.sessions.every((one) => one.pid !== pid))) return null;
      }
    });
    assert.equal(wait.relation?.name, "words");
    const other = people.find(({ pid }) => pid !== wait.pid)?.pid ?? "";
    assert.deepEqual(wait.blockers, [{ node: other, soft: false }]);
    assert.deepEqual(waitGraph(snapshot).roots(), [other]);
    await leave(...people);
  });

  test(`${major}: many that make one table longer are waits to extend it`, async () => {
    await sql("create table growing (filler text)");
    const people: Person[] = [];
    for (let count = 0; count < 8; count++) people.push(await here.person());
    const more = "insert into growing select repeat('x', 3000) from generate_series(1, 20000)";
    for (const one of people) one.start(`do $$ begin for n in 1..20 loop ${more}; rollback; end loop; end $$`);
    const { wait, snapshot } = await readWithKind(here, "extend");
    assert.equal(wait.relation?.name, "growing");
    assert.equal(wait.hiddenBlocker, false);
    for (const { node } of wait.blockers) assert.ok(people.some(({ pid }) => pid === node));
    assert.equal(waitGraph(snapshot).isRoot(wait.waiter), false);
    await leave(...people);
  });

  test(`${major}: locks taken on the fast path, and those that found no place there, block alike`, async () => {
    const numbers = Array.from({ length: 40 }, (_, n) => n);
    for (const n of numbers) await sql(`create table quick_${n} ()`);
    const holder = await here.person();
    await holder.run(`begin; ${numbers.map((n) => `select from quick_${n}`).join("; ")}`);
    const [counted] = await sql(
      `select count(*) filter (where fastpath) as fast, count(*) filter (where not fastpath) as slow
         from pg_locks where pid = ${holder.pid} and locktype = 'relation' and relation >= 16384`,
    );
    assert.ok(Number(counted?.["fast"]) > 0);
    assert.equal(Number(counted?.["fast"]) + Number(counted?.["slow"]), 40);
    const before = await here.read();
    assert.equal(before.holds?.filter((hold) => hold.holder === holder.pid && hold.relation !== null).length, 40);
    const waiters = [await here.person(), await here.person()];
    waiters[0]?.start("begin; lock table quick_0");
    waiters[1]?.start("begin; lock table quick_39");
    await here.readWith(2);
    const snapshot = await look();
    for (const { pid } of waiters) assert.deepEqual(blockers(snapshot, pid, false), [holder.pid]);
    await leave(holder, ...waiters);
  });

  test(`${major}: the same ids in two databases are two tables`, async () => {
    await sql("create database pattern");
    const maker = await here.person("app", "postgres", "pattern");
    await maker.run("create table item ()");
    await leave(maker);
    for (const name of ["one", "two"]) await sql(`create database ${name} template pattern`);
    const holder = await here.person("app", "postgres", "one");
    await holder.run("begin; lock table item");
    const [waiter, stranger] = [
      await here.person("app", "postgres", "one"),
      await here.person("app", "postgres", "two"),
    ];
    waiter.start("select from item");
    await stranger.run("begin; lock table item");
    await here.readWith(1);
    const snapshot = await look();
    assert.deepEqual(blockers(snapshot, waiter.pid, false), [holder.pid]);
    assert.equal(waitOf(snapshot, waiter.pid).relation?.database, "one");
    const held = snapshot.holds?.find((hold) => hold.holder === stranger.pid && hold.mode === "AccessExclusiveLock");
    assert.deepEqual([held?.relation?.database, held?.relation?.name], ["two", "item"]);
    assert.deepEqual(waitGraph(snapshot).roots(), [holder.pid]);
    await leave(holder, waiter, stranger);
    for (const name of ["one", "two", "pattern"]) await eventually(() => sql(`drop database if exists ${name}`));
  });
}
