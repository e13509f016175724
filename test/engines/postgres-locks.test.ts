import assert from "node:assert/strict";
import { test } from "node:test";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { blockers, leave, type Person, type Scene, scene, sessionOf, stages, waitOf } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

/** Hard and soft blockers of every waiter, together, are what pg_blocking_pids says, or (soft ones) lead to all of it. */
async function agreesWithServer(here: Scene): Promise<void> {
  await eventually(async () => {
    const before = await here.read();
    for (const wait of before.waits ?? []) {
      const said = await here.blockedBy(wait.pid ?? "");
      const hard = blockers(before, wait.pid ?? "", false).map((node) => (node.startsWith("prepared") ? "0" : node));
      const all = [...hard, ...blockers(before, wait.pid ?? "", true)];
      assert.deepEqual(
        all.filter((one) => !said.includes(one)),
        [],
        `more blockers of ${wait.pid} than ${said.join()}`,
      );
      assert.equal(wait.hiddenBlocker, false);
    }
    return true;
  });
}

const all = new Set(["relation", "tuple", "transactionid", "virtualxid", "advisory", "object"]);

const settings = { max_prepared_transactions: "10", deadlock_timeout: "60s" };
const made = await stages({ settings }, async (here) => {
  await here.connection.query("create table account (id int primary key, n int)", [], quiet);
  await here.connection.query("insert into account values (1, 0), (2, 0)", [], quiet);
});
for (const { major, postgres, here } of made) {
  const sql = (text: string) => here.connection.query(text, [], quiet);

  test(`${major}: waiters for one row are attributed to its table, the first by its tuple lock`, async () => {
    const holder = await here.person();
    await holder.run("begin; update account set n = 1 where id = 1");
    const people: Person[] = [];
    for (let count = 1; count <= 3; count++) {
      const waiter = await here.person();
      people.push(waiter);
      waiter.start("update account set n = 2 where id = 1");
      await here.readWith(count);
    }
    const snapshot = await here.readWith(3);
    const [first, second, third] = people.map((one) => waitOf(snapshot, one.pid));
    assert.equal(first?.locktype, "transactionid");
    assert.equal(second?.locktype, "tuple");
    for (const wait of [first, second, third]) {
      assert.deepEqual(wait?.relation, { database: "postgres", schema: "public", name: "account", ancestors: [] });
      assert.deepEqual(wait?.candidates, []);
      assert.equal(typeof wait?.waitMs, "number");
    }
    assert.deepEqual(blockers(snapshot, people[0]?.pid ?? "", false), [holder.pid]);
    const graph = waitGraph(snapshot);
    assert.deepEqual(graph.roots(), [holder.pid]);
    assert.equal([...graph.behind(holder.pid, all)].length, 3);
    await agreesWithServer(here);
    await leave(holder, ...people);
  });

  test(`${major}: a unique key that two insert leaves the tables that both hold as candidates, without sequences`, async () => {
    await sql("create table ticket (id int primary key, n serial)");
    const holder = await here.person();
    await holder.run("begin; select from account for update; insert into ticket (id) values (7)");
    const waiter = await here.person();
    waiter.start("insert into ticket (id) values (7)");
    const snapshot = await here.readWith(1);
    const wait = waitOf(snapshot, waiter.pid);
    assert.equal(wait.relation, null);
    assert.deepEqual(
      wait.candidates.map((one) => one.name),
      ["ticket"],
    );
    await agreesWithServer(here);
    await leave(holder, waiter);
  });

  test(`${major}: several tables held by both sides are all candidates`, async () => {
    const holder = await here.person();
    await holder.run("begin; update account set n = 3 where id = 1; insert into ticket (id) values (8)");
    const waiter = await here.person();
    waiter.start("begin; update account set n = 3 where id = 2; insert into ticket (id) values (8)");
    const wait = waitOf(await here.readWith(1), waiter.pid);
    assert.deepEqual(wait.candidates.map((one) => one.name).toSorted(), ["account", "ticket"]);
    await leave(holder, waiter);
  });

  test(`${major}: a partition's wait carries its ancestors`, async () => {
    await sql("create table part (id int) partition by range (id)");
    await sql("create table part_low partition of part for values from (0) to (100) partition by range (id)");
    await sql("create table part_low_1 partition of part_low for values from (0) to (10)");
    await sql("insert into part values (1)");
    const holder = await here.person();
    await holder.run("begin; update part set id = 2");
    const waiter = await here.person();
    waiter.start("update part set id = 3");
    const { relation } = waitOf(await here.readWith(1), waiter.pid);
    assert.equal(relation?.name, "part_low_1");
    assert.deepEqual(relation?.ancestors, ["public.part_low", "public.part"]);
    await leave(holder, waiter);
  });

  test(`${major}: a table of another database has its name, and the connection for it is closed at once`, async () => {
    await sql("create database shop");
    const holder = await here.person("app", "postgres", "shop");
    await holder.run("create table item ()");
    await holder.run("begin; lock table item");
    const waiter = await here.person("app", "postgres", "shop");
    waiter.start("select from item");
    const snapshot = await here.readWith(1);
    assert.deepEqual(waitOf(snapshot, waiter.pid).relation, {
      database: "shop",
      schema: "public",
      name: "item",
      ancestors: [],
    });
    assert.equal(snapshot.gaps.length, 0);
    await leave(holder, waiter);
    await eventually(async () => (await sql("select from pg_stat_activity where datname = 'shop'")).length === 0);
    await sql("drop database shop");
  });

  test(`${major}: a prepared transaction is a root without a session`, async () => {
    const preparer = await here.person();
    await preparer.run(
      "begin; update account set n = 4 where id = 1; savepoint s; update account set n = 4 where id = 2",
    );
    await preparer.run("prepare transaction 'gift'");
    const waiter = await here.person();
    waiter.start("update account set n = 5 where id = 1");
    const snapshot = await here.readWith(1);
    assert.equal(snapshot.prepared.length, 1);
    const [prepared] = snapshot.prepared;
    assert.deepEqual([prepared?.gid, prepared?.user, prepared?.database], ["gift", "postgres", "postgres"]);
    assert.deepEqual(blockers(snapshot, waiter.pid, false), [prepared?.key]);
    assert.deepEqual(waitGraph(snapshot).roots(), [prepared?.key]);
    await agreesWithServer(here);
    await preparer.run("rollback prepared 'gift'");
    await leave(preparer, waiter);
  });

  test(`${major}: a queued ALTER holds up readers softly, and a thousand of them would not make a million edges`, async () => {
    const reader = await here.person();
    await reader.run("begin; select from account");
    const alter = await here.person();
    alter.start("alter table account add column if not exists x int");
    await here.readWith(1);
    const people: Person[] = [];
    for (let count = 1; count <= 4; count++) {
      const one = await here.person();
      people.push(one);
      one.start(count % 2 === 0 ? "select from account" : "begin; lock table account in share mode");
      await here.readWith(count + 1);
    }
    const snapshot = await here.readWith(5);
    assert.deepEqual(blockers(snapshot, alter.pid, false), [reader.pid]);
    for (const one of people) assert.deepEqual(blockers(snapshot, one.pid, true), [alter.pid]);
    assert.equal([...waitGraph(snapshot).behind(alter.pid, all)].length, 4);
    assert.equal(waitGraph(snapshot).isRoot(alter.pid), false);
    assert.deepEqual(waitGraph(snapshot).roots(), [reader.pid]);
    await agreesWithServer(here);
    await leave(reader, alter, ...people);
  });

  test(`${major}: who upgrades a lock goes ahead of the queue, and is no deadlock`, async () => {
    const other = await here.person();
    await other.run("begin; select from account");
    const upgrader = await here.person();
    await upgrader.run("begin; select from account");
    const alter = await here.person();
    alter.start("begin; lock table account in access exclusive mode");
    await here.readWith(1);
    upgrader.start("lock table account in access exclusive mode");
    const snapshot = await here.readWith(2);
    assert.deepEqual(blockers(snapshot, upgrader.pid, false), [other.pid]);
    assert.deepEqual(blockers(snapshot, upgrader.pid, true), []);
    assert.deepEqual(blockers(snapshot, alter.pid, false), [other.pid, upgrader.pid].toSorted());
    assert.equal(waitGraph(snapshot).inCycle(alter.pid), false);
    await agreesWithServer(here);
    await leave(other, upgrader, alter);
  });

  test(`${major}: two that wait for each other are a cycle without a root`, async () => {
    const one = await here.person();
    const two = await here.person();
    await one.run("begin; update account set n = 6 where id = 1");
    await two.run("begin; update account set n = 6 where id = 2");
    one.start("update account set n = 6 where id = 2");
    two.start("update account set n = 6 where id = 1");
    const graph = waitGraph(await here.readWith(2));
    assert.deepEqual([graph.inCycle(one.pid), graph.inCycle(two.pid), graph.roots().length], [true, true, 0]);
    await leave(one, two);
  });

  test(`${major}: CREATE INDEX CONCURRENTLY waits for a virtual transaction, and has no table to be blamed for`, async () => {
    const holder = await here.person();
    await holder.run("begin; insert into account values (3, 0)");
    const indexer = await here.person();
    indexer.start("create index concurrently on account (n)");
    const snapshot = await here.readWith(1);
    const wait = waitOf(snapshot, indexer.pid);
    assert.deepEqual([wait.locktype, wait.relation, wait.candidates.length], ["virtualxid", null, 0]);
    assert.match(wait.lock, /^virtualxid \d+\/\d+$/);
    assert.deepEqual(blockers(snapshot, indexer.pid, false), [holder.pid]);
    assert.equal(sessionOf(snapshot, indexer.pid).maintenance, true);
    await agreesWithServer(here);
    await leave(holder, indexer);
  });

  test(`${major}: the plainly idle holder of an advisory lock is in the snapshot of those who wait for it`, async () => {
    const holder = await here.person();
    await holder.run("select pg_advisory_lock(42), pg_advisory_lock(4, 2)");
    const waiters = [await here.person(), await here.person()];
    waiters[0]?.start("select pg_advisory_lock(42)");
    waiters[1]?.start("select pg_advisory_lock(4, 2)");
    const snapshot = await here.readWith(2);
    assert.equal(sessionOf(snapshot, holder.pid).state, "idle");
    assert.equal(sessionOf(snapshot, holder.pid).transaction.kind, "none");
    assert.match(waitOf(snapshot, waiters[0]?.pid ?? "").lock, /^advisory \d+\/0\/42\/1$/);
    assert.match(waitOf(snapshot, waiters[1]?.pid ?? "").lock, /^advisory \d+\/4\/2\/2$/);
    assert.deepEqual(waitGraph(snapshot).roots(), [holder.pid]);
    await agreesWithServer(here);
    await leave(holder, ...waiters);
  });

  const leaderless =
    major < 13 ? "12 does not say who leads a parallel worker: it is no client, and stands for itself" : false;
  test(`${major}: a parallel worker that waits stands for its leader`, { skip: leaderless }, async () => {
    await sql("create table hidden_inside ()");
    await sql("create table wide as select generate_series(1, 20000) as n");
    await sql(`create function peek(int) returns bigint language plpgsql parallel safe as
               $$ begin return (select count(*) + $1 from hidden_inside); end $$`);
    const holder = await here.person();
    await holder.run("begin; lock table hidden_inside");
    const leader = await here.person();
    const gather = "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;";
    await leader.run(`${gather} set parallel_leader_participation = off; set max_parallel_workers_per_gather = 2`);
    leader.start("select count(*) from wide where peek(n) > 5");
    const snapshot = await eventually(async () => {
      const look = await here.read();
      return look.waits?.some((wait) => wait.waiter === leader.pid) ? look : null;
    });
    const wait = snapshot.waits?.find((one) => one.waiter === leader.pid);
    assert.notEqual(wait?.pid, leader.pid);
    assert.equal(sessionOf(snapshot, wait?.pid ?? "").group, leader.pid);
    assert.equal(sessionOf(snapshot, wait?.pid ?? "").role, "internal");
    const graph = waitGraph(snapshot);
    assert.deepEqual(
      Array.from(graph.behind(holder.pid, all), (one) => one.waiter),
      [leader.pid],
    );
    assert.equal(graph.isRoot(leader.pid), false);
    assert.equal((await here.blockedBy(leader.pid)).includes(holder.pid), true);
    await leave(holder, leader);
  });

  test(`${major}: with a lock on pg_authid a look still answers, and unnamed roles are unknown`, async () => {
    const fresh = await scene(postgres);
    const holder = await here.person();
    await holder.run("begin; update account set n = 7 where id = 1");
    const waiter = await here.person();
    waiter.start("update account set n = 8 where id = 1");
    const locker = await here.person();
    await locker.run("begin; lock table pg_authid in access exclusive mode");
    const snapshot = await fresh.readWith(1);
    assert.deepEqual(blockers(snapshot, waiter.pid, false), [holder.pid]);
    assert.equal(waitOf(snapshot, waiter.pid).relation?.name, "account");
    const session = sessionOf(snapshot, holder.pid);
    assert.deepEqual([session.user, session.superuser], [null, null]);
    assert.match(snapshot.gaps.join(), /names of roles cannot be read.*lock timeout/);
    await leave(locker, holder, waiter);
  });

  test(`${major}: tables held by whoever is in a transaction are holds, wanted by somebody or not`, async () => {
    const holder = await here.person();
    await holder.run("begin; lock table account in share row exclusive mode");
    const snapshot = await here.read();
    const held = snapshot.holds?.filter((hold) => hold.holder === holder.pid);
    assert.deepEqual(
      held?.map((hold) => [hold.mode, hold.relation?.name]),
      [["ShareRowExclusiveLock", "account"]],
    );
    await leave(holder);
  });
}
