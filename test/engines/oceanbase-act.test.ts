import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Session } from "../../src/core/session.ts";
import { LinkLost } from "../../src/engines/engine.ts";
import { act } from "../../src/engines/oceanbase/act.ts";
import type { Connection } from "../../src/engines/oceanbase/connection.ts";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { eventually } from "../support/eventually.ts";
import { refused } from "../support/oceanbase/errors.ts";
import { oceanBase } from "../support/oceanbase/oceanbase.ts";
import {
  judgedAs,
  type ObScene,
  obScene,
  orderFor,
  plainOrder,
  type Somebody,
  sessionIn,
  targetOf,
} from "../support/oceanbase-scene.ts";
import { startServer } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

const postgres = await startServer({ settings: { max_connections: "400" } });
const oracle = await obScene(await oceanBase({ postgres, mode: "oracle", version: "4.2.5.3" }));
const plain = await obScene(await oceanBase({ postgres, mode: "mysql", version: "4.3.5.3" }));
const proxied = await oceanBase({ postgres, mode: "oracle", proxy: "v1", tenant: "shop" });
after(() => postgres.stop());

const stuck = { blocks: { waiters: 1 }, idle_for: "1ms" };
/** What a tool without a re-check sends. */
const naive = ({ double }: ObScene, id: string) =>
  double.mode === "oracle" ? `ALTER SYSTEM KILL SESSION '${id}'` : `KILL ${id}`;
const dead = (who: Somebody) => eventually(`${who.id} has lost its connection`, async () => !(await who.isAlive()));

async function isListed({ double }: ObScene, dba: Somebody, { id }: Somebody): Promise<boolean> {
  const schema = double.mode === "oracle" ? "SYS" : "oceanbase";
  const [rows] = await dba.connection.query(`SELECT ID FROM ${schema}.GV$OB_PROCESSLIST WHERE ID = ${id}`);
  return Array.isArray(rows) && rows.length > 0;
}

