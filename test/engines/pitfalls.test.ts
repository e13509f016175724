import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { brief, judge } from "../support/judge.ts";
import { leave, orderOn, sessionOf, stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

// What is easily got wrong about the server itself, judged by rules over what a real server shows.

const settings = {
  autovacuum_naptime: "1s",
  autovacuum_freeze_max_age: "100000",
  autovacuum_max_workers: "3",
};
const made = await stages({ settings }, (here) =>
  here.connection.query("create table account as select i as id, 0 as n from generate_series(1, 20) i", [], quiet),
);
const protect = { superusers: false };

function decide(rule: object, snapshot: Snapshot): readonly string[] {
  const { decisions } = judge({ rules: [{ name: "r", steps: ["terminate"], ...rule }], protect }).look(snapshot);
  return decisions.map(brief);
}

for (const { major, here } of made) {
  test(`${major}: an aborted transaction has let go of its locks, unless a savepoint keeps them: then it is freed`, async () => {
    const rule = { match: { state: "idle in transaction (aborted)", idle_for: "1ms", blocks: { for: "1ms" } } };
    const without = await here.person("without");
    await without.run("begin; update account set n = 1 where id = 1");
    await without.run("select 1 / 0").catch(() => undefined);
    const free = await here.person("free");
    await free.run("update account set n = 2 where id = 1");

    const savepoint = await here.person("savepoint");
    await savepoint.run("begin; update account set n = 1 where id = 2; savepoint s");
    await savepoint.run("select 1 / 0").catch(() => undefined);
    const waiter = await here.person("waiter");
    waiter.start("update account set n = 2 where id = 2");
    const first = await here.readWith(1);
    const watch = judge({ rules: [{ name: "r", steps: ["terminate"], ...rule }], protect });
    watch.look(first);
    const decisions = await eventually(async () => {
      const found = watch.look(await here.read()).decisions.map(brief);
      return found[0]?.startsWith("act") === true && found;
    });
    assert.deepEqual(decisions, [`act terminate ${savepoint.pid}`]);
    const { state, transaction } = sessionOf(first, without.pid);
    assert.deepEqual([state, transaction.kind], ["idle in transaction (aborted)", "none"]);
    const aborted = { applications: "without", state: "idle in transaction (aborted)", idle_for: "1ms" };
    assert.deepEqual(decide({ match: aborted }, first), [`act terminate ${without.pid}`]);
    // Who does not name that state does not hit it: to the server it has no transaction.
    const { state: _, ...unnamed } = aborted;
    assert.deepEqual(decide({ match: unnamed }, first), [`spare no-transaction ${without.pid}`]);
    assert.deepEqual(decide({ match: { ...aborted, state: ["idle", "idle in transaction"] } }, first), []);
    const order = orderOn(first, without.pid);
    const guarded = { ...order, guard: { ...order.guard, sinceState: true, blocks: null } };
    const early = { ...guarded.evidence.victim, stateAt: "2001-01-01T00:00:00.000000Z" };
    const judgedEarlier = { ...guarded, evidence: { ...guarded.evidence, victim: early as Session } };
    assert.deepEqual(await act(here.connection, judgedEarlier, quiet), { kind: "changed" });
    assert.deepEqual(await act(here.connection, guarded, quiet), { kind: "sent" });
    await leave(waiter, savepoint, without, free);
  });

  test(`${major}: who has written, and who holds back old rows, is told from who only reads`, async () => {
    const reader = await here.person("reader");
    await reader.run("begin isolation level repeatable read; select * from account");
    const writer = await here.person("writer");
    await writer.run("begin; update account set n = 1 where id = 3");
    const other = await here.person("other");
    for (let id = 4; id < 9; id++) await other.run(`update account set n = n + 1 where id = ${id}`);
    const snapshot = await here.read();
    const idle = { state: "idle in transaction", idle_for: "1ms" };
    assert.deepEqual(decide({ match: { ...idle, has_written: true } }, snapshot), [`act terminate ${writer.pid}`]);
    assert.deepEqual(decide({ match: { ...idle, has_written: false } }, snapshot), [`act terminate ${reader.pid}`]);
    // The writer's own id holds back as much as the reader's snapshot.
    const holdingBack = [`act terminate ${reader.pid}`, `act terminate ${writer.pid}`];
    assert.deepEqual(decide({ match: { ...idle, xmin_age: 5 } }, snapshot), holdingBack);
    assert.deepEqual(decide({ match: { ...idle, xmin_age: 500 } }, snapshot), []);
    await leave(reader, writer, other);
  });

  test(`${major}: a plain idle session shows the start of its last statement, which is not running`, async () => {
    const idle = await here.person("pooled");
    await idle.run("select 1");
    const snapshot = await eventually(async () => {
      const rows = await here.connection.query(
        "select 1 from pg_stat_activity where pid = $1 and query_start < clock_timestamp() - interval '20 ms'",
        [idle.pid],
        quiet,
      );
      return rows.length === 1 && here.readAll();
    });
    assert.equal(sessionOf(snapshot, idle.pid).state, "idle");
    const mine = { applications: "pooled" };
    assert.deepEqual(decide({ match: { ...mine, query_for: "1ms" } }, snapshot), []);
    assert.deepEqual(decide({ match: { ...mine, idle_for: "1ms" } }, snapshot), []);
    assert.deepEqual(decide({ match: { ...mine, state: "idle", idle_for: "1ms" } }, snapshot), [
      `act terminate ${idle.pid}`,
    ]);
    await leave(idle);
  });

  test(`${major}: an advisory lock and CREATE INDEX CONCURRENTLY count only for a rule that names their kind of lock`, async () => {
    const held = { match: { state: ["idle", "idle in transaction"], idle_for: "1ms", blocks: { waiters: 1 } } };
    const naming = (locktypes: string) => ({ match: { ...held.match, blocks: { locktypes } } });
    const holder = await here.person("leader");
    await holder.run("select pg_advisory_lock(7)");
    const candidate = await here.person("candidate");
    candidate.start("select pg_advisory_lock(7)");
    const elected = await here.readWith(1);
    assert.deepEqual(decide(held, elected), []);
    assert.deepEqual(decide(naming("virtualxid"), elected), []);
    assert.deepEqual(decide(naming("advisory"), elected), [`act terminate ${holder.pid}`]);
    await leave(candidate, holder);

    const reader = await here.person("reader");
    await reader.run("begin isolation level repeatable read; select * from account");
    const builder = await here.person("builder");
    builder.start("create index concurrently on account (n)");
    const building = await here.readWith(1);
    assert.deepEqual(decide(held, building), []);
    assert.deepEqual(decide(naming("virtualxid"), building), [`act terminate ${reader.pid}`]);
    await leave(builder, reader);
  });

  test(`${major}: a wait has an age, by the server's word or as long as it was seen, and the next statement's is another`, async () => {
    const holder = await here.person("holder");
    await holder.run("begin; lock table account");
    const waiter = await here.person("waiter");
    waiter.start("select * from account");
    const grown = await eventually(async () => {
      const { waits } = await here.readWith(1);
      return (waits?.[0]?.waitMs ?? 0) > 700 && waits;
    });
    assert.equal(grown[0]?.pid, waiter.pid);
    assert.equal(grown[0]?.waitAt === null, major < 14);
    await here.connection.query("select pg_cancel_backend($1::int)", [waiter.pid], quiet);
    await eventually(async () => (await here.read()).waits?.length === 0);
    const startedAt = performance.now();
    waiter.start("select * from account");
    const [again] = (await here.readWith(1)).waits ?? [];
    const mostMs = Math.ceil(performance.now() - startedAt) + 100;
    assert.ok((again?.waitMs ?? Number.NaN) <= mostMs, `${again?.waitMs} ms after ${mostMs} ms`);
    await leave(waiter, holder);
  });

  test(`${major}: what a serializable transaction has read is not held, neither by it nor after its end`, async () => {
    const serializable = "begin isolation level serializable; select * from account";
    const open = await here.person("open");
    await open.run(serializable);
    const over = await here.person("over");
    await over.run(`${serializable}; commit`);
    const sql = "select count(*) as n from pg_locks where mode = 'SIReadLock' and pid = any ($1::int[])";
    const [read] = await here.connection.query(sql, [[open.pid, over.pid]], quiet);
    assert.ok(Number(read?.["n"]) >= 2);
    const { holds } = await here.readAll();
    const held = (holds ?? []).filter(({ holder }) => [open.pid, over.pid].includes(holder));
    // Its indexes stand for their table.
    const shown = new Set(held.map(({ holder, mode, relation }) => `${holder} ${mode} ${relation?.name}`));
    assert.deepEqual([...shown], [`${open.pid} AccessShareLock account`]);
    await leave(open, over);
  });

  test(`${major}: an autovacuum against wraparound does not make way, is never hit, and people are told`, async () => {
    const admin = await here.person("admin");
    // Off: only what prevents wraparound comes all the same, and no other autovacuum (of inserts, 13) is there first.
    await admin.run(
      "create table aged (id int, n text) with (autovacuum_enabled = off, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
    );
    await admin.run("insert into aged select i, repeat('x', 500) from generate_series(1, 20000) i");
    // Each block with a handler is a transaction of its own: so many ids older is the table by now.
    await admin.run("create temporary table one (n int)");
    await admin.run("insert into one values (0)");
    await admin.run(`do $$ begin
      for i in 1..110000 loop
        begin insert into one values (i); exception when division_by_zero then null; end;
      end loop; end $$`);
    const worker = await eventually(async () => {
      const rows = await here.connection.query(
        "select pid from pg_stat_activity where backend_type = 'autovacuum worker' and query like '%aged%to prevent wraparound%'",
        [],
        quiet,
      );
      return rows[0]?.["pid"];
    }, 60_000);
    const waiter = await here.person("alter");
    waiter.start("alter table aged add column later int");
    const rule = { match: { transaction_for: "1ms", blocks: { for: "1ms" } } };
    const watch = judge({ rules: [{ name: "r", steps: ["terminate"], ...rule }], protect });
    const told = await eventually(async () => {
      const { decisions } = watch.look(await here.read());
      return decisions.length > 0 && decisions;
    });
    assert.deepEqual(told.map(brief), [`spare protect ${worker}`]);
    assert.match(told[0]?.reason.text ?? "", /it is no client but autovacuum worker/);
    await leave(waiter, admin);
  });
}
