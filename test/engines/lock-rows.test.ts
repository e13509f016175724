import assert from "node:assert/strict";
import { test } from "node:test";
import type { Row, Value } from "../../src/engines/postgres/connection.ts";
import { type LockRow, lockText, mostLocks, readLocks } from "../../src/engines/postgres/lock-rows.ts";
import { stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

/** More than one look reads. */
const plainRow: Row = { pid: "1", locktype: "relation", database: "5", mode: "AccessShareLock", granted: "t" };
const tooMany = Array.from({ length: mostLocks + 1 }, (_, at): Row => ({ ...plainRow, relation: String(20_000 + at) }));

const made = await stages({ settings: { deadlock_timeout: "60s", max_prepared_transactions: "10" } }, async (here) => {
  await here.connection.query("create table account (id int primary key, n int)", [], quiet);
  await here.connection.query("insert into account values (1, 0), (2, 0)", [], quiet);
});
for (const { major, here } of made) {
  test(`${major}: a look names locks as the guard does, and leaves out what nobody waits for`, async () => {
    const [holder, waiter, index, advisory, queued] = [
      await here.person(),
      await here.person(),
      await here.person(),
      await here.person(),
      await here.person(),
    ];
    await holder.run("begin; update account set n = 1 where id = 1; select pg_advisory_lock(7, 9)");
    await advisory.run("begin; select pg_advisory_lock(7, 10)");
    waiter.start("update account set n = 2 where id = 1");
    index.start("create index concurrently on account (n)");
    queued.start("select pg_advisory_lock(7, 9)");
    await eventually(async () => {
      const { rows } = await readLocks(here.connection, quiet);
      assert.equal(rows.filter((row) => !row.granted).length, 3);
      const said = await here.connection.query(
        `select l.pid, ${lockText} as lock, l.mode, l.granted from pg_lock_status() as l where l.pid <> pg_backend_pid()`,
        [],
        quiet,
      );
      const named = new Set(said.map(({ pid, lock, mode, granted }) => [pid, lock, mode, granted].join("|")));
      const shown = rows.map((row) => [row.pid, row.lock, row.mode, row.granted ? "t" : "f"].join("|"));
      assert.deepEqual(
        shown.filter((one) => !named.has(one)),
        [],
      );
      const waitedFor = new Set(rows.filter((row) => !row.granted).map((row) => row.lock));
      for (const row of rows) assert.equal(row.contended, waitedFor.has(row.lock), row.lock);
      const contended = (type: string) => rows.filter((row) => row.contended && row.locktype === type && row.granted);
      assert.deepEqual(
        ["transactionid", "virtualxid", "advisory"].map((type) => contended(type).length),
        [1, 1, 1],
      );
      const others = rows.filter((row) => !row.contended).map((row) => row.locktype);
      assert.deepEqual(
        [...new Set(others)],
        ["relation", "tuple"].filter((type) => others.includes(type)),
      );
      const chosen = await readLocks({ ...here.connection, queryPrepared: () => Promise.resolve(tooMany) }, quiet);
      const brief = ({ pid, lock, mode, granted }: LockRow) => [pid, lock, mode, granted].join("|");
      const found = new Set(chosen.rows.map(brief));
      assert.deepEqual(
        rows.map(brief).filter((one) => !found.has(one)),
        [],
        "left out where the server chooses",
      );
      return true;
    });
  });
}

function asked(answers: readonly (readonly Row[])[]) {
  const left = [...answers];
  const ask = (_sql: string, _values: readonly Value[]) => Promise.resolve(left.shift() ?? []);
  return {
    pid: "9",
    versionNumber: 180_000,
    query: ask,
    queryPrepared: ask,
    isOpen: () => true,
    close: async () => {},
  };
}

test("of more locks than one look reads the server chooses, and a look without all that are waited for says so", async () => {
  const few = tooMany.slice(0, 10).map((row) => ({ ...row, contended: "f" }));
  const chosen = await readLocks(asked([tooMany, few]), quiet);
  assert.deepEqual([chosen.rows.length, chosen.holdsCapped, chosen.waitsCapped], [10, false, false]);
  const capped = await readLocks(asked([tooMany, tooMany.map((row) => ({ ...row, contended: "f" }))]), quiet);
  assert.deepEqual([capped.rows.length, capped.holdsCapped, capped.waitsCapped], [mostLocks, true, false]);
  const blind = await readLocks(asked([tooMany, tooMany.map((row) => ({ ...row, contended: "t" }))]), quiet);
  assert.deepEqual([blind.holdsCapped, blind.waitsCapped], [true, true]);
});
