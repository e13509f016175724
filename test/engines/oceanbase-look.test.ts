import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { eventually } from "../support/eventually.ts";
import { oceanBase } from "../support/oceanbase/oceanbase.ts";
import { obScene, sessionIn, targetOf, toldOf } from "../support/oceanbase-scene.ts";
import { startServer } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

const postgres = await startServer({ settings: { max_connections: "300" } });
const scenes = [
  await obScene(await oceanBase({ postgres, mode: "oracle", version: "4.2.5.3" })),
  await obScene(await oceanBase({ postgres, mode: "mysql", version: "4.3.5.3" })),
];
const older = [
  await obScene(await oceanBase({ postgres, mode: "oracle", version: "4.2.0.0" })),
  await obScene(await oceanBase({ postgres, mode: "mysql", version: "4.1.0.2" })),
];
after(() => postgres.stop());

for (const scene of scenes) {
  const { double, link, table } = scene;
  const named = (text: string) => `${double.mode} mode: ${text}`;

  test(
    named("a look shows who holds a row idle in its transaction, for how long, and who waits for which table"),
    async () => {
      const { holder, waiter } = await scene.stuck(1);
      const snapshot = await scene.readWaiting(waiter);
      const idle = sessionIn(snapshot, holder);
      assert.equal(idle.state, "idle in transaction");
      assert.equal(idle.role, "client");
      assert.equal(idle.user, double.mode === "oracle" ? "APP" : "app");
      assert.equal(idle.client, "127.0.0.1");
      assert.equal(idle.superuser, false);
      assert.equal(idle.own, false);
      assert.ok(idle.stateMs !== null && idle.transaction.kind === "open");
      assert.match(idle.transaction.startedAt ?? "", /^\d+$/);
      assert.ok(idle.transaction.ageMs !== null && idle.transaction.ageMs < 60_000, String(idle.transaction.ageMs));
      const busy = sessionIn(snapshot, waiter);
      assert.equal(busy.state, "active");
      assert.match(busy.query ?? "", /UPDATE .*user_session/);
      const wait = snapshot.waits?.find((one) => one.waiter === waiter.id);
      assert.deepEqual(wait?.blockers, [{ node: holder.id, soft: false }]);
      const relations = wait?.relation === null ? wait.candidates : [wait?.relation];
      assert.deepEqual(
        relations.map((one) => `${one?.schema}.${one?.name}`),
        [table],
      );
      assert.ok(typeof wait?.waitMs === "number");
      assert.equal(wait.hiddenBlocker, false);
      assert.deepEqual(snapshot.gaps, []);
      assert.deepEqual(toldOf(snapshot, { blocks: { waiters: 1, tables: [table] } }), [`act notify ${holder.id}`]);
      assert.ok(Math.abs(snapshot.atMs - Date.now()) < 60_000, snapshot.at);
      assert.ok(
        snapshot.holds?.some((hold) => hold.holder === holder.id && hold.relation?.name === table.split(".")[1]),
      );
      holder.leave();
      waiter.leave();
    },
  );

  test(named("a transaction's age grows with the server's clock, and outlasts its statements"), async () => {
    const one = await scene.somebody();
    await one.run("BEGIN");
    await one.run("UPDATE user_session SET n = 0 WHERE id = 2");
    const age = async () => {
      const { transaction } = sessionIn(await scene.read(), one);
      return transaction.kind === "open" ? transaction.ageMs : null;
    };
    await eventually("it is older than half a second", async () => ((await age()) ?? 0) > 500);
    await one.run("UPDATE user_session SET n = 1 WHERE id = 2");
    assert.ok(((await age()) ?? 0) > 500);
    one.leave();
  });

  test(named("a calm look knows that somebody waits, and asks for no locks while nobody runs anything"), async () => {
    const look = () => link.read({ sessions: "transactions", locks: false }, quiet);
    const before = double.statements.length;
    const calm = await eventually("nobody runs anything", async () => {
      const snapshot = await look();
      return snapshot.contended ? null : snapshot;
    });
    assert.deepEqual([calm.waits, calm.holds], [null, null]);
    const { holder, waiter } = await scene.stuck(3);
    assert.equal((await look()).contended, true);
    assert.ok(double.statements.length > before);
    holder.leave();
    waiter.leave();
    await eventually("they are gone", async () => !(await look()).contended);
    const since = double.statements.length;
    await look();
    const asked = double.statements.slice(since).map(({ sql }) => sql);
    assert.equal(asked.filter((sql) => sql.includes("GV$OB_LOCKS")).length, 0, asked.join("\n"));
  });

  test(named("plainly idle sessions show where they are asked for, and Lockwarden's own as its own"), async () => {
    const one = await scene.somebody();
    const idle = sessionIn(await scene.read("all"), one);
    assert.deepEqual([idle.state, idle.transaction.kind], ["idle", "none"]);
    assert.equal(
      (await scene.read()).sessions.some(({ pid }) => pid === one.id),
      false,
    );
    const own = (await scene.read("all")).sessions.filter((session) => session.own);
    assert.equal(own.length, 2);
    one.leave();
  });

  test(named("the holder is found though the server calls its session 4294967295 or 0"), async () => {
    const { holder, waiter } = await scene.stuck(4);
    for (const holderIds of ["invalid", "zero"] as const) {
      double.switches.holderIds = holderIds;
      const snapshot = await scene.read();
      // What a join by ID2 would end.
      const schema = double.mode === "oracle" ? "SYS" : "oceanbase";
      const [rows] = await holder.connection.query(`SELECT ID2 FROM ${schema}.GV$OB_LOCKS WHERE BLOCK = 1`);
      assert.deepEqual(JSON.parse(JSON.stringify(rows)), [{ ID2: holderIds === "invalid" ? "4294967295" : "0" }]);
      const wait = snapshot.waits?.find((one) => one.waiter === waiter.id);
      assert.deepEqual(wait?.blockers, [{ node: holder.id, soft: false }]);
    }
    double.switches.holderIds = "exact";
    double.switches.waiterIds = "placeholder";
    const snapshot = await scene.read();
    double.switches.waiterIds = "exact";
    assert.ok(snapshot.waits?.some((one) => one.waiter === waiter.id));
    holder.leave();
    waiter.leave();
  });

  test(
    named("without the right to see others' sessions, which is silent, nobody is taken for the one who blocks"),
    async () => {
      await double.createUser({ name: "half", alterSystem: true, views: "all" });
      const { holder, waiter } = await scene.stuck(5);
      const half = await connect(targetOf(double.url("half")), quiet);
      const snapshot = await half.read({ sessions: "transactions", locks: true }, quiet);
      await half.close();
      assert.equal(
        snapshot.sessions.some(({ pid }) => pid === holder.id || pid === waiter.id),
        false,
      );
      assert.match(snapshot.gaps.join("; "), /SHOW PROCESS/);
      assert.deepEqual(snapshot.waits, []);
      holder.leave();
      waiter.leave();
    },
  );

  test(named("a look between whose halves a session began another transaction blames it for nothing"), async () => {
    const { holder, waiter } = await scene.stuck(6);
    let done = false;
    double.switches.before = async ({ sql }) => {
      if (done || !sql.includes("lockwarden:sessions")) return;
      done = true;
      await holder.run("COMMIT");
      await holder.run("BEGIN");
      await holder.run("UPDATE user_session SET n = 0 WHERE id = 7");
    };
    const snapshot = await scene.read();
    double.switches.before = null;
    assert.equal(done, true);
    const blamed = snapshot.waits?.some(({ blockers }) => blockers.some(({ node }) => node === holder.id));
    assert.equal(blamed, false);
    assert.deepEqual(toldOf(snapshot, { blocks: { waiters: 1 } }), []);
    holder.leave();
    waiter.leave();
  });

  test(named("dummy views of another product's names are never read"), () => {
    assert.deepEqual(
      double.statements.filter(({ sql }) => /innodb/i.test(sql)),
      [],
    );
  });
}

