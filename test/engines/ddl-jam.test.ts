import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActDecision, Signal } from "../../src/core/decision.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { brief, judge } from "../support/judge.ts";
import { leave, stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

const rule = {
  name: "ddl-jam",
  match: { waits: { modes: ["AccessExclusiveLock"], for: "100ms" }, blocks: { waiters: 2 } },
  steps: ["cancel"],
};

function isSignal(decision: ActDecision): decision is ActDecision & { action: Signal } {
  return decision.action !== "notify";
}

const made = await stages({ settings: { deadlock_timeout: "60s" } }, async ({ connection }, postgres) => {
  await connection.query("create table orders as select 1 as id; create role app superuser login", [], quiet);
  return textConnection(postgres.url());
});
for (const { major, here, prepared: actor } of made) {
  const jam = async () => {
    const [reader, migrator] = [await here.person("reader", "app"), await here.person("migrator", "app")];
    await reader.run("begin; select from orders");
    migrator.start("begin; alter table orders add column more int; select pg_sleep(600)");
    await here.readWith(1);
    const queue = [await here.person("web-1", "app"), await here.person("web-2", "app")];
    for (const one of queue) one.start("select from orders");
    const people = [reader, migrator, ...queue];
    return { reader, migrator, queue, people };
  };
  /** What the rule decides as soon as it decides to act; superusers are not protected here. */
  const decided = async (): Promise<ActDecision & { action: Signal }> => {
    await here.readWith(3);
    const watch = judge({ rules: [rule], protect: { superusers: false } });
    return eventually(async () => {
      const snapshot: Snapshot = await here.read();
      const { decisions } = watch.look(snapshot);
      const [decision, ...more] = decisions;
      assert.deepEqual(more.map(brief), []);
      return decision?.kind === "act" && isSignal(decision) && decision;
    });
  };

  test(`${major}: the queued ALTER TABLE is the one that is cancelled, and who queued behind it gets through`, async () => {
    const { migrator, people } = await jam();
    const decision = await decided();
    assert.equal(brief(decision), `act cancel ${migrator.pid}`);
    assert.deepEqual(await act(actor, decision, quiet), { kind: "sent" });
    await eventually(async () => (await here.read()).waits?.length === 0);
    await leave(...people);
  });

  test(`${major}: an ALTER TABLE that got its lock between the look and the act is not hit`, async () => {
    const { reader, migrator, people } = await jam();
    const decision = await decided();
    await reader.run("commit");
    const waits = () => here.read().then((look) => look.waits ?? []);
    await eventually(async () => (await waits()).every(({ pid }) => pid !== migrator.pid));
    assert.deepEqual(await act(actor, decision, quiet), { kind: "changed" });
    const now = (await here.read()).sessions.find(({ pid }) => pid === migrator.pid);
    assert.equal(now?.state, "active");
    assert.equal((await waits()).length, 2);
    await leave(...people);
  });
}
