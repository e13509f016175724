import assert from "node:assert/strict";
import { test } from "node:test";
import type { GuardEdge, Order } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import { act } from "../../src/engines/opengauss/guard.ts";
import { prove } from "../../src/engines/opengauss/prove.ts";
import type { Connection } from "../../src/engines/postgres/connection.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { blocksIn, type Client, gaussConnection, gaussScene, orderOn, sessionIn } from "../support/opengauss-look.ts";
import { client, eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

const withVictim = (order: Order, more: Partial<Session>): Order => ({
  ...order,
  evidence: { ...order.evidence, victim: { ...order.evidence.victim, ...more } as Session },
});

/** A microsecond off. */
const nudge = (moment: string) => moment.replace(/(\d)Z/, (_, digit: string) => `${(Number(digit) + 1) % 10}Z`);
/** As a Date would keep it. */
const coarse = (moment: string) => moment.replace(/\d{3}Z/, "000Z");

const stages = [];
for (const threadPool of [false, true]) {
  const double = await openGauss({ threadPool });
  const here = await gaussScene(double);
  const dba = await gaussConnection(double.url("dba"), "dba");
  await dba.query("create table account (id int primary key, n int)", [], quiet);
  await dba.query("insert into account values (1, 0), (2, 0)", [], quiet);
  await dba.query("grant all on account to app, other", [], quiet);
  await double.createUser({ name: "watcher", monadmin: true });
  const powerless = await gaussConnection(double.url("watcher"), "watcher");
  stages.push({ mode: `thread pool ${threadPool ? "on" : "off"}`, threadPool, double, here, dba, powerless });
}

for (const { mode, threadPool, double, here, dba, powerless } of stages) {
  const { send, person, read, readWith } = here;
  const naive = (sql: string, ...values: string[]) => dba.query(sql, values, quiet);
  /** Answers still: it was not hit. */
  const isWell = async (one: Client) => (await one.run("select 1 as one"))[0]?.["one"] === "1";
  const ended = (one: Client) => eventually(() => one.isEnded());
  const open = async (id: number, user = "app") => {
    const one = await person(user);
    await one.run("begin");
    await one.run(`update account set n = n + 1 where id = ${id}`);
    return one;
  };
  const leave = async (...people: Client[]) => {
    for (const one of people) await one.end();
  };
  /** Nobody of the applications is left, so that the next test begins with nobody. */
  const alone = () =>
    eventually(async () => {
      const { sessions } = await here.readAll();
      return sessions.every(({ user, role }) => role !== "client" || (user !== "app" && user !== "other"));
    });

  test(`${mode}: the one that was judged is ended, and afterwards it is gone`, async () => {
    const victim = await open(1);
    const order = orderOn(await read(), victim);
    assert.deepEqual(await send(order), { kind: "sent" });
    await ended(victim);
    await eventually(async () => (await send(order)).kind === "gone");
    await alone();
  });

  test(`${mode}: nothing is asked of the server without an id, an identity, a state or a known transaction`, async () => {
    const bystander = await open(1);
    const order = orderOn(await read(), bystander);
    const asked: string[] = [];
    const deaf = { ...here.connection, query: (text: string) => Promise.reject(new Error(String(asked.push(text)))) };
    const holes: Partial<Session>[] = [
      { pid: "" },
      { pid: "1 or 1=1" },
      { pid: null },
      { sessionId: "" },
      { sessionId: "0" },
      { sessionId: "1'; drop table account" },
      { identity: "" },
      { identity: "null" },
      { key: "4711" },
      { state: null },
      { stateAt: null },
      { own: true },
      { role: "internal" },
      { role: "unknown" },
      { transaction: { kind: "unknown" } },
      { transaction: { kind: "open", startedAt: null, ageMs: null, writeId: null } },
    ];
    for (const hole of holes) {
      const sent = await act(deaf, withVictim(order, hole), here.product, quiet);
      assert.equal(sent.kind, "failed", JSON.stringify(hole));
    }
    assert.deepEqual(asked, []);
    assert.equal(await isWell(bystander), true);
    await leave(bystander);
    await alone();
  });

  test(`${mode}: nobody is hit whose moments differ by a microsecond, nor another transaction or state`, async () => {
    const victim = await open(1);
    const order = orderOn(await read(), victim);
    const { identity, stateAt, transaction } = order.evidence.victim as Session;
    assert.deepEqual(await send(withVictim(order, { identity: nudge(identity) })), { kind: "gone" });
    if (coarse(identity) !== identity)
      assert.deepEqual(await send(withVictim(order, { identity: coarse(identity) })), { kind: "gone" });
    assert.deepEqual(await send(withVictim(order, { stateAt: nudge(stateAt ?? "") })), { kind: "changed" });
    assert.deepEqual(await send(withVictim(order, { state: "active" })), { kind: "changed" });
    assert.deepEqual(await send(withVictim(order, { transaction: { kind: "none" } })), { kind: "changed" });
    assert.equal(transaction.kind, "open");
    if (transaction.kind === "open") {
      assert.notEqual(transaction.writeId, null);
      const others = [
        { ...transaction, startedAt: nudge(transaction.startedAt ?? "") },
        { ...transaction, writeId: "4242" },
        { ...transaction, writeId: null },
      ];
      for (const other of others)
        assert.deepEqual(await send(withVictim(order, { transaction: other })), { kind: "changed" });
    }
    assert.equal(await isWell(victim), true);
    await leave(victim);
    await alone();
  });

  test(`${mode}: one that has worked since is spared where the rule was about its rest, and hit where it was not`, async () => {
    const victim = await open(1);
    const before = await read();
    await victim.run("select 1");
    assert.deepEqual(await send(orderOn(before, victim)), { kind: "changed" });
    assert.deepEqual(await send(orderOn(before, victim, { sinceState: false })), { kind: "sent" });
    await ended(victim);
    await alone();
  });

  if (threadPool) {
    test(`${mode}: a thread that serves another session by now: pg_terminate_backend kills that one, Lockwarden nobody`, async () => {
      const judged = await open(1);
      const before = await read();
      const stale = sessionIn(before, judged).pid ?? "";
      await judged.run("commit");
      const innocent = await eventually(async () => {
        const one = await person("other");
        await one.run("begin");
        if ((await one.pid()) === stale) return one;
        await one.end();
        return null;
      });
      assert.deepEqual(await send(orderOn(before, judged, { sinceState: false })), { kind: "gone" });
      assert.deepEqual(await send(orderOn(before, judged, { sinceState: false, sessionOnly: true })), { kind: "sent" });
      await ended(judged);
      assert.equal(await isWell(innocent), true);
      await naive("select pg_terminate_backend($1::int8)", stale);
      await ended(innocent);
      await alone();
    });

    test(`${mode}: a wrong thread with the right session: pg_terminate_session ends it all the same, Lockwarden does not`, async () => {
      // It has written nothing: no lock names its thread.
      const innocent = await person();
      await innocent.run("begin");
      const order = withVictim(orderOn(await read(), innocent), { pid: "12345" });
      assert.deepEqual(await send(order), { kind: "changed" });
      assert.equal(await isWell(innocent), true);
      await naive("select pg_terminate_session(12345, $1::int8)", innocent.sessionId);
      await ended(innocent);
      await alone();
    });

    test(`${mode}: an idle session that is on no thread is ended by its own id, and not once it has begun to work`, async () => {
      const idler = await person();
      const before = await eventually(async () => {
        const snapshot = await here.readAll();
        return sessionIn(snapshot, idler).pid === null && snapshot;
      });
      assert.equal(sessionIn(before, idler).state, "idle");
      await idler.run("begin");
      assert.deepEqual(await send(orderOn(before, idler)), { kind: "changed" });
      await idler.run("commit");
      const order = orderOn(await here.readAll(), idler);
      assert.deepEqual(await send(order), { kind: "sent" });
      await ended(idler);
      await alone();
    });
  } else {
    test(`${mode}: an id that the next session has by now: the naive call kills that one, Lockwarden nobody`, async () => {
      const judged = await open(1);
      const order = orderOn(await read(), judged, { sinceState: false });
      await judged.end();
      await alone();
      const innocent = await person("other");
      assert.equal(innocent.sessionId, judged.sessionId);
      await innocent.run("begin");
      for (const guard of [{}, { sessionOnly: true } as const])
        assert.deepEqual(await send({ ...order, guard: { ...order.guard, ...guard } }), { kind: "gone" });
      assert.equal(await isWell(innocent), true);
      const proof = await prove(here.connection, order.evidence, here.product, quiet);
      assert.deepEqual({ ...proof, ms: 0 }, { ...gone, ms: 0 });
      await naive("select pg_terminate_session($1::int8, $1::int8)", judged.sessionId);
      await ended(innocent);
      await alone();
    });

    test(`${mode}: a newcomer with the victim's id who blocks the same waiter is not the victim`, async () => {
      const judged = await gaussConnection(double.url("dba"), "judged");
      const lock = async (one: typeof judged) => {
        await one.query("begin", [], quiet);
        await one.query("lock table account in exclusive mode", [], quiet);
      };
      await lock(judged);
      const waiter = await person();
      waiter.start("update account set n = n + 1 where id = 1");
      const snapshot = await readWith(1);
      const { evidence } = orderOn(snapshot, judged);
      await judged.close();
      await eventually(async () => (await read()).waits?.length === 0);
      const newcomer = await gaussConnection(double.url("dba"), "newcomer");
      assert.equal(newcomer.sessionId, judged.sessionId);
      await lock(newcomer);
      waiter.start("update account set n = n + 1 where id = 1");
      const later = await readWith(1);
      assert.equal(later.waits?.[0]?.lock, snapshot.waits?.[0]?.lock);
      const proof = await prove(here.connection, evidence, here.product, quiet);
      assert.deepEqual([proof.alive, proof.sameTransaction, proof.stillBlocked], [false, false, []]);
      assert.match(proof.next ?? "", /application newcomer\) now blocks 1 of them/);
      const holds = (snapshot.holds ?? []).filter(({ holder }) => holder === judged.sessionId);
      const withoutTransaction = { ...sessionIn(snapshot, judged), transaction: { kind: "none" as const } };
      const idle = { ...evidence, victim: withoutTransaction, holds };
      assert.equal((await prove(here.connection, idle, here.product, quiet)).sameTransaction, false);
      await newcomer.close();
      await leave(waiter);
      await alone();
    });
  }

  test(`${mode}: a prepared transaction's session id is nobody's: following it ends an innocent, Lockwarden names the transaction`, async () => {
    const preparer = await open(1);
    await preparer.run("prepare transaction 'stuck'");
    const innocent = preparer;
    await innocent.run("begin");
    await innocent.run("update account set n = n + 1 where id = 2");
    const waiter = await person();
    waiter.start("update account set n = n + 1 where id = 1");
    const snapshot = await readWith(1);
    const [one] = snapshot.prepared;
    assert.equal(one?.gid, "stuck");
    assert.deepEqual([one?.user, one?.database, one?.superuser], ["app", "postgres", false]);
    assert.deepEqual(snapshot.waits?.[0]?.blockers, [{ node: one?.key, soft: false }]);
    assert.equal(snapshot.waits?.[0]?.relation?.name, "account");
    const [named] = await naive(
      "select block_sessionid::text as id from pg_thread_wait_status where sessionid = $1::int8",
      waiter.sessionId,
    );
    assert.equal(named?.["id"], innocent.sessionId);
    // Whatever was judged: the innocent has nobody behind it.
    const [wait] = snapshot.waits ?? [];
    const edge: GuardEdge = {
      waiterPid: wait?.pid ?? "",
      blockerPid: sessionIn(snapshot, innocent).pid ?? "",
      lock: wait?.lock ?? "",
      mode: wait?.mode ?? "",
      counts: true,
    };
    const forged = orderOn(snapshot, innocent, { blocks: { edges: [edge], waiters: 1 } });
    assert.deepEqual(await send(forged), { kind: "changed" });
    assert.equal(await isWell(innocent), true);
    const ofPrepared = { ...forged.evidence, victim: one ?? assert.fail("no prepared transaction") };
    const before = await prove(here.connection, ofPrepared, here.product, quiet);
    assert.deepEqual([before.sameTransaction, before.stillBlocked], [true, [waiter.sessionId]]);
    await naive(
      "select pg_terminate_session(pid, sessionid) from pg_stat_activity where sessionid = $1::int8",
      named?.["id"] ?? "",
    );
    await ended(innocent);
    assert.equal((await readWith(1)).waits?.[0]?.blockers[0]?.node, one?.key);
    await naive("rollback prepared 'stuck'");
    await eventually(
      async () => (await prove(here.connection, ofPrepared, here.product, quiet)).stillBlocked.length === 0,
    );
    await leave(waiter);
    await alone();
  });

  test(`${mode}: the server's own threads and the initial user are never signalled, whatever was judged`, async () => {
    const bystander = await open(1);
    const snapshot = await here.readAll();
    const internal = snapshot.sessions.filter(({ role }) => role === "internal");
    assert.equal(internal.length >= 1, true);
    const order = orderOn(snapshot, bystander);
    const before = double.signalled.length;
    for (const session of internal) {
      const victim = { ...session, role: "client" as const, stateAt: session.stateAt ?? session.identity.slice(0, 27) };
      const sent = await send({ ...order, evidence: { ...order.evidence, victim } });
      assert.notEqual(sent.kind, "sent", session.application ?? "");
    }
    // Past the front sessions are those of the user who owns the cluster, from a client.
    const initial = await client(double.backend.url(), { application_name: "initial" });
    await initial.query("begin");
    const found = (await read()).sessions.find(({ application }) => application === "initial");
    assert.deepEqual([found?.role, found?.client], ["internal", "127.0.0.1"]);
    const forged = { ...(found ?? assert.fail("not listed")), role: "client" as const };
    const notInPool = { ...here.product, threadPool: false };
    const sent = await send({ ...order, evidence: { ...order.evidence, victim: forged } }, notInPool);
    assert.deepEqual(sent, { kind: "changed" });
    await initial.end();
    assert.equal(double.signalled.length, before);
    await leave(bystander);
    await alone();
  });

  test(`${mode}: only who still keeps as many waiting as the rule asked for is hit`, async () => {
    const holder = await open(1);
    const waiters = [await person(), await person("other")];
    for (const one of waiters) one.start("update account set n = n + 1 where id = 1");
    const snapshot = await readWith(2);
    const blocks = blocksIn(snapshot, 2) ?? assert.fail("no waits");
    const more = { ...blocks, waiters: 3 };
    assert.deepEqual(await send(orderOn(snapshot, holder, { blocks: more })), { kind: "changed" });
    const elsewhere = blocks.edges.map((edge) => ({ ...edge, lock: `${edge.lock}0` }));
    assert.deepEqual(await send(orderOn(snapshot, holder, { blocks: { edges: elsewhere, waiters: 1 } })), {
      kind: "changed",
    });
    const order = orderOn(snapshot, holder, { blocks });
    // In the place of a waiter by now: another session on its thread.
    const others = order.evidence.waits.map((wait) => ({ ...wait, waiter: "999999" }));
    assert.deepEqual(await send({ ...order, evidence: { ...order.evidence, waits: others } }), { kind: "changed" });
    const [first] = waiters;
    const waiting = sessionIn(snapshot, first ?? holder);
    await naive("select pg_terminate_session($1::int8, $2::int8)", waiting.pid ?? "", waiting.sessionId);
    // Not before: while it is still there, the order is right.
    await readWith(1);
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.equal(await isWell(holder), true);
    const left = await readWith(1);
    assert.deepEqual(await send(orderOn(left, holder, { blocks: blocksIn(left, 1) })), { kind: "sent" });
    await ended(holder);
    await leave(...waiters);
    await alone();
  });

  test(`${mode}: one behind whom somebody waited is spared once that one has given up, though both keep what they held`, async () => {
    const holder = await person();
    await holder.run("begin");
    await holder.run("select * from account");
    const upgrader = await gaussConnection(double.url("dba"), "upgrader");
    for (const sql of ["begin", "select * from account", "savepoint s"]) await upgrader.query(sql, [], quiet);
    const upgrade = upgrader.query("lock table account in access exclusive mode", [], quiet).catch(() => null);
    const snapshot = await readWith(1);
    const order = orderOn(snapshot, holder, { blocks: blocksIn(snapshot, 1) });
    await naive(
      "select pg_cancel_session(pid, sessionid) from pg_stat_activity where sessionid = $1::int8",
      upgrader.sessionId,
    );
    assert.equal(await upgrade, null);
    await upgrader.query("rollback to s", [], quiet);
    assert.deepEqual(await send(order), { kind: "changed" });
    assert.equal(await isWell(holder), true);
    await upgrader.close();
    await leave(holder);
    await alone();
  });

  test(`${mode}: who queues ahead is hit only while the server itself says that others are behind it`, async () => {
    const reader = await person();
    await reader.run("begin");
    await reader.run("select * from account");
    const alter = await gaussConnection(double.url("dba"), "migration");
    await alter.query("begin", [], quiet);
    void alter.query("lock table account in access exclusive mode", [], quiet).catch(() => undefined);
    await readWith(1);
    const late = await person("other");
    late.start("select * from account");
    const snapshot = await readWith(2);
    const [behind] = (snapshot.waits ?? []).filter((wait) => wait.waiter === late.sessionId);
    assert.deepEqual(behind?.blockers, [{ node: alter.sessionId, soft: true }]);
    assert.equal(behind?.hiddenBlocker, false);
    const own = snapshot.waits?.find((wait) => wait.waiter === alter.sessionId);
    assert.deepEqual(own?.blockers, [{ node: reader.sessionId, soft: false }]);
    const waits = { lock: own?.lock ?? "", mode: own?.mode ?? "", waitAt: null };
    const guard = { sinceState: false, waits, blocks: blocksIn(snapshot, 1) };
    const order = orderOn(snapshot, alter, guard);
    const wrongMode = { ...guard, waits: { ...waits, mode: "ShareLock" } };
    assert.deepEqual(await send(orderOn(snapshot, alter, wrongMode)), { kind: "changed" });
    const root = { ...guard, waits: null };
    assert.deepEqual(await send(orderOn(snapshot, alter, root)), { kind: "changed" });
    assert.deepEqual(await send(orderOn(snapshot, reader, { blocks: blocksIn(snapshot, 2) }), { lockTags: true }), {
      kind: "sent",
    });
    await ended(reader);
    // It has its lock now: no waiter any more, whoever is behind it.
    await eventually(async () => (await read()).waits?.length === 1);
    assert.deepEqual(await send(order), { kind: "changed" });
    await alter.query("rollback", [], quiet);
    await alter.close();
    await leave(late);
    await alone();
  });

  test(`${mode}: a cancel reaches a running statement, and is not sent to one who rests`, async () => {
    const waiter = await person();
    const holder = await open(1);
    waiter.start("update account set n = n + 1 where id = 1");
    const snapshot = await readWith(1);
    const cancel = (one: Client) => ({ ...orderOn(snapshot, one, { sinceState: false }), action: "cancel" as const });
    assert.deepEqual(await send(cancel(holder)), { kind: "changed" });
    assert.deepEqual(await send(cancel(waiter)), { kind: "sent" });
    await eventually(async () => (await read()).waits?.length === 0);
    assert.equal(await isWell(waiter), true);
    await leave(waiter, holder);
    await alone();
  });

  test(`${mode}: maintenance is spared where it is protected`, async () => {
    const vacuum = await gaussConnection(double.url("dba"), "vacuum");
    const holder = await person();
    await holder.run("begin");
    await holder.run("select * from account");
    void vacuum.query("reindex table account", [], quiet).catch(() => undefined);
    const snapshot = await readWith(1);
    assert.equal(sessionIn(snapshot, vacuum).maintenance, true);
    assert.equal(sessionIn(snapshot, holder).maintenance, false);
    assert.deepEqual(await send(orderOn(snapshot, vacuum)), { kind: "changed" });
    const lifted = { ...orderOn(snapshot, vacuum, { notMaintenance: false }), action: "cancel" as const };
    assert.deepEqual(await send(lifted), { kind: "sent" });
    await leave(holder);
    await vacuum.close();
    await alone();
  });

  test(`${mode}: one that ends just as the statement signals it is gone, though the server then speaks of rights`, async () => {
    const victim = await open(1);
    const order = orderOn(await read(), victim);
    const isListed = async () => (await here.readAll()).sessions.some((one) => one.key === victim.sessionId);
    const query: Connection["query"] = async (sql, values, signal) => {
      if (!sql.includes("lockwarden:act */")) return await here.connection.query(sql, values, signal);
      // What the server is asked for when the thread has ended in between: nobody has that id.
      const late = sql.replace("(a.pid, a.sessionid)", "(1, 1)");
      try {
        return await here.connection.query(late, values, signal);
      } finally {
        await victim.end();
        await eventually(async () => !(await isListed()));
      }
    };
    assert.deepEqual(await act({ ...here.connection, query }, order, here.product, quiet), { kind: "gone" });
    await alone();
  });

  test(`${mode}: a role that may look and not signal is denied, in the server's words`, async () => {
    const victim = await open(1);
    const sent = await act(powerless, orderOn(await read(), victim), here.product, quiet);
    assert.equal(sent.kind, "denied");
    assert.match("error" in sent ? sent.error : "", /gs_role_signal_backend/);
    assert.equal(await isWell(victim), true);
    await leave(victim);
    await alone();
  });

  test(`${mode}: what became of the victim and its waiters is proved, and who blocks them next is named`, async () => {
    const victim = await open(1);
    const next = await person("other", "next");
    const last = await person();
    await next.run("begin");
    next.start("update account set n = n + 1 where id = 1");
    await readWith(1);
    last.start("update account set n = n + 1 where id = 1");
    const snapshot = await readWith(2);
    const order = orderOn(snapshot, victim, { blocks: blocksIn(snapshot, 1) });
    const before = await prove(here.connection, order.evidence, here.product, quiet);
    assert.deepEqual([before.alive, before.sameTransaction], [true, true]);
    assert.equal(before.stillBlocked.includes(next.sessionId), true);
    assert.deepEqual(await send(order), { kind: "sent" });
    const after = await eventually(async () => {
      const proof = await prove(here.connection, order.evidence, here.product, quiet);
      return !proof.alive && proof.stillBlocked.length === 0 && proof;
    });
    assert.equal(after.sameTransaction, false);
    const nextDone = await eventually(async () => {
      const { waits } = await read();
      return waits?.length === 1 && waits[0]?.waiter === last.sessionId && waits[0];
    });
    assert.deepEqual(
      nextDone.blockers.map(({ node }) => node),
      [next.sessionId],
    );
    await leave(next, last);
    await alone();
  });
}

const gone = { alive: false, sameTransaction: false, sameStatement: false, stillBlocked: [], next: null };
