import assert from "node:assert/strict";
import { test } from "node:test";
import { act } from "../../src/engines/postgres/guard.ts";
import { prove } from "../../src/engines/postgres/prove.ts";
import { fleet } from "../support/fleet.ts";
import { orderOn, type Person, type Scene, scene, sessionOf, waitOf } from "../support/scene.ts";
import { client, eventually } from "../support/servers.ts";
import { quiet, readerOn, textConnection } from "../support/text-connection.ts";

const servers = await fleet({ settings: { max_prepared_transactions: "4" } });

for (const { major, postgres } of servers) {
  const watched = await scene(postgres);

  test(`${major}: a cancelled statement's transaction that holds nothing any more is released, not survived`, async () => {
    const [victim, waiter] = await withRows(watched, "aborted", 1);
    await victim.run("begin");
    await victim.run("update aborted set n = 0 where id = 1");
    victim.start("select pg_sleep(600)");
    waiter.start("update aborted set n = 1 where id = 1");
    const snapshot = await eventually(async () => {
      const seen = await watched.readWith(1);
      return sessionOf(seen, victim.pid).state === "active" && seen;
    });
    const order = orderOn(snapshot, victim.pid);
    const sent = await act(watched.connection, { ...order, action: "cancel" }, quiet);
    assert.deepEqual(sent, { kind: "sent" });
    await eventually(async () => (await stateOf(watched, victim.pid)) === "idle in transaction (aborted)");
    const proof = await prove(watched.connection, order.evidence, quiet);
    assert.deepEqual([proof.alive, proof.sameTransaction, proof.stillBlocked], [true, false, []]);
    await victim.end();
    await waiter.end();
  });

  test(`${major}: a cancelled statement behind a savepoint leaves every lock: survived`, async () => {
    const [victim, waiter] = await withRows(watched, "saved", 1);
    await victim.run("begin");
    await victim.run("update saved set n = 0 where id = 1");
    await victim.run("savepoint s");
    victim.start("select pg_sleep(600)");
    waiter.start("update saved set n = 1 where id = 1");
    const snapshot = await eventually(async () => {
      const seen = await watched.readWith(1);
      return sessionOf(seen, victim.pid).state === "active" && seen;
    });
    const order = orderOn(snapshot, victim.pid);
    await act(watched.connection, { ...order, action: "cancel" }, quiet);
    await eventually(async () => (await stateOf(watched, victim.pid)) === "idle in transaction (aborted)");
    const proof = await prove(watched.connection, order.evidence, quiet);
    assert.deepEqual([proof.sameTransaction, proof.stillBlocked], [true, [waiter.pid]]);
    await victim.end();
    await waiter.end();
  });

  test(`${major}: a statement in another encoding does not blind the reader`, async () => {
    const admin = await client(postgres.url());
    await admin.query("create database legacy encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0");
    await admin.end();
    const connection = await textConnection(postgres.url("postgres", "legacy"));
    await connection.query("set client_encoding to 'UTF8'", [], quiet);
    const reader = readerOn(connection, (database) => postgres.url("postgres", database));
    const stranger = await watched.person("latin", "postgres", "legacy");
    await stranger.run("begin");
    // The server cuts what it shows of it at 1,023 bytes: here in the middle of a character.
    await stranger.run(`select '${"é".repeat(600)}'`);
    const snapshot = await reader.read({ sessions: "transactions", locks: true }, quiet);
    const seen = sessionOf(snapshot, stranger.pid);
    assert.equal(seen.state, "idle in transaction");
    assert.equal(seen.query, null);
    assert.match(snapshot.gaps.join(), /statements/);
    await stranger.end();
    await connection.close();
  });

  test(`${major}: a gid in another encoding is unknown, and does not blind the reader to everybody`, async () => {
    const admin = await client(postgres.url());
    await admin.query("create database ascii encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0");
    await admin.end();
    const stranger = await watched.person("latin", "postgres", "ascii");
    await stranger.run("create table held ()");
    await stranger.run("begin; lock table held; prepare transaction E'gid-\\xe9'");
    const connection = await textConnection(postgres.url("postgres", "ascii"));
    await connection.query("set client_encoding to 'UTF8'", [], quiet);
    const reader = readerOn(connection, (database) => postgres.url("postgres", database));
    stranger.start("select from held");
    const snapshot = await eventually(async () => {
      const seen = await reader.read({ sessions: "transactions", locks: true }, quiet);
      return seen.waits?.length === 1 && seen;
    });
    assert.deepEqual(
      snapshot.prepared.map(({ gid, database }) => [gid, database]),
      [["", "ascii"]],
    );
    assert.deepEqual(waitOf(snapshot, stranger.pid).blockers, [{ node: snapshot.prepared[0]?.key, soft: false }]);
    await stranger.end();
    const owner = await watched.person("latin", "postgres", "ascii");
    await owner.run("rollback prepared E'gid-\\xe9'");
    await owner.end();
    await connection.close();
  });

  test(`${major}: a counted waiter far down a chain still justifies the act`, async () => {
    const length = 26;
    const people = await withRows(watched, "chain", length);
    for (const [index, one] of people.entries()) {
      await one.run("begin");
      await one.run(`update chain set n = 1 where id = ${index + 1}`);
    }
    for (const [index, one] of people.entries()) {
      if (index > 0) one.start(`update chain set n = 2 where id = ${index}`);
    }
    const snapshot = await watched.readWith(length - 1);
    const [victim] = people;
    const last = people.at(-1);
    assert.ok(victim !== undefined && last !== undefined);
    const edges = people
      .slice(1)
      .map((one, index) => {
        const wait = waitOf(snapshot, one.pid);
        const blockerPid = people[index]?.pid ?? "";
        return { waiterPid: one.pid, blockerPid, lock: wait.lock, mode: wait.mode, counts: one === last };
      })
      .toReversed();
    const order = orderOn(snapshot, victim.pid, { blocks: { edges, waiters: 1 } });
    assert.deepEqual(await act(watched.connection, order, quiet), { kind: "sent" });
    for (const one of people) await one.end();
  });

  test(`${major}: a blocker that has begun to wait itself is no root any more, and is left alone`, async () => {
    const [root, victim, waiter] = await withRows(watched, "turned", 3);
    await root.run("begin");
    await root.run("update turned set n = 1 where id = 2");
    await victim.run("begin");
    await victim.run("update turned set n = 1 where id = 1");
    waiter.start("update turned set n = 2 where id = 1");
    // It goes on when it has been seen.
    await watched.connection.query("create table seen ()", [], quiet);
    victim.start(`do $$ begin while not exists (select from seen) loop perform pg_sleep(0.01); end loop;
      update turned set n = 2 where id = 2; end $$`);
    const snapshot = await eventually(async () => {
      const seen = await watched.readWith(1);
      return sessionOf(seen, victim.pid).state === "active" && seen;
    });
    const wait = waitOf(snapshot, waiter.pid);
    const edge = { waiterPid: waiter.pid, blockerPid: victim.pid, lock: wait.lock, mode: wait.mode, counts: true };
    await watched.connection.query("insert into seen default values", [], quiet);
    await watched.readWith(2);
    const order = orderOn(snapshot, victim.pid, { sinceState: false, blocks: { edges: [edge], waiters: 1 } });
    assert.deepEqual(await act(watched.connection, order, quiet), { kind: "changed" });
    for (const one of [root, victim, waiter]) await one.end();
  });
}

/** A table with so many rows, and as many people. */
async function withRows(watched: Scene, table: string, count: number): Promise<[Person, Person, Person, ...Person[]]> {
  const people: Person[] = [];
  for (let at = 0; at < Math.max(3, count); at++) people.push(await watched.person(table));
  await people[0]?.run(`create table ${table} as select id, 0 as n from generate_series(1, ${Math.max(3, count)}) id`);
  return people as [Person, Person, Person, ...Person[]];
}

async function stateOf({ connection }: Scene, pid: string): Promise<string | null> {
  const [row] = await connection.query("select state from pg_stat_get_activity($1::int4)", [pid], quiet);
  return row?.["state"] ?? null;
}
