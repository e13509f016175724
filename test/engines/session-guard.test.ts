import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import type { Order, Sent } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { prove } from "../../src/engines/postgres/prove.ts";
import { leave, orderOn, type Person, type Scene, sessionOf, stages } from "../support/scene.ts";
import { client, eventually } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

// Only who asks for it waits for a replica, which is nowhere.
const settings = { synchronous_standby_names: "nowhere", synchronous_commit: "local" };
const made = await stages({ settings }, async (here, postgres) => {
  await here.connection.query("create table account as select i as id, 0 as n from generate_series(1, 9) i", [], quiet);
  return textConnection(postgres.url());
});

/** As a person's order is guarded. */
const byHand = { sinceState: false, sessionOnly: true } as const;

const withIdentity = (order: Order, identity: string): Order => ({
  ...order,
  evidence: { ...order.evidence, victim: { ...(order.evidence.victim as Session), identity } },
});

async function orderOnAll(here: Scene, pid: string, action: Order["action"] = "terminate"): Promise<Order> {
  return { ...orderOn(await here.readAll(), pid, byHand), action };
}

/** Clients that come and go, as from a pool that lets nobody stay; `end` says whose connections were ended by an administrator. */
function comeAndGo(postgres: EmbeddedPostgres, count: number) {
  const over = new AbortController();
  const now = new Map<number, Readonly<{ pid: string; started: string }>>();
  const ended = new Set<string>();
  const one = async (number: number): Promise<void> => {
    while (!over.signal.aborted) {
      const own = await client(postgres.url());
      let started = "";
      try {
        const sql = `select pid::text, to_json(backend_start at time zone 'utc') #>> '{}' || 'Z' as started
                       from pg_stat_get_activity(pg_backend_pid())`;
        const [row] = (await own.query<{ pid: string; started: string }>(sql)).rows;
        assert.ok(row);
        ({ started } = row);
        now.set(number, row);
        for (let turn = 0; turn < 5; turn++) await own.query("select pg_sleep(0.005)");
      } catch {
        ended.add(started);
      }
      await own.end().catch(() => undefined);
    }
  };
  const all = Promise.all(Array.from({ length: count }, (_, number) => one(number)));
  const stop = async () => {
    over.abort();
    await all;
    return ended;
  };
  return { now, stop };
}

const lastPid = "/proc/sys/kernel/ns_last_pid";
const steered = process.env["RECYCLE_PIDS"] === "1";

/** A new session whose process has this id, which was another's before; null: somebody else's process took it. */
async function reborn(here: Scene, pid: string): Promise<Person | null> {
  for (let tries = 0; tries < 300; tries++) {
    const before = Number(pid) - 1;
    await writeFile(lastPid, String(before));
    const person = await here.person("reborn");
    if (person.pid === pid) return person;
    await leave(person);
  }
  return null;
}

