import assert from "node:assert/strict";
import { test } from "node:test";
import type { GuardEdge, Order, Sent } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { act, actStatements } from "../../src/engines/postgres/guard.ts";
import { forVersion } from "../../src/engines/postgres/versions.ts";
import { leave, orderOn, type Person, scene, sessionOf, stages, waitOf } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

const withVictim = (order: Order, more: Partial<Session>): Order => ({
  ...order,
  evidence: { ...order.evidence, victim: { ...order.evidence.victim, ...more } as Session },
});

/** A microsecond off. */
function nudge(moment: string | null): string | null {
  return moment?.replace(/(\d)Z$/, (_, digit: string) => `${(Number(digit) + 1) % 10}Z`) ?? null;
}

/** As a Date would keep it. */
function coarse(moment: string): string {
  return moment.replace(/\d{3}Z$/, "Z");
}

function moments({ queryAt, stateAt, transaction }: Session): string {
  return [queryAt, stateAt, transaction.kind === "open" ? transaction.startedAt : null].join();
}

/** Every wait of the snapshot as an edge that counts, and must still be there. */
function edgesOf(snapshot: Snapshot): readonly GuardEdge[] {
  return (snapshot.waits ?? []).flatMap((wait) =>
    wait.blockers.map(({ node }) => ({
      waiterPid: wait.pid ?? "",
      blockerPid: node,
      lock: wait.lock,
      mode: wait.mode,
      counts: true,
    })),
  );
}

