import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { mostSessions } from "../../src/engines/postgres/activity.ts";
import type { Connection } from "../../src/engines/postgres/connection.ts";
import type { ReaderOptions } from "../../src/engines/postgres/snapshot.ts";
import { brief, judge } from "../support/judge.ts";
import { blockers, leave, stages } from "../support/scene.ts";
import { quiet, readerOn, textConnection } from "../support/text-connection.ts";

/** What a rule about age alone makes of one look. */
function decide(snapshot: Snapshot): readonly string[] {
  const rules = [{ name: "old", match: { transaction_for: "1ms" }, steps: ["terminate"] }];
  const { decisions } = judge({ rules, protect: { superusers: false } }).look(snapshot);
  return decisions.map(brief).toSorted();
}

const settings = { max_locks_per_transaction: "256" };
const prepare = (_: unknown, postgres: { url(): string }) => textConnection(postgres.url());
for (const { major, postgres, here, prepared: connection } of await stages({ settings }, prepare)) {
  const readWith = (more: Partial<ReaderOptions>) =>
    readerOn(connection, (database) => postgres.url("postgres", database), more).read(
      { sessions: "transactions", locks: true },
      quiet,
    );

  test(`${major}: more contended locks than a look reads make no graph, are told, and nobody is acted on`, async () => {
    const [holder, waiter] = [await here.person(), await here.person()];
    await holder.run("begin; select pg_advisory_xact_lock(g, 7) from generate_series(1, 200) as g");
    waiter.start("begin; select pg_advisory_xact_lock(1, 7)");
    await here.readWith(1);
    // Most of them only resemble the one that is waited for.
    for (const mostLocks of [300, 100]) {
      const whole = await readWith({ mostLocks });
      assert.deepEqual(blockers(whole, waiter.pid, false), [holder.pid]);
      assert.deepEqual(decide(whole), [`act terminate ${holder.pid}`]);
    }
    const capped = await readWith({ mostLocks: 1 });
    assert.deepEqual([capped.waits, capped.holds, capped.contended], [null, null, true]);
    assert.match(capped.gaps.join(), /more than 1 locks are waited for.*nobody is acted on/);
    assert.deepEqual(waitGraph(capped).roots(), []);
    const spared = [holder, waiter].map(({ pid }) => `spare unknown ${pid}`).toSorted();
    assert.deepEqual(decide(capped), spared);
    await leave(holder, waiter);
  });

  test(`${major}: what is left out first is what nobody waits for: the graph stays whole, holds are unknown`, async () => {
    const [holder, waiter] = [await here.person(), await here.person()];
    const create = "do $$ begin for n in 1..60 loop execute format('create table many_%s ()', n); end loop; end $$";
    await holder.run(create);
    await holder.run(`begin; ${create.replaceAll("create table many_%s ()", "lock table many_%s")}`);
    waiter.start("select from many_60");
    await here.readWith(1);
    const capped = await readWith({ mostLocks: 20 });
    assert.deepEqual(blockers(capped, waiter.pid, false), [holder.pid]);
    assert.equal(capped.waits?.[0]?.relation?.name, "many_60");
    assert.equal(capped.holds, null);
    assert.match(capped.gaps.join(), /more than 20 locks; who holds what is unknown where nobody waits/);
    assert.deepEqual(decide(capped), [`act terminate ${holder.pid}`]);
    await leave(holder, waiter);
  });

  test(`${major}: more sessions than a look reads are told, and nobody is acted on`, async () => {
    const [holder, waiter] = [await here.person(), await here.person()];
    await holder.run("create table crowded ()");
    await holder.run("begin; lock table crowded");
    waiter.start("begin; select from crowded");
    await here.readWith(1);
    const reading = crowded(connection);
    const capped = await readWith({ connection: reading });
    assert.equal(capped.sessions.length, mostSessions);
    assert.deepEqual([capped.waits, capped.contended], [null, true]);
    assert.match(capped.gaps.join(), /more than 20000 sessions.*nobody is acted on/);
    assert.deepEqual(
      decide(capped).filter((one) => one.startsWith("act")),
      [],
    );
    await leave(holder, waiter);
  });
}

/** The same server, with a crowd of sessions in transactions that its memory could not hold. */
function crowded(connection: Connection): Connection {
  const queryPrepared: Connection["queryPrepared"] = async (sql, values, signal) => {
    const rows = await connection.queryPrepared(sql, values, signal);
    const [first] = rows.filter((row) => row["xact_start"] !== null);
    const crowd = Array.from({ length: mostSessions }, (_, n) => ({ ...first, pid: String(1_000_000 + n) }));
    return [...rows, ...crowd];
  };
  return { ...connection, queryPrepared };
}
