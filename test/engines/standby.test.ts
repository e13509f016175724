import assert from "node:assert/strict";
import { after, test } from "node:test";
import type pg from "pg";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { fleet } from "../support/fleet.ts";
import { brief, judge } from "../support/judge.ts";
import { agreeing } from "../support/oracle/agree.ts";
import { orderOn, sessionOf, waitOf } from "../support/scene.ts";
import { client, eventually } from "../support/servers.ts";
import { standbyOf } from "../support/standby.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

const made = [];
for (const { major, postgres } of await fleet({ settings: { autovacuum: "off" } })) {
  const primary = await client(postgres.url());
  after(() => primary.end());
  await primary.query("create table account (id int)");
  const standby = await standbyOf(postgres, major);
  const facts = { version: String(major), serverId: "standby", recovery: true, database: "postgres" };
  const look = await agreeing((database) => standby.url("postgres", database), { facts });
  const actor = await textConnection(standby.url());
  made.push({ major, postgres, primary, standby, look, actor });
}

/** What rules that would act on any blocker, and on any waiter, make of it. */
function decide(snapshot: Snapshot): readonly string[] {
  const rules = [
    { name: "blocker", match: { blocks: { waiters: 1 }, transaction_for: "0s" }, steps: ["terminate"] },
    { name: "waiter", match: { waits: { modes: ["AccessExclusiveLock"] } }, steps: ["terminate"] },
  ];
  const { decisions } = judge({ rules, protect: { superusers: false } }).look(snapshot);
  return decisions.map(brief);
}

async function pidOf(person: pg.Client): Promise<string> {
  const { rows } = await person.query<{ pid: string }>("select pg_backend_pid()::text as pid");
  return rows[0]?.pid ?? "";
}

for (const { major, postgres, primary, standby, look, actor } of made) {
  const readWithWait = () =>
    eventually(async () => {
      const snapshot = await look();
      return snapshot.waits?.length === 1 ? snapshot : null;
    });

  test(`${major}: on a standby the replay that waits for a query shows as what it is, and the query is left alone`, async () => {
    const reader = await client(standby.url());
    await reader.query("begin");
    await eventually(() => reader.query("select from account").then(() => true));
    await primary.query("begin; lock table account; commit");
    const snapshot = await readWithWait();
    const reading = await pidOf(reader);
    const [wait] = snapshot.waits ?? [];
    assert.deepEqual([wait?.mode, wait?.relation?.name], ["AccessExclusiveLock", "account"]);
    assert.deepEqual(wait?.blockers, [{ node: reading, soft: false }]);
    const startup = sessionOf(snapshot, wait?.pid ?? "");
    assert.deepEqual([startup.role, startup.backendType, snapshot.recovery], ["internal", "startup", true]);
    assert.deepEqual(waitGraph(snapshot).roots(), [reading]);
    assert.deepEqual(decide(snapshot), []);
    const order = orderOn(snapshot, startup.pid ?? "", { sinceState: false });
    const forged = { ...order, evidence: { ...order.evidence, victim: { ...startup, state: "active" as const } } };
    assert.notEqual((await act(actor, forged, quiet)).kind, "sent");
    await reader.query("commit");
    await eventually(async () => (await look()).waits?.length === 0);
    await reader.end();
  });

  test(`${major}: on a standby a session that waits for a replayed lock has the replay as its root, which nobody signals`, async () => {
    const [waiter, holder] = [await client(standby.url()), await client(postgres.url())];
    const waiting = await pidOf(waiter);
    await holder.query("begin; lock table account");
    // Its record reaches the standby with the next commit.
    await primary.query("create table if not exists flushed (); drop table flushed");
    const mine = eventually(async () => {
      await primary.query("select txid_current()");
      const { rowCount } = await waiter.query("select from pg_locks where mode = 'AccessExclusiveLock' and granted");
      return rowCount === 1;
    });
    await mine;
    const blocked = waiter.query("select from account").catch(() => undefined);
    const snapshot = await readWithWait();
    const wait = waitOf(snapshot, waiting);
    assert.equal(wait.relation?.name, "account");
    const [root] = waitGraph(snapshot).roots();
    assert.deepEqual(wait.blockers, [{ node: root, soft: false }]);
    assert.equal(sessionOf(snapshot, root ?? "").backendType, "startup");
    assert.deepEqual(decide(snapshot), [`spare protect ${root}`]);
    await holder.query("rollback");
    await primary.query("select txid_current()");
    await blocked;
    for (const one of [waiter, holder]) await one.end();
  });
}