for (const scene of [oracle, plain]) {
  const { double, table } = scene;
  const named = (text: string) => `${double.mode} mode: ${text}`;

  test(
    named("a holder that is still what was judged is ended, its waiter is freed, and the proof says so"),
    async () => {
      const { holder, waiter, freed } = await scene.stuck(1);
      const order = await orderFor(scene, { ...stuck, blocks: { waiters: 1, tables: [table] } });
      assert.equal(order.evidence.victim.kind === "session" && order.evidence.victim.pid, holder.id);
      scene.kills();
      const sent = await scene.act(order);
      assert.equal(sent.kind, "sent");
      assert.match(sent.kind === "sent" ? (sent.unguarded ?? "") : "", /two statements/);
      assert.deepEqual(scene.kills(), [naive(scene, holder.id)]);
      assert.equal(await freed, "done");
      const proof = await scene.prove(order);
      const { alive, sameTransaction, sameStatement, stillBlocked, next } = proof;
      const released = { alive: false, sameTransaction: false, sameStatement: false, stillBlocked: [], next: null };
      assert.deepEqual({ alive, sameTransaction, sameStatement, stillBlocked, next }, released);
      await dead(holder);
      waiter.leave();
    },
  );

  test(
    named("a session that has committed since is spared, while the naive kill ends its next transaction"),
    async () => {
      const { holder, waiter, freed } = await scene.stuck(2);
      const order = await orderFor(scene, stuck);
      await holder.run("COMMIT");
      await freed;
      scene.kills();
      assert.deepEqual(await scene.act(order), { kind: "gone" });
      await holder.run("BEGIN");
      await holder.run("UPDATE user_session SET n = 5 WHERE id = 3");
      assert.deepEqual(await scene.act(order), { kind: "changed" });
      // Its transaction alone tells, without anybody who waits.
      const alone = { ...order, guard: { ...order.guard, sinceState: false, blocks: null } };
      assert.deepEqual(await scene.act(alone), { kind: "changed" });
      assert.deepEqual(scene.kills(), []);
      assert.equal(await holder.isAlive(), true);
      const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
      await dba.run(naive(scene, holder.id));
      await dead(holder);
      for (const one of [waiter, dba]) one.leave();
    },
  );

  test(named("an id that somebody else has by now hits nobody, while the naive kill hits him"), async () => {
    const { holder, waiter, freed } = await scene.stuck(4);
    const order = await orderFor(scene, stuck);
    holder.leave();
    await freed;
    await eventually("the holder is gone", async () =>
      (await scene.read("all")).sessions.every(({ pid }) => pid !== holder.id),
    );
    double.switches.nextIds.push(Number(holder.id));
    const innocent = await scene.somebody();
    assert.equal(innocent.id, holder.id);
    await innocent.run("BEGIN");
    await innocent.run("UPDATE user_session SET n = 5 WHERE id = 5");
    scene.kills();
    assert.deepEqual(await scene.act(order), { kind: "gone" });
    const byHand = { ...order, guard: { ...order.guard, blocks: null, sessionOnly: true as const } };
    assert.deepEqual(await scene.act(byHand), { kind: "gone" });
    assert.deepEqual(scene.kills(), []);
    assert.equal(await innocent.isAlive(), true);
    const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
    await dba.run(naive(scene, holder.id));
    await dead(innocent);
    for (const one of [waiter, dba]) one.leave();
  });

  test(named("an id that would wrap around to another session, or is none, is never sent"), async () => {
    const { holder, waiter } = await scene.stuck(6);
    const innocent = await scene.somebody();
    const order = await orderFor(scene, stuck);
    const wrapped = String(4_294_967_296n + BigInt(innocent.id));
    scene.kills();
    for (const pid of [wrapped, "0", "", "7 or 1=1", `${innocent.id}, 1`, ` ${innocent.id}`, "1e9"]) {
      const sent = await scene.act(judgedAs(order, { pid, key: pid, sessionId: pid }));
      assert.equal(sent.kind, "failed", pid);
    }
    assert.deepEqual(scene.kills(), []);
    assert.equal(await innocent.isAlive(), true);
    const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
    await dba.run(naive(scene, wrapped));
    await dead(innocent);
    for (const one of [holder, waiter, dba]) one.leave();
  });

  test(named("OK is no proof: while the killed session still has its locks it has survived"), async () => {
    const { holder, waiter, freed } = await scene.stuck(7);
    const order = await orderFor(scene, stuck);
    double.switches.killed = "linger";
    assert.equal((await scene.act(order)).kind, "sent");
    const survived = await scene.prove(order);
    assert.deepEqual([survived.sameTransaction, survived.stillBlocked], [true, [waiter.id]]);
    double.switches.killed = "end";
    await double.reap();
    assert.equal(await freed, "done");
    const proof = await scene.prove(order);
    assert.deepEqual([proof.alive, proof.sameTransaction, proof.stillBlocked], [false, false, []]);
    holder.leave();
    waiter.leave();
  });

  test(
    named("a cancel is never sent to a session that is idle at the last look, though the server would say OK"),
    async () => {
      const { holder, waiter } = await scene.stuck(8);
      const snapshot = await scene.read();
      scene.kills();
      const cancel = plainOrder(snapshot, holder, {}, "cancel");
      assert.deepEqual(await scene.act(cancel), { kind: "changed" });
      assert.deepEqual(await scene.act({ ...cancel, guard: { ...cancel.guard, sessionOnly: true } }), {
        kind: "changed",
      });
      assert.deepEqual(await scene.act(judgedAs(cancel, { state: "active" })), { kind: "changed" });
      assert.deepEqual(scene.kills(), []);
      const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
      await dba.run(`KILL QUERY ${holder.id}`);
      const later = await scene.read();
      assert.deepEqual(later.waits?.find((wait) => wait.waiter === waiter.id)?.blockers, [
        { node: holder.id, soft: false },
      ]);
      for (const one of [holder, waiter, dba]) one.leave();
    },
  );

  test(named("a cancel ends the statement that waits, and its session stays"), async () => {
    const { holder, waiter, freed } = await scene.stuck(9);
    const snapshot = await scene.readWaiting(waiter);
    const [wait] = snapshot.waits ?? [];
    assert.ok(wait !== undefined);
    const waits = { lock: wait.lock, mode: wait.mode, waitAt: wait.waitAt };
    const cancel = plainOrder(snapshot, waiter, { waits }, "cancel");
    // Another wait than the judged one is no longer what was judged.
    const other = { ...cancel, guard: { ...cancel.guard, waits: { ...waits, lock: "TR 1 0" } } };
    assert.deepEqual(await scene.act(other), { kind: "changed" });
    assert.equal((await scene.act(cancel)).kind, "sent");
    assert.equal(await freed, "failed");
    assert.equal(await waiter.isAlive(), true);
    const proof = await eventually("its statement is over", async () => {
      const seen = await scene.prove(cancel);
      return seen.sameStatement === false ? seen : null;
    });
    assert.equal(proof.alive, true);
    holder.leave();
    waiter.leave();
  });

  test(named("whoever keeps too few waiting by then, or waits by itself, is spared"), async () => {
    const { holder, waiter } = await scene.stuck(10);
    const order = await orderFor(scene, stuck);
    const { blocks } = order.guard;
    assert.ok(blocks !== null && blocks.edges.length === 1);
    const two = { ...order, guard: { ...order.guard, blocks: { ...blocks, waiters: 2 } } };
    scene.kills();
    assert.deepEqual(await scene.act(two), { kind: "changed" });
    const none = { ...order, guard: { ...order.guard, blocks: { waiters: 0, edges: [] } } };
    assert.deepEqual(await scene.act(none), { kind: "changed" });
    const elsewhere = blocks.edges.map((edge) => ({ ...edge, lock: "TR 1 0" }));
    assert.deepEqual(
      await scene.act({ ...order, guard: { ...order.guard, blocks: { ...blocks, edges: elsewhere } } }),
      {
        kind: "changed",
      },
    );
    // The waiter goes: nobody stands behind the holder any more.
    waiter.leave();
    await eventually("nobody waits", async () =>
      (await scene.read()).waits?.every((wait) => wait.waiter !== waiter.id),
    );
    assert.deepEqual(await scene.act(order), { kind: "changed" });
    // Now the holder waits for somebody else: the end of the chain is another one.
    const far = await scene.somebody();
    await far.run("BEGIN");
    await far.run("UPDATE user_session SET n = 1 WHERE id = 11");
    const behind = await scene.somebody();
    await behind.run("BEGIN");
    void behind.start("UPDATE user_session SET n = 1 WHERE id = 10");
    await scene.readWaiting(behind);
    const middle = await orderFor(scene, { ...stuck, blocks: { waiters: 1 } });
    void holder.start("UPDATE user_session SET n = 1 WHERE id = 11");
    await scene.readWaiting(holder);
    const stillActive = judgedAs({ ...middle, guard: { ...middle.guard, sinceState: false } }, { state: "active" });
    assert.deepEqual(await scene.act(stillActive), { kind: "changed" });
    assert.deepEqual(scene.kills(), []);
    for (const one of [far, holder, behind]) one.leave();
  });

  test(
    named("a session that woke up and fell asleep again since is spared where its idleness was judged"),
    async () => {
      const { holder, waiter } = await scene.stuck(12);
      const order = await orderFor(scene, stuck);
      assert.equal(order.guard.sinceState, true);
      scene.kills();
      // Judged as idle for ten minutes: whoever shows less by now has done something since.
      assert.deepEqual(await scene.act(judgedAs(order, { stateMs: 600_000 })), { kind: "changed" });
      // However ages are rounded, whoever goes on sleeping shows no less than before.
      const awakeAt = performance.now();
      await holder.run("SELECT 1 FROM DUAL");
      const asleep = { ...order, evidence: { ...order.evidence, at: (await scene.read()).at } };
      const stateMs = Math.ceil(performance.now() - awakeAt) + 1_400;
      assert.deepEqual(await scene.act(judgedAs(asleep, { stateMs })), { kind: "changed" });
      assert.deepEqual(
        await scene.act(judgedAs(order, { user: null, state: null })).then(({ kind }) => kind),
        "failed",
      );
      assert.deepEqual(scene.kills(), []);
      for (const one of [holder, waiter]) one.leave();
    },
  );

  test(named("the next statement is not the one that was judged, in the same transaction and state"), async () => {
    const { holder, waiter, freed } = await scene.stuck(18);
    const snapshot = await scene.readWaiting(waiter);
    const order = plainOrder(snapshot, waiter, { sinceQuery: true });
    assert.ok(sessionIn(snapshot, waiter).queryAt !== null);
    await holder.run("COMMIT");
    assert.equal(await freed, "done");
    await holder.run("BEGIN");
    await holder.run("UPDATE user_session SET n = 1 WHERE id = 19");
    void waiter.start("UPDATE user_session SET n = 1 WHERE id = 19");
    const later = await scene.readWaiting(waiter);
    scene.kills();
    assert.deepEqual(await scene.act(order), { kind: "changed" });
    assert.deepEqual(scene.kills(), []);
    assert.equal((await scene.act(plainOrder(later, waiter, { sinceQuery: true }))).kind, "sent");
    holder.leave();
  });

  test(named("nothing is sent where what is to be compared is unknown"), async () => {
    const { holder, waiter } = await scene.stuck(13);
    const snapshot = await scene.read();
    const order = plainOrder(snapshot, holder);
    const unknown: readonly Partial<Session>[] = [
      { pid: null },
      { identity: "" },
      { own: true },
      { state: null },
      { transaction: { kind: "unknown" } },
      { transaction: { kind: "open", startedAt: null, ageMs: null, writeId: null } },
    ];
    scene.kills();
    for (const more of unknown) {
      const sent = await scene.act(judgedAs(order, more));
      assert.equal(sent.kind, "failed", JSON.stringify(more));
    }
    const since = { ...order, guard: { ...order.guard, sinceState: true } };
    assert.equal((await scene.act(judgedAs(since, { stateMs: null }))).kind, "failed");
    const query = { ...order, guard: { ...order.guard, sinceQuery: true } };
    assert.equal((await scene.act(judgedAs(query, { queryAt: null }))).kind, "failed");
    assert.equal((await scene.act({ ...order, action: "rollback-prepared" })).kind, "failed");
    assert.deepEqual(scene.kills(), []);
    for (const one of [holder, waiter]) one.leave();
  });

  test(named("by hand the session alone counts, whatever its transaction is by then"), async () => {
    const one = await scene.somebody();
    const order = plainOrder(await scene.read("all"), one, { sessionOnly: true });
    await one.run("BEGIN");
    await one.run("UPDATE user_session SET n = 1 WHERE id = 14");
    assert.equal((await scene.act(order)).kind, "sent");
    await dead(one);
    assert.equal((await scene.prove(order)).alive, false);
    assert.deepEqual(await scene.act(order), { kind: "gone" });
  });

  test(named("a session that ends between the look and the kill is gone, not a failure"), async () => {
    const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
    for (const prefix of ["ORA", "OBE"] as const) {
      const { holder, waiter, freed } = await scene.stuck(15);
      const order = await orderFor(scene, stuck);
      double.switches.prefix = prefix;
      double.switches.richErrors = prefix === "OBE";
      double.switches.before = async ({ sql }) => {
        if (sql !== naive(scene, holder.id)) return;
        double.switches.before = null;
        holder.leave();
        await freed;
        await eventually("it is listed no more", async () => !(await isListed(scene, dba, holder)));
      };
      assert.deepEqual(await scene.act(order), { kind: "gone" });
      assert.equal(double.switches.before, null);
      double.switches.prefix = "ORA";
      double.switches.richErrors = false;
      waiter.leave();
    }
  });

  test(
    named("a kill whose answer never comes is uncertain, and nothing more is sent over half a connection"),
    async () => {
      const dba = await scene.somebody(double.mode === "oracle" ? "SYS" : "root");
      const { holder, waiter } = await scene.stuck(20);
      const order = plainOrder(await scene.read(), holder);
      const link = await connect(targetOf(double.url()), quiet);
      double.switches.before = async ({ sql, sessionId }) => {
        if (sql !== naive(scene, holder.id)) return;
        double.switches.before = null;
        await dba.run(naive(scene, String(sessionId)));
      };
      scene.kills();
      const sent = await link.act(order, quiet);
      assert.equal(sent.kind, "uncertain", JSON.stringify(sent));
      await assert.rejects(link.act(order, quiet), LinkLost);
      await assert.rejects(link.prove(order.evidence, quiet), LinkLost);
      assert.equal(scene.kills().filter((sql) => sql === naive(scene, holder.id)).length, 1);
      await link.close();
      for (const one of [holder, waiter, dba]) one.leave();
    },
  );

  test(
    named("an id that is not known, of a session that is listed all the same, is no session that is gone"),
    async () => {
      const { holder, waiter } = await scene.stuck(16);
      const order = plainOrder(await scene.read(), holder);
      double.switches.before = ({ sql }) => {
        if (sql === naive(scene, holder.id))
          throw refused(double.mode, { kind: "unknown-thread", id: Number(holder.id) });
        return Promise.resolve();
      };
      const sent = await scene.act(order);
      double.switches.before = null;
      assert.equal(sent.kind, "failed");
      assert.match(sent.kind === "failed" ? sent.error : "", /does not know session \d+ by this id, and lists it/);
      assert.equal(await holder.isAlive(), true);
      for (const one of [holder, waiter]) one.leave();
    },
  );

  test(named("who may not end others' sessions is denied, and nothing else"), async () => {
    const rights = { views: "all", showProcess: true } as const;
    await double.createUser({ name: "watcher", ...rights });
    await double.createUser({ name: "halfway", alterSystem: true, ...rights });
    const { holder, waiter } = await scene.stuck(16);
    for (const user of ["watcher", "halfway"]) {
      const link = await connect(targetOf(double.url(user)), quiet);
      const snapshot = await link.read({ sessions: "transactions", locks: true }, quiet);
      for (const prefix of ["ORA", "OBE"] as const) {
        double.switches.prefix = prefix;
        double.switches.richErrors = prefix === "OBE";
        const sent = await link.act(plainOrder(snapshot, holder), quiet);
        assert.equal(sent.kind, "denied", `${user} ${JSON.stringify(sent)}`);
      }
      double.switches.prefix = "ORA";
      double.switches.richErrors = false;
      await link.close();
    }
    assert.equal(await holder.isAlive(), true);
    for (const one of [holder, waiter]) one.leave();
  });

  test(named("who keeps the former waiters waiting now is named, and is no failure"), async () => {
    const { holder, waiter, freed } = await scene.stuck(17);
    const third = await scene.somebody();
    await third.run("BEGIN");
    const thirdFreed = third.start("UPDATE user_session SET n = 1 WHERE id = 17");
    await scene.readWaiting(third);
    const order = await orderFor(scene, stuck);
    assert.equal((await scene.act(order)).kind, "sent");
    await Promise.race([freed, thirdFreed]);
    const proof = await eventually("one of them waits for the other", async () => {
      const seen = await scene.prove(order);
      return seen.next === null ? null : seen;
    });
    assert.deepEqual([proof.sameTransaction, proof.stillBlocked], [false, []]);
    assert.match(proof.next ?? "", /^session \d+ \(idle in transaction\) now blocks 1 of them$/);
    for (const one of [holder, waiter, third]) one.leave();
  });

  test(named("an idle session without a transaction is ended by who it is, and the proof wants it gone"), async () => {
    const one = await scene.somebody();
    const order = plainOrder(await scene.read("all"), one);
    assert.equal(sessionIn(await scene.read("all"), one).transaction.kind, "none");
    double.switches.killed = "linger";
    assert.equal((await scene.act(order)).kind, "sent");
    double.switches.killed = "end";
    assert.equal((await scene.prove(order)).sameTransaction, true);
    await double.reap();
    const { alive, sameTransaction } = await scene.prove(order);
    assert.deepEqual([alive, sameTransaction], [false, false]);
  });
}