// Only who asks for it waits for a replica, which is nowhere.
const replication = { synchronous_standby_names: "nowhere", synchronous_commit: "local" };
const settings = { deadlock_timeout: "60s", ...replication };
const made = await stages({ settings }, async (here, postgres) => {
  await here.connection.query("create table account (id int primary key, n int)", [], quiet);
  await here.connection.query("insert into account values (1, 0), (2, 0)", [], quiet);
  return textConnection(postgres.url());
});
for (const { major, postgres, here, prepared: actor } of made) {
  const sql = (text: string) => here.connection.query(text, [], quiet);
  const send = (order: Order): Promise<Sent> => act(actor, order, quiet);
  const isThere = async ({ pid }: Person) =>
    (await here.connection.query("select from pg_stat_get_activity($1) where pid = $1", [pid], quiet)).length === 1;
  const isGone = (one: Person) => eventually(async () => !(await isThere(one)));

  test(`${major}: the one that was judged is ended, and afterwards it is gone`, async () => {
    const victim = await here.person();
    await victim.run("begin; update account set n = 1 where id = 1");
    const order = orderOn(await here.read(), victim.pid);
    assert.deepEqual(await send(order), { kind: "sent" });
    await isGone(victim);
    assert.deepEqual(await send(order), { kind: "gone" });
    await leave(victim);
  });

  test(`${major}: nothing is asked of the server without a pid, an identity, a state or a known transaction`, async () => {
    const bystander = await here.person();
    await bystander.run("begin");
    const order = orderOn(await here.read(), bystander.pid);
    const asked: string[] = [];
    const deaf = { ...actor, query: (text: string) => Promise.reject(new Error(String(asked.push(text)))) };
    const holes: Partial<Session>[] = [
      { pid: null },
      { pid: "" },
      { pid: "0" },
      { identity: "" },
      { identity: "null" },
      { state: null },
      { stateAt: null },
      { own: true },
      { transaction: { kind: "unknown" } },
      { transaction: { kind: "open", startedAt: null, ageMs: null, writeId: null } },
    ];
    for (const hole of holes) {
      const sent = await act(deaf, withVictim(order, hole), quiet);
      assert.equal(sent.kind, "failed", JSON.stringify(hole));
    }
    assert.deepEqual(asked, []);
    assert.equal(await isThere(bystander), true);
    await leave(bystander);
  });

  test(`${major}: another session with the same pid is never hit, nor one whose moments differ by a microsecond`, async () => {
    const victim = await here.person();
    await victim.run("begin; select 1");
    const order = orderOn(await here.read(), victim.pid);
    const { identity, stateAt, transaction } = order.evidence.victim as Session;
    assert.deepEqual(await send(withVictim(order, { identity: nudge(identity) ?? "" })), { kind: "gone" });
    if (coarse(identity) !== identity.replace("000Z", "Z"))
      assert.deepEqual(await send(withVictim(order, { identity: coarse(identity) })), { kind: "gone" });
    assert.deepEqual(await send(withVictim(order, { stateAt: nudge(stateAt) })), { kind: "changed" });
    assert.equal(transaction.kind, "open");
    if (transaction.kind === "open") {
      const other = { ...transaction, startedAt: nudge(transaction.startedAt) };
      assert.deepEqual(await send(withVictim(order, { transaction: other })), { kind: "changed" });
      assert.deepEqual(await send(withVictim(order, { transaction: { ...transaction, writeId: "4242" } })), {
        kind: "changed",
      });
    }
    assert.equal(await isThere(victim), true);
    await leave(victim);
  });

  test(`${major}: the next statement of the same transaction is changed, where the rule was about the statement`, async () => {
    const victim = await here.person();
    await victim.run("begin");
    victim.start("select pg_sleep(60)");
    const running = await eventually(async () => {
      const snapshot = await here.read();
      return sessionOf(snapshot, victim.pid).state === "active" && snapshot;
    });
    const order = orderOn(running, victim.pid, { sinceState: false, sinceQuery: true });
    const earlier = withVictim(order, { queryAt: "2026-01-01T00:00:00.000001Z" });
    assert.deepEqual(await send(earlier), { kind: "changed" });
    assert.equal(await isThere(victim), true);
    assert.deepEqual(await send(order), { kind: "sent" });
    await isGone(victim);
    await leave(victim);
  });

  test(`${major}: a walsender is not signalled, whatever was judged`, async () => {
    const walsender = await here.person("replica", "postgres", "postgres", { replication: "database" });
    const [row] = await here.connection.query(
      `select to_json(backend_start at time zone 'utc') #>> '{}' || 'Z' as identity, state,
              to_json(state_change at time zone 'utc') #>> '{}' || 'Z' as moment
         from pg_stat_activity where application_name = 'replica'`,
      [],
      quiet,
    );
    const open = await here.person();
    await open.run("begin");
    const order = orderOn(await here.read(), open.pid);
    const { identity, moment, state } = row as { identity: string; moment: string; state: Session["state"] };
    const forged = { pid: walsender.pid, identity, state, stateAt: moment, transaction: { kind: "none" } } as const;
    assert.deepEqual(await send(withVictim(order, forged)), { kind: "changed" });
    assert.equal(await isThere(walsender), true);
    await leave(walsender, open);
  });

  test(`${major}: the next transaction of the same session is changed, no transaction any more is gone`, async () => {
    const victim = await here.person();
    await victim.run("begin");
    const order = orderOn(await here.read(), victim.pid, { sinceState: false });
    await victim.run("commit");
    assert.deepEqual(await send(order), { kind: "gone" });
    await victim.run("begin");
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.equal(await isThere(victim), true);
    await leave(victim);
  });

  test(`${major}: who woke up and went idle again is changed`, async () => {
    const victim = await here.person();
    await victim.run("begin");
    const order = orderOn(await here.read(), victim.pid);
    await victim.run("select 1");
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.deepEqual(await send({ ...order, guard: { ...order.guard, sinceState: false } }), { kind: "sent" });
    await isGone(victim);
    await leave(victim);
  });

  test(`${major}: the second transaction of one message is another one, though the statement looks the same`, async () => {
    const victim = await here.person();
    const gate = await here.person();
    await gate.run("select pg_advisory_lock(1), pg_advisory_lock(2)");
    const write = "insert into account values (9, 9); delete from account where id = 9";
    victim.start(
      `begin; ${write}; select pg_advisory_lock(1); commit; begin; ${write}; select pg_advisory_lock(2); commit`,
    );
    const order = orderOn(await here.readWith(1), victim.pid, { sinceState: true, sinceQuery: true });
    await gate.run("select pg_advisory_unlock(1)");
    const later = await eventually(async () => {
      const look = await here.readWith(1);
      return waitOf(look, victim.pid).lock.includes("/2/") ? sessionOf(look, victim.pid) : null;
    });
    const judged = order.evidence.victim as Session;
    assert.equal(moments(later), moments(judged));
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.equal(await isThere(victim), true);
    await leave(gate, victim);
  });

  test(`${major}: a cancel is not sent to who does nothing, and ends the statement of who does something`, async () => {
    const victim = await here.person();
    await victim.run("begin; savepoint s");
    const idle = orderOn(await here.read(), victim.pid);
    assert.deepEqual(await send({ ...idle, action: "cancel" }), { kind: "changed" });
    victim.start("select pg_sleep(600)");
    const active = await eventually(async () => {
      const look = await here.read();
      return sessionOf(look, victim.pid).state === "active" ? look : null;
    });
    const order = orderOn(active, victim.pid, { sinceQuery: true });
    assert.deepEqual(await send({ ...order, action: "cancel" }), { kind: "sent" });
    await eventually(async () => sessionOf(await here.read(), victim.pid).state === "idle in transaction (aborted)");
    assert.deepEqual(await send({ ...order, action: "rollback-prepared" }).then((sent) => sent.kind), "failed");
    await leave(victim);
  });

  test(`${major}: a blocker is ended only while as many as were asked for are still behind it`, async () => {
    const victim = await here.person();
    await victim.run("begin; update account set n = 1 where id = 1");
    const waiters = [await here.person(), await here.person(), await here.person()];
    for (const [place, waiter] of waiters.entries()) {
      waiter.start("update account set n = 2 where id = 1");
      await here.readWith(place + 1);
    }
    const snapshot = await here.readWith(3);
    const edges = edgesOf(snapshot);
    const asking = (count: number) => orderOn(snapshot, victim.pid, { blocks: { edges, waiters: count } });
    assert.deepEqual(await send(asking(4)), { kind: "changed" });
    await waiters[2]?.end();
    assert.deepEqual(await send(asking(3)), { kind: "changed" });
    const none = { blocks: { edges: [], waiters: 1 } };
    assert.deepEqual(await send(orderOn(snapshot, victim.pid, none)), { kind: "changed" });
    assert.deepEqual(await send(asking(2)), { kind: "sent" });
    await isGone(victim);
    await leave(victim, ...waiters);
  });

  test(`${major}: a waiter between that does not count is no substitute for one that does`, async () => {
    const [victim, first, second] = [await here.person(), await here.person(), await here.person()];
    await victim.run("begin; update account set n = 3 where id = 1");
    first.start("update account set n = 4 where id = 1");
    await here.readWith(1);
    second.start("update account set n = 5 where id = 1");
    const snapshot = await here.readWith(2);
    const edges = edgesOf(snapshot).map((edge) => ({ ...edge, counts: edge.waiterPid === second.pid }));
    assert.deepEqual(await send(orderOn(snapshot, victim.pid, { blocks: { edges, waiters: 2 } })), { kind: "changed" });
    assert.equal(await isThere(victim), true);
    assert.deepEqual(await send(orderOn(snapshot, victim.pid, { blocks: { edges, waiters: 1 } })), { kind: "sent" });
    await isGone(victim);
    await leave(victim, first, second);
  });

  test(`${major}: a soft edge counts when the server confirms it, and an invented one never does`, async () => {
    const holder = await here.person();
    await holder.run("begin; select from account");
    const victim = await here.person();
    victim.start("begin; lock table account");
    await here.readWith(1);
    const waiter = await here.person();
    waiter.start("select from account");
    const snapshot = await here.readWith(2);
    const edge = edgesOf(snapshot).find((one) => one.waiterPid === waiter.pid);
    assert.equal(edge?.blockerPid, victim.pid);
    const invented = { ...edge, blockerPid: holder.pid } as GuardEdge;
    const guarded = (edges: readonly GuardEdge[], pid: string) =>
      orderOn(snapshot, pid, { blocks: { edges, waiters: 1 } });
    assert.deepEqual(await send(guarded([invented], holder.pid)), { kind: "changed" });
    const elsewhere = { ...edge, lock: "relation 1/2" } as GuardEdge; // it waits behind the victim, but for something else
    assert.deepEqual(await send(guarded([elsewhere], victim.pid)), { kind: "changed" });
    const { lock, mode, waitAt } = waitOf(snapshot, victim.pid);
    const order = guarded(edge === undefined ? [] : [edge], victim.pid);
    assert.deepEqual(await send({ ...order, guard: { ...order.guard, waits: { lock, mode, waitAt } } }), {
      kind: "sent",
    });
    await isGone(victim);
    await leave(holder, victim, waiter);
  });

  test(`${major}: a waiter that has got its lock is no victim any more`, async () => {
    const holder = await here.person();
    await holder.run("begin; select from account");
    const victim = await here.person();
    victim.start("begin; lock table account; select pg_sleep(600)");
    const snapshot = await here.readWith(1);
    const { lock, mode, waitAt } = waitOf(snapshot, victim.pid);
    const order = orderOn(snapshot, victim.pid, { sinceQuery: true, waits: { lock, mode, waitAt } });
    const earlier = { ...order, guard: { ...order.guard, waits: { lock, mode, waitAt: snapshot.at } } };
    assert.deepEqual(await send(earlier), { kind: "changed" });
    await holder.run("commit");
    await eventually(async () => (await here.read()).waits?.length === 0);
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.equal(await isThere(victim), true);
    await leave(holder, victim);
  });

  test(`${major}: maintenance is spared unless the rule lifted that`, async () => {
    const holder = await here.person();
    await holder.run("begin; update account set n = 5 where id = 2");
    const victim = await here.person();
    victim.start("create index concurrently on account (n)");
    const snapshot = await here.readWith(1);
    const guard = { sinceState: false, sinceQuery: true };
    assert.deepEqual(await send(orderOn(snapshot, victim.pid, guard)), { kind: "changed" });
    assert.deepEqual(await send(orderOn(snapshot, victim.pid, { ...guard, notMaintenance: false })), { kind: "sent" });
    await isGone(victim);
    await leave(holder, victim);
  });

  test(`${major}: a COMMIT that waits for its replica is never signalled`, async () => {
    const victim = await here.person();
    await victim.run("set synchronous_commit = on; begin; update account set n = 6 where id = 2");
    victim.start("commit");
    const snapshot = await eventually(async () => {
      const look = await here.read();
      return sessionOf(look, victim.pid).waitEvent === "SyncRep" ? look : null;
    });
    for (const action of ["cancel", "terminate"] as const) {
      const order = orderOn(snapshot, victim.pid, { sinceState: false });
      assert.deepEqual(await send({ ...order, action }), { kind: "changed" });
    }
    assert.equal(await isThere(victim), true);
    await leave(victim);
  });

  test(`${major}: a superuser's session is denied to an ordinary role, in the server's words`, async () => {
    await sql("create role warden login in role pg_read_all_stats, pg_signal_backend");
    await sql("create role other login");
    const warden = await scene(postgres, "warden");
    const [victim, ordinary] = [await here.person(), await here.person("app", "other")];
    for (const one of [victim, ordinary]) await one.run("begin");
    const snapshot = await warden.read();
    const denied = await act(warden.connection, orderOn(snapshot, victim.pid), quiet);
    assert.equal(denied.kind, "denied");
    assert.match("error" in denied ? denied.error : "", /superuser|SUPERUSER/i);
    assert.deepEqual(await act(warden.connection, orderOn(snapshot, ordinary.pid), quiet), { kind: "sent" });
    await leave(victim, ordinary);
  });

  test(`${major}: a twin is not signalled even when it was judged before it took our name`, async () => {
    const victim = await here.person();
    await victim.run("begin");
    const order = orderOn(await here.read(), victim.pid, { sinceState: false });
    await victim.run("set application_name = lockwarden");
    assert.deepEqual(await send(order), { kind: "changed" });
    await leave(victim);
  });

  test(`${major}: what changes while it is looked at who waits is seen before the signal`, async () => {
    await sql(`create or replace function public.slow_blocking_pids(int) returns int[] language plpgsql as
      $$ begin perform pg_advisory_xact_lock(99); return pg_blocking_pids($1); end $$`);
    const [gate, victim, waiter] = [await here.person(), await here.person(), await here.person()];
    await gate.run("select pg_advisory_lock(99)");
    await victim.run("begin; update account set n = 7 where id = 1");
    waiter.start("update account set n = 8 where id = 1");
    const snapshot = await here.readWith(1);
    const slow = await textConnection(postgres.url(), { options: "-c lock_timeout=20s -c statement_timeout=30s" });
    const slowed = {
      ...slow,
      query: (text: string, values: readonly (string | null | readonly (string | null)[])[]) =>
        slow.query(text.replace("pg_catalog.pg_blocking_pids", "public.slow_blocking_pids"), values, quiet),
    };
    const order = orderOn(snapshot, victim.pid, { blocks: { edges: edgesOf(snapshot), waiters: 1 } });
    const sent = act(slowed, order, quiet);
    await here.readWith(2);
    await victim.run("select 1");
    await gate.run("select pg_advisory_unlock(99)");
    assert.deepEqual(await sent, { kind: "changed" });
    assert.equal(await isThere(victim), true);
    await leave(gate, victim, waiter);
  });

  test(`${major}: what changes while it is looked at who is in maintenance is seen before the signal`, async () => {
    await sql(`create or replace function public.slow_progress(text) returns table (pid int) language plpgsql as
      $$ begin return query select p.pid from pg_stat_get_progress_info($1) as p; perform pg_advisory_xact_lock(98); end $$`);
    const [gate, victim] = [await here.person(), await here.person()];
    await gate.run("select pg_advisory_lock(98)");
    await victim.run("begin; update account set n = 7 where id = 1");
    const order = orderOn(await here.read(), victim.pid);
    const slow = await textConnection(postgres.url(), { options: "-c lock_timeout=20s -c statement_timeout=30s" });
    const slowed = {
      ...slow,
      query: (text: string, values: readonly (string | null | readonly (string | null)[])[]) =>
        slow.query(text.replace("pg_catalog.pg_stat_get_progress_info", "public.slow_progress"), values, quiet),
    };
    const sent = act(slowed, order, quiet);
    await here.readWith(1);
    await victim.run("select 1");
    await gate.run("select pg_advisory_unlock(98)");
    assert.deepEqual(await sent, { kind: "changed" });
    assert.equal(await isThere(victim), true);
    await leave(gate, victim);
  });

  test(`${major}: in the plan the checks come before the signal, and the session is looked up last`, async () => {
    const text = forVersion(actStatements, here.connection.versionNumber);
    const moment = "2026-01-01T00:00:00.000001Z";
    const identity = ["1", "terminate", moment, moment, null, "active", null, null];
    const values = [...identity, "1", [], [], [], [], [], null, null, null, null, ["VACUUM"], [], "f"];
    const plan = (await here.connection.query(`explain (verbose, costs off) ${text}`, values, quiet))
      .map((row) => row["QUERY PLAN"] ?? "")
      .join("\n");
    assert.match(plan, /^Nested Loop\n {2}Output: pg_terminate_backend\(a\.pid/);
    const scans = plan.slice(plan.lastIndexOf("  ->  CTE Scan on fresh"));
    assert.match(scans, /CTE Scan on fresh[\s\S]*Function Scan on pg_catalog.pg_stat_get_activity a\n[\s\S]*Filter: /);
    assert.equal(plan.split("pg_terminate_backend").length, 2);
    assert.equal(scans.split("->").length, 3, "two scans, and no join that might run its other side first");
  });

  test(`${major}: a connection that is lost on the way leaves it uncertain, one that was lost before says so`, async () => {
    const victim = await here.person();
    await victim.run("begin");
    const order = orderOn(await here.read(), victim.pid);
    const { LinkLost } = await import("../../src/engines/engine.ts");
    const lost = { ...actor, query: () => Promise.reject(new LinkLost("lost", "the server closed the connection")) };
    assert.equal((await act(lost, order, quiet)).kind, "uncertain");
    await assert.rejects(act({ ...lost, isOpen: () => false }, order, quiet), LinkLost);
    await assert.rejects(act(actor, order, AbortSignal.abort(new Error("stop"))), /stop/);
    await leave(victim);
  });
}
