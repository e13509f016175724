import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { brief, judge } from "../support/judge.ts";
import { leave, orderOn, type Person, stages, waitOf } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

/** What a rule about queued statements, and one about roots, make of it. */
function decide(snapshot: Snapshot): readonly string[] {
  const rules = [
    { name: "jam", match: { waits: { modes: ["ExclusiveLock"] }, blocks: { waiters: 1 } }, steps: ["terminate"] },
    { name: "root", match: { blocks: { waiters: 1 } }, steps: ["terminate"] },
  ];
  return judge({ rules, protect: { superusers: false } })
    .look(snapshot)
    .decisions.map(brief);
}

/** That `waiter` waits behind `blocker`, who waits itself, and nothing else of both has changed. */
function behind(snapshot: Snapshot, waiter: Person, blocker: Person) {
  const [own, others] = [waitOf(snapshot, waiter.pid), waitOf(snapshot, blocker.pid)];
  const edge = { waiterPid: waiter.pid, blockerPid: blocker.pid, lock: own.lock, mode: own.mode, counts: true };
  const { lock, mode, waitAt } = others;
  const guard = { sinceState: false, blocks: { edges: [edge], waiters: 1 }, waits: { lock, mode, waitAt } };
  return orderOn(snapshot, blocker.pid, guard);
}

const settings = { deadlock_timeout: "1h" };
const made = await stages({ settings }, async (here, postgres) => {
  for (const table of ["front", "back"]) await here.connection.query(`create table ${table} ()`, [], quiet);
  return textConnection(postgres.url());
});
for (const { major, here, prepared: actor } of made) {
  test(`${major}: when the deadlock check has rearranged a queue, which shows nowhere, nobody is acted on by the order that was`, async () => {
    const [root, between, early, late] = [
      await here.person(),
      await here.person(),
      await here.person(),
      await here.person(),
    ];
    await root.run("begin; lock table front in share mode");
    await between.run("begin; lock table front in row share mode");
    await late.run("begin; lock table back");
    early.start("begin; lock table front in exclusive mode");
    await here.readWith(1);
    late.start("lock table front in row exclusive mode");
    await here.readWith(2);
    assert.equal((await here.blockedBy(late.pid)).includes(early.pid), true);
    // It waits for `late`, who waits behind `early`, who waits for it: the server lets `late` go first.
    await between.run("set deadlock_timeout = '10ms'");
    between.start("select from back");
    await here.readWith(3);
    await eventually(async () => (await here.blockedBy(early.pid)).includes(late.pid));
    const snapshot = await here.read();
    assert.deepEqual(await here.blockedBy(late.pid), [root.pid]);
    assert.deepEqual(waitGraph(snapshot).roots(), [root.pid]);
    assert.deepEqual(await act(actor, behind(snapshot, late, early), quiet), { kind: "changed" });
    assert.deepEqual(decide(snapshot), [`act terminate ${root.pid}`]);
    assert.deepEqual(await act(actor, behind(snapshot, early, late), quiet), { kind: "sent" });
    await leave(root, between, early, late);
  });
}