test("behind a proxy that numbers sessions itself nothing is sent, while the naive kill ends the session of that number", async () => {
  await proxied.createUser({ name: "app", password: "secret" });
  const victim = await proxied.person("app", { through: "proxy" });
  const dba = await proxied.person(undefined, { through: "proxy" });
  const [rows] = await dba.query("SHOW PROCESSLIST");
  // The proxy answers in names of its own, whatever the mode.
  const shownTo = (rows as readonly object[]).map((row) => Object.values(row).map(String));
  const shown = Number(shownTo.find(([, user]) => user === "APP")?.[0]);
  assert.ok(shown > 0 && shown < 1_000, JSON.stringify(shownTo));
  proxied.switches.nextIds.push(shown);
  const innocent = await proxied.person("app");
  assert.equal(await proxied.idOf(innocent), shown);
  const link = await connect(targetOf(proxied.url(undefined, undefined, "proxy")), quiet);
  assert.equal(link.capabilities.acts, false);
  const snapshot = await link.read({ sessions: "all", locks: true }, quiet);
  const before = proxied.statements.length;
  const order = plainOrder(snapshot, { id: String(await proxied.idOf(victim)) }, { sessionOnly: true });
  const sent = await link.act(order, quiet);
  assert.equal(sent.kind, "denied", JSON.stringify(sent));
  assert.deepEqual(
    proxied.statements.slice(before).filter(({ sql }) => /\bKILL\b/.test(sql)),
    [],
  );
  await dba.query(`ALTER SYSTEM KILL SESSION '${shown}'`);
  await eventually("the innocent one is dead", () =>
    innocent.ping().then(
      () => false,
      () => true,
    ),
  );
  await victim.ping();
  await link.close();
  for (const one of [victim, dba]) one.destroy();
  // The act itself refuses, whoever calls it, and asks the server nothing.
  const visible = { schedulers: true, locks: true, lockId3: true, participants: true, locations: true };
  const connection: Connection = {
    server: {
      mode: "oracle",
      version: "4.2.5.3",
      tenant: "shop",
      sessionId: "7",
      throughProxy: true,
      proxySessionIds: true,
      views: { ...visible, objects: true, addresses: true },
    },
    query: () => assert.fail("nothing is asked"),
    failure: () => null,
    close: () => Promise.resolve(),
  };
  assert.equal((await act(connection, order, quiet)).kind, "denied");
});
