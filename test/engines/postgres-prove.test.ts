import assert from "node:assert/strict";
import { test } from "node:test";
import type { Evidence } from "../../src/core/decision.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { prove } from "../../src/engines/postgres/prove.ts";
import { leave, orderOn, type Person, stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

const made = await stages({}, (here) =>
  here.connection.query("create table account as select 1 as id, 0 as n", [], quiet),
);
for (const { major, here } of made) {
  const proof = (evidence: Evidence) => prove(here.connection, evidence, quiet);
  const update = "update account set n = n + 1 where id = 1";

  const queue = async (count: number): Promise<Person[]> => {
    const people: Person[] = [];
    while (people.length < count) {
      const one = await here.person(`waiter${people.length}`);
      one.start(`begin; ${update}`);
      people.push(one);
      await here.readWith(people.length);
    }
    return people;
  };

  test(`${major}: while nothing has happened the proof shows the transaction and its waiters`, async () => {
    const victim = await here.person();
    await victim.run(`begin; ${update}`);
    const waiters = await queue(2);
    const { evidence } = orderOn(await here.readWith(2), victim.pid);
    const shown = await proof(evidence);
    assert.deepEqual([shown.alive, shown.sameTransaction], [true, true]);
    assert.deepEqual(shown.stillBlocked, [waiters[0]?.pid]);
    assert.equal(shown.next, null);
    await leave(victim, ...waiters);
  });

  test(`${major}: after the end it is gone, its waiter is free, and who blocks the next one is said`, async () => {
    const victim = await here.person();
    await victim.run("begin; lock table account");
    const waiters = await queue(2);
    const order = orderOn(await here.readWith(2), victim.pid);
    assert.deepEqual(await act(here.connection, order, quiet), { kind: "sent" });
    const shown = await eventually(async () => {
      const now = await proof(order.evidence);
      return now.alive || now.next === null ? null : now;
    });
    assert.deepEqual([shown.alive, shown.sameTransaction, shown.stillBlocked], [false, false, []]);
    assert.match(shown.next ?? "", /^session \d+ \(idle in transaction, application waiter\d\) now blocks 1 of them$/);
    await leave(victim, ...waiters);
  });

  test(`${major}: a cancelled statement under a savepoint leaves the transaction and its waiters`, async () => {
    const victim = await here.person();
    await victim.run(`begin; ${update}; savepoint s`);
    const waiters = await queue(1);
    victim.start("select pg_sleep(600)");
    const snapshot = await eventually(async () => {
      const look = await here.readWith(1);
      return look.sessions.find((one) => one.pid === victim.pid)?.state === "active" ? look : null;
    });
    const order = orderOn(snapshot, victim.pid, { sinceQuery: true });
    assert.deepEqual(await act(here.connection, { ...order, action: "cancel" }, quiet), { kind: "sent" });
    await eventually(async () => {
      const look = await here.read();
      return look.sessions.find((one) => one.pid === victim.pid)?.state?.includes("aborted");
    });
    const shown = await proof(order.evidence);
    assert.deepEqual([shown.sameTransaction, shown.stillBlocked], [true, [waiters[0]?.pid]]);
    await leave(victim, ...waiters);
  });

  test(`${major}: the session's next transaction is not the one that was judged, even with the same lock`, async () => {
    const victim = await here.person();
    await victim.run(`begin; ${update}`);
    const { evidence } = orderOn(await here.read(), victim.pid);
    await victim.run("commit");
    await victim.run(`begin; ${update}`);
    const waiters = await queue(1);
    const shown = await proof({ ...evidence, waits: (await here.readWith(1)).waits ?? [] });
    assert.deepEqual([shown.alive, shown.sameTransaction], [true, false]);
    await leave(victim, ...waiters);
  });

  test(`${major}: without a transaction a session-level lock is what must be gone`, async () => {
    const victim = await here.person();
    await victim.run("select pg_advisory_lock(5)");
    const waiter = await here.person();
    waiter.start("select pg_advisory_lock(5)");
    const snapshot = await here.readWith(1);
    const holds = snapshot.holds?.filter((hold) => hold.holder === victim.pid) ?? [];
    const order = orderOn(snapshot, victim.pid);
    const evidence = { ...order.evidence, holds };
    assert.equal((await proof(evidence)).sameTransaction, true);
    await victim.run("select pg_advisory_unlock(5)");
    const shown = await proof(evidence);
    assert.deepEqual([shown.alive, shown.sameTransaction, shown.stillBlocked], [true, false, []]);
    await leave(victim, waiter);
  });

  test(`${major}: somebody else with the same pid is not the victim`, async () => {
    const other = await here.person();
    await other.run("begin; lock table account");
    const { evidence } = orderOn(await here.read(), other.pid);
    const recycled = { ...evidence.victim, identity: "2020-01-01T00:00:00.000000Z" } as Evidence["victim"];
    const shown = await proof({ ...evidence, victim: recycled });
    assert.deepEqual([shown.alive, shown.sameTransaction], [false, false]);
    await leave(other);
  });
}
