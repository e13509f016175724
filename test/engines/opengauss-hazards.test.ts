import assert from "node:assert/strict";
import { test } from "node:test";
import type pg from "pg";
import { createReader } from "../../src/engines/opengauss/snapshot.ts";
import { hiddenSessions } from "../../src/engines/opengauss/visibility.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { type Client, gaussConnection, gaussScene, orderOn, sessionIn } from "../support/opengauss-look.ts";
import { client, eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

// Each hazard is shown to be one: what hits the innocent there, and what Lockwarden does instead.

const stages = [];
for (const threadPool of [false, true]) {
  const double = await openGauss({ threadPool });
  const here = await gaussScene(double);
  const dba = await gaussConnection(double.url("dba"), "dba");
  await dba.query("create table account (id int primary key, n int)", [], quiet);
  await dba.query("insert into account values (1, 0), (2, 0)", [], quiet);
  await dba.query("grant all on account to app, other", [], quiet);
  stages.push({ mode: `thread pool ${threadPool ? "on" : "off"}`, threadPool, double, here, dba });
}

/** The PostgreSQL behind, unseen by the double. */
const behind = (double: { backend: { url(): string } }) =>
  client(double.backend.url(), { application_name: "opengauss-double" });

/** Runs while a view of the catalog shows something else. */
async function withView<T>(
  admin: pg.Client,
  { name, change }: Readonly<{ name: string; change(definition: string): string }>,
  run: () => Promise<T>,
): Promise<T> {
  const sql = "select trim(trailing ';' from pg_get_viewdef($1::regclass)) as text";
  const { rows } = await admin.query<{ text: string }>(sql, [`gauss.${name}`]);
  const definition = rows[0]?.text ?? assert.fail(`no view ${name}`);
  await admin.query(`create or replace view gauss.${name} as ${change(definition)}`);
  try {
    return await run();
  } finally {
    await admin.query(`create or replace view gauss.${name} as ${definition}`);
  }
}

for (const { mode, threadPool, double, here, dba } of stages) {
  const isWell = async (one: Client) => (await one.run("select 1 as one"))[0]?.["one"] === "1";
  const open = async (id: number, user = "app") => {
    const one = await here.person(user);
    await one.run("begin");
    await one.run(`update account set n = n + 1 where id = ${id}`);
    return one;
  };

  /** A reader that knows nobody yet. */
  const another = async () => {
    const connection = await gaussConnection(double.url("lockwarden"));
    const reader = createReader({
      connection,
      product: here.product,
      target: { name: "app" },
      facts: { version: "7.0.0-RC2", serverId: "server", recovery: false, database: "postgres" },
      openOther: (database) => gaussConnection(double.url("lockwarden", database)),
      own: [connection.sessionId],
    });
    return { reader, connection };
  };

  for (const [slow, column] of [
    ["pg_locks", "mode"],
    ["pg_thread_wait_status", "wait_status"],
  ] as const) {
    test(`${mode}: while ${slow} takes its time the victim goes on to its next transaction: it is read last of all, and spared`, async () => {
      const victim = await open(1);
      const order = orderOn(await here.read(), victim, { sinceState: false });
      const admin = await behind(double);
      await admin.query(
        "create or replace function gauss.slow() returns bool language plpgsql as 'begin perform pg_advisory_xact_lock_shared(4711); return true; end'",
      );
      await admin.query("select pg_advisory_lock(4711)");
      const change = (definition: string) =>
        definition.replace(new RegExp(`\\b${column}\\b`), `case when gauss.slow() then ${column} end as ${column}`);
      const sent = await withView(admin, { name: slow, change }, async () => {
        const sending = here.send(order);
        const waits = "select from pg_locks where locktype = 'advisory' and objid = 4711 and not granted";
        await eventually(async () => (await admin.query(waits)).rowCount === 1);
        for (const sql of ["commit", "begin", "update account set n = n + 1 where id = 1"]) await victim.run(sql);
        await admin.query("select pg_advisory_unlock(4711)");
        return await sending;
      });
      assert.deepEqual(sent, { kind: "changed" });
      assert.equal(await isWell(victim), true);
      await Promise.all([victim.end(), admin.end()]);
    });
  }

  test(`${mode}: a commit that waits for its standby is never signalled, nor a thread that says it vacuums`, async () => {
    const victim = await open(1);
    const admin = await behind(double);
    const showing = (status: string) => (definition: string) =>
      definition.replace(
        /\bwait_status\b/,
        `case when sessionid = ${victim.sessionId} then '${status}' else wait_status end as wait_status`,
      );
    const before = await here.read();
    const acts = (status: string, notMaintenance: boolean) =>
      withView(admin, { name: "pg_thread_wait_status", change: showing(status) }, () =>
        here.send(orderOn(before, victim, { notMaintenance })),
      );
    assert.deepEqual(await acts("wait wal sync", false), { kind: "changed" });
    assert.deepEqual(await acts("vacuum: account", true), { kind: "changed" });
    assert.equal(await isWell(victim), true);
    const again = orderOn(await here.read(), victim);
    assert.equal(sessionIn(before, victim).sessionId, victim.sessionId);
    assert.deepEqual(await here.send(again), { kind: "sent" });
    await eventually(() => victim.isEnded());
    await admin.end();
  });

  test(`${mode}: a client that is on no thread of the pool is ${threadPool ? "spared, and why is said" : "like any other where there is no pool"}`, async () => {
    const apart = await client(double.backend.url("app"), { application_name: "apart" });
    await apart.query("begin; update account set n = n + 1 where id = 2");
    const snapshot = await here.read();
    const seen = snapshot.sessions.find(({ application }) => application === "apart") ?? assert.fail("not listed");
    assert.equal(seen.pid, seen.sessionId);
    const words = ["client", "client backend"];
    assert.deepEqual(
      [seen.role, seen.backendType],
      threadPool ? ["internal", "a session outside of the thread pool"] : words,
    );
    const order = orderOn(snapshot, seen);
    const forged = { ...order, evidence: { ...order.evidence, victim: { ...seen, role: "client" as const } } };
    assert.deepEqual(await here.send(forged), { kind: threadPool ? "changed" : "sent" });
    await apart.end().catch(() => undefined);
  });

  test(`${mode}: a sender of logical replication is one by what it does, whatever it calls itself`, async () => {
    await (await behind(double)).query("alter role app replication").catch(() => undefined);
    const url = `${double.url("app")}?replication=database`;
    const sender = await client(url, { application_name: "etl" });
    const { sessions } = await here.readAll();
    const seen = sessions.find(({ application }) => application === "etl") ?? assert.fail("not listed");
    assert.deepEqual([seen.role, seen.backendType], ["replication", "walsender"]);
    const forged = orderOn(await here.readAll(), seen);
    const victim = { ...seen, role: "client" as const };
    const before = double.signalled.length;
    const order = { ...forged, evidence: { ...forged.evidence, victim } };
    assert.deepEqual(await here.send({ ...order, guard: { ...order.guard, sessionOnly: true } }), { kind: "changed" });
    assert.equal(double.signalled.length, before);
    await sender.end();
  });

  // Only where the server itself does without that table: 7.0.0-RC2 reads it before each statement, and runs none of anybody's.
  test(`${mode}: a look and an act need no table of users while names are known, where pg_stat_activity hangs over a lock on it`, async () => {
    const victim = await open(1);
    const waiter = await here.person();
    waiter.start("update account set n = 9 where id = 1");
    // The double itself names users when it signals, out of a cache that is filled by this.
    const first = await open(2);
    assert.deepEqual(await here.send(orderOn(await here.read(), first)), { kind: "sent" });
    const { reader, connection } = await another();
    const everybody = { sessions: "transactions", locks: true } as const;
    await eventually(async () => (await reader.read(everybody, quiet)).waits?.length === 1);
    const admin = await behind(double);
    for (const one of [dba, connection]) await one.query("set statement_timeout = '500ms'", [], quiet);
    await admin.query("begin; lock table pg_catalog.pg_authid in access exclusive mode");
    await assert.rejects(dba.query("select count(*) from pg_stat_activity", [], quiet), /statement timeout/);
    // Names are read anew every ten seconds: those of a reader that has just begun are known.
    const look = await reader.read(everybody, quiet);
    assert.deepEqual([sessionIn(look, victim).user, look.gaps, look.waits?.length], ["app", [], 1]);
    assert.deepEqual(await here.send(orderOn(look, victim)), { kind: "sent" });
    await eventually(() => victim.isEnded());
    await admin.query("rollback");
    await eventually(async () => (await here.read()).waits?.length === 0);
    assert.equal(await isWell(waiter), true);
    await dba.query("reset statement_timeout", [], quiet);
    await Promise.all([waiter.end(), admin.end(), connection.close()]);
  });

  test(`${mode}: who logs in just now has locks and is not listed yet: a role that sees others is not blind for that`, async () => {
    const victim = await open(1);
    const order = orderOn(await here.read(), victim);
    await double.createUser({ name: "shortsighted", signalBackend: true });
    const connections = [
      await gaussConnection(double.url("lockwarden")),
      await gaussConnection(double.url("shortsighted")),
    ];
    const columns = (sessionId: string) =>
      `locktype, database, relation, page, tuple, bucket, virtualxid, transactionid, classid, objid, objsubid, virtualtransaction, pid, ${sessionId}, mode, granted, fastpath, locktag, global_sessionid`;
    const change = (definition: string) => `with l as (${definition}) select ${columns("sessionid")} from l
      union all (select ${columns("987654::int8")} from l where locktype = 'virtualxid' limit 1)`;
    const admin = await behind(double);
    const [seeing, blind] = await withView(admin, { name: "pg_locks", change }, async () => {
      return await Promise.all(connections.map((one) => hiddenSessions(one, here.product, quiet)));
    });
    assert.deepEqual(seeing, []);
    assert.deepEqual([blind?.includes("987654"), blind?.includes(victim.sessionId)], [true, true]);
    assert.deepEqual(await here.send(order), { kind: "sent" });
    await Promise.all([admin.end(), ...connections.map((one) => one.close())]);
  });

  test(`${mode}: the session of a user who has been dropped is gone from pg_stat_activity, and seen: its user is unknown`, async () => {
    await double.createUser({ name: "leaver" });
    const leaver = await here.person("leaver");
    await leaver.run("begin");
    await leaver.run("select 1");
    const admin = await behind(double);
    await admin.query("drop owned by leaver; drop role leaver");
    const { reader, connection } = await another();
    const listed = await dba.query("select 1 from pg_stat_activity where sessionid = $1", [leaver.sessionId], quiet);
    assert.equal(listed.length, 0);
    const look = await reader.read({ sessions: "transactions", locks: true }, quiet);
    const { user, superuser, role } = sessionIn(look, leaver);
    assert.deepEqual([user, superuser, role], [null, null, "client"]);
    assert.deepEqual(await hiddenSessions(connection, here.product, quiet), []);
    await Promise.all([leaver.end(), admin.end(), connection.close()]);
  });

  test(`${mode}: users whose names are in another encoding take nobody else out of sight`, async () => {
    const stranger = "王";
    await double.createUser({ name: stranger });
    const strange = await here.person(stranger, "strange");
    await strange.run("begin");
    const holder = await open(1);
    const { reader, connection } = await another();
    await connection.query("set client_encoding = 'LATIN1'", [], quiet);
    const look = await reader.read({ sessions: "transactions", locks: true, prepared: true }, quiet);
    for (const one of [strange, holder]) {
      const { user, database, application, transaction } = sessionIn(look, one);
      assert.deepEqual([user, database, transaction.kind], [null, "postgres", "open"]);
      assert.equal(application, one === strange ? "strange" : "shop");
    }
    assert.match(look.gaps.join(), /the names of users cannot be read/);
    await strange.run("prepare transaction 'strange'");
    const later = await reader.read({ sessions: "transactions", locks: true, prepared: true }, quiet);
    assert.deepEqual(
      later.prepared.map(({ gid, user, database }) => [gid, user, database]),
      [["strange", "", ""]],
    );
    await strange.run("rollback prepared 'strange'");
    assert.equal((await reader.read({ sessions: "all", locks: true }, quiet)).gaps.length, 1);
    await Promise.all([strange.end(), connection.close()]);
    const after = await eventually(async () => {
      const seen = await here.read();
      return seen.sessions.every(({ application }) => application !== "strange") && seen;
    });
    assert.equal(sessionIn(after, holder).user, "app");
    await holder.end();
  });
}