const [withoutKeys, withoutLocks] = older;
assert.ok(withoutKeys !== undefined && withoutLocks !== undefined);

test("a version that cannot tell waits for rows says so, and spares whoever runs something", async () => {
  const one = await withoutKeys.somebody();
  await one.run("BEGIN");
  await one.run("UPDATE user_session SET n = 0 WHERE id = 1");
  const snapshot = await withoutKeys.read();
  assert.match(snapshot.gaps.join("; "), /no ID3/);
  const { state, transaction } = sessionIn(snapshot, one);
  assert.equal(state, "idle in transaction");
  // Without schedulers its age is that of its first write.
  assert.ok(transaction.kind === "open" && transaction.ageMs !== null);
  const other = await withoutKeys.somebody();
  const slow = other.start("UPDATE user_session SET n = 1 WHERE id = 1");
  await eventually("it runs", async () => {
    const seen = (await withoutKeys.read()).sessions.find(({ pid }) => pid === other.id);
    return seen !== undefined && seen.state === null && seen.transaction.kind === "unknown";
  });
  one.leave();
  await slow;
  other.leave();
});

test("a version without a view of locks judges nobody by them, and says so", async () => {
  const one = await withoutLocks.somebody();
  await one.run("BEGIN");
  await one.run("UPDATE user_session SET n = 0 WHERE id = 1");
  const snapshot = await withoutLocks.read();
  assert.match(snapshot.gaps.join("; "), /GV\$OB_LOCKS/);
  assert.deepEqual([snapshot.waits, snapshot.holds], [null, null]);
  assert.equal(sessionIn(snapshot, one).state, "idle in transaction");
  assert.deepEqual(toldOf(snapshot, { blocks: { waiters: 1 } }), []);
  one.leave();
});