for (const { major, postgres, here, prepared: actor } of made) {
  const send = (order: Order): Promise<Sent> => act(actor, order, quiet);
  const rows = (sql: string, values: string[]) => here.connection.query(sql, values, quiet);
  const isThere = async ({ pid }: Pick<Person, "pid">) =>
    (await rows("select from pg_stat_get_activity($1) where pid = $1", [pid])).length === 1;
  const isGone = (one: Person) => eventually(async () => !(await isThere(one)));
  const runs = (pid: string, text: string) =>
    eventually(async () => {
      const sql = "select from pg_stat_get_activity($1) where state = 'active' and query like '%' || $2::text || '%'";
      return (await rows(sql, [pid, text])).length === 1;
    });

  test(`${major}: by hand the session is hit whatever transaction and state it is in by then, by a rule it is not`, async () => {
    const victim = await here.person();
    await victim.run("begin; update account set n = 1 where id = 1");
    const order = await orderOnAll(here, victim.pid);
    await victim.run("commit; begin");
    victim.start("select pg_sleep(60)");
    await runs(victim.pid, "pg_sleep(60)");
    const { sessionOnly: _, ...guard } = order.guard;
    assert.deepEqual(await send({ ...order, guard }), { kind: "changed" });
    assert.deepEqual(await send(order), { kind: "sent" });
    await isGone(victim);
    assert.deepEqual(await send(order), { kind: "gone" });
    await leave(victim);
  });

  test(`${major}: a plainly idle session, and one that shows nothing of what it does, can be ended by hand`, async () => {
    for (const prepare of ["select 1", "set track_activities = off"]) {
      const victim = await here.person();
      await victim.run(prepare);
      const order = await orderOnAll(here, victim.pid);
      assert.deepEqual(await send({ ...order, action: "cancel" }), { kind: "changed" });
      assert.deepEqual(await send(order), { kind: "sent" });
      await isGone(victim);
      await leave(victim);
    }
  });

  test(`${major}: another session with the same pid is never hit by hand, nor one whose start differs by a microsecond`, async () => {
    const victim = await here.person();
    const order = await orderOnAll(here, victim.pid);
    const { identity } = order.evidence.victim as Session;
    const nudged = identity.replace(/(\d)Z$/, (_, digit: string) => `${(Number(digit) + 1) % 10}Z`);
    for (const other of [nudged, "2026-01-01T00:00:00.000001Z"]) {
      for (const action of ["terminate", "cancel"] as const)
        assert.deepEqual(await send({ ...withIdentity(order, other), action }), { kind: "gone" });
    }
    for (const nothing of ["", "null", "infinity"])
      assert.equal((await send(withIdentity(order, nothing))).kind, "failed", nothing);
    assert.equal(await isThere(victim), true);
    await leave(victim);
  });

  test(`${major}: while clients come and go, only those that were asked for are ended`, async () => {
    const crowd = comeAndGo(postgres, 6);
    await eventually(() => crowd.now.size === 6);
    const bystander = await here.person();
    const template = await orderOnAll(here, bystander.pid);
    const askedFor = new Set<string>();
    let sent = 0;
    for (let round = 0; round < 150; round++) {
      const whom = crowd.now.get(round % 6);
      assert.ok(whom);
      const victim = { ...(template.evidence.victim as Session), pid: whom.pid, identity: whom.started };
      askedFor.add(whom.started);
      const order = { ...template, evidence: { ...template.evidence, victim } };
      if ((await send(order)).kind === "sent") sent++;
      // The same process by the start of somebody else is nobody.
      const forged = { ...victim, identity: crowd.now.get((round + 1) % 6)?.started ?? "" };
      assert.equal((await send({ ...order, evidence: { ...order.evidence, victim: forged } })).kind, "gone");
    }
    const ended = await crowd.stop();
    assert.ok(sent > 0 && ended.size > 0);
    assert.deepEqual(
      [...ended].filter((one) => !askedFor.has(one)),
      [],
    );
    assert.equal(await isThere(bystander), true);
    await leave(bystander);
  });

  const skip = steered ? false : "RECYCLE_PIDS=1 as root has the kernel give out a process id anew";
  test(`${major}: a session that has the pid of one that ended is not hit in its place`, { skip }, async (t) => {
    const first = await here.person();
    const order = await orderOnAll(here, first.pid);
    await leave(first);
    const second = await reborn(here, first.pid);
    if (second === null) return t.skip("others took that process id each time");
    assert.deepEqual(await send(order), { kind: "gone" });
    assert.deepEqual(await send({ ...order, action: "cancel" }), { kind: "gone" });
    assert.equal(await isThere(second), true);
    await leave(second);
  });

  test(`${major}: who came to wait for a replica, or to run maintenance, between the look and the signal is not hit`, async () => {
    const committer = await here.person();
    const order = await orderOnAll(here, committer.pid);
    committer.start("set synchronous_commit = on; insert into account values (100, 0)");
    await eventually(async () => sessionOf(await here.readAll(), committer.pid).waitEvent === "SyncRep");
    for (const action of ["terminate", "cancel"] as const)
      assert.deepEqual(await send({ ...order, action }), { kind: "changed" });
    assert.equal(await isThere(committer), true);
    const { pid } = committer;
    await rows("select pg_terminate_backend($1)", [pid]);
    await leave(committer);
    const cleaner = await here.person();
    const holder = await here.person();
    const before = await orderOnAll(here, cleaner.pid);
    await holder.run("begin; lock table account in share mode");
    await cleaner.run(
      "set lock_timeout = 0; create table if not exists big as select i from generate_series(1, 3000000) i",
    );
    cleaner.start("create index on big (i); vacuum full big; vacuum full big");
    await eventually(async () => sessionOf(await here.readAll(), cleaner.pid).maintenance === true);
    assert.deepEqual(await send(before), { kind: "changed" });
    assert.deepEqual(await send({ ...before, guard: { ...before.guard, notMaintenance: false } }), { kind: "sent" });
    await isGone(cleaner);
    await leave(cleaner, holder);
  });

  test(`${major}: our own session is not hit by hand either`, async () => {
    const bystander = await here.person();
    const order = await orderOnAll(here, bystander.pid);
    const look = await here.readAll();
    const own = look.sessions.find(({ pid }) => pid === here.connection.pid);
    assert.ok(own);
    const twin = { ...order, evidence: { ...order.evidence, victim: { ...own, own: false } } };
    assert.deepEqual(await send(twin), { kind: "changed" });
    assert.equal((await send({ ...twin, evidence: { ...twin.evidence, victim: own } })).kind, "failed");
    await leave(bystander);
  });

  test(`${major}: a superuser's session is denied to an ordinary role, by hand too`, async () => {
    await here.connection.query("create role ordinary login in role pg_signal_backend, pg_read_all_stats", [], quiet);
    const ordinary = await textConnection(postgres.url("ordinary"));
    const victim = await here.person();
    const sent = await act(ordinary, await orderOnAll(here, victim.pid), quiet);
    assert.equal(sent.kind, "denied");
    assert.equal(await isThere(victim), true);
    await leave(victim);
  });

  test(`${major}: the proof tells a statement that still runs from one that is over`, async () => {
    const victim = await here.person();
    await victim.run("begin; savepoint s");
    victim.start("select pg_sleep(60)");
    await runs(victim.pid, "pg_sleep(60)");
    const order = await orderOnAll(here, victim.pid, "cancel");
    const before = await prove(here.connection, order.evidence, quiet);
    assert.deepEqual([before.sameStatement, before.sameTransaction], [true, true]);
    assert.deepEqual(await send(order), { kind: "sent" });
    const shown = await eventually(async () => {
      const now = await prove(here.connection, order.evidence, quiet);
      return now.sameStatement === true ? null : now;
    });
    assert.deepEqual([shown.alive, shown.sameStatement], [true, false]);
    await leave(victim);
  });
}
