import assert from "node:assert/strict";
import { after, test } from "node:test";
import { engineFor } from "../../src/engines/registry.ts";
import { eventually } from "../support/eventually.ts";
import { patience, target } from "../support/targets.ts";
import {
  blockersAt,
  isProved,
  look,
  lookAtIdleHolder,
  lookAtWaits,
  onAnotherTransaction,
  orderAt,
  orderOnBlocker,
  sessionAt,
  waitAt,
} from "./look.ts";
import { sessionAs } from "./opengauss-session.ts";

// On a real server, by address: LOCKWARDEN_TEST_OPENGAUSS=postgres://USER:PASSWORD@HOST:PORT/DATABASE, a user with what
// `lockwarden grants` prints (MONADMIN and gs_role_signal_backend). The sessions that block and wait are those of
// LOCKWARDEN_TEST_OPENGAUSS_APP, a url of the same database with a user who may create tables in it; left out: the same user.
// What these tests end are sessions that they opened themselves.

const url = process.env["LOCKWARDEN_TEST_OPENGAUSS"] ?? "";
const appUrl = process.env["LOCKWARDEN_TEST_OPENGAUSS_APP"] ?? url;
const table = `lockwarden_real_${process.pid}`;
const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close().catch(() => undefined);
});

type Person = Readonly<{
  key: string;
  run(sql: string): Promise<readonly Record<string, string | null>[]>;
  isEnded(): boolean;
  end(): Promise<void>;
}>;

async function person(): Promise<Person> {
  const { rows, isEnded, end } = await sessionAs(appUrl, "app");
  closing.push(end);
  const [own] = await rows("select pg_catalog.pg_current_sessid()::text as id");
  return { key: own?.["id"] ?? "", run: rows, isEnded, end };
}

if (url === "")
  test("a real openGauss server", {
    skip: "LOCKWARDEN_TEST_OPENGAUSS is not set: postgres://USER:PASSWORD@HOST:PORT/DATABASE",
  });
else {
  const place = target(url, { engine: "opengauss", name: "real" });
  const link = await engineFor(place).connect(place, patience());
  closing.push(() => link.close());
  const setup = await person();
  await setup.run(`create table ${table} (id int primary key, n int)`);
  await setup.run(`insert into ${table} values (1, 0), (2, 0)`);
  closing.push(() => setup.run(`drop table ${table}`));
  const begin = async (one: Person, sql: string) => {
    await one.run("begin");
    await one.run(sql);
  };
  const raise = (id: number) => `update ${table} set n = n + 1 where id = ${id}`;
  const isWell = async (one: Person) => (await one.run("select 1 as one"))[0]?.["one"] === "1";

  test("it is recognised, may see and act, and has the lock by which one daemon acts", async () => {
    assert.match(link.facts.version, /^\d/u);
    assert.equal(link.capabilities.acts, true);
    assert.equal(link.capabilities.atomicGuard, true);
    const missing = await link.check(patience());
    assert.deepEqual(
      missing.filter(({ fatal }) => fatal),
      [],
    );
    assert.equal(await link.lease(patience()), "held");
    const survey = await link.survey([{ pattern: `*.${table}`, databases: null }], patience());
    assert.ok(survey.tables.some(({ found }) => found.length > 0));
  });

  test("a stuck row is seen, its holder ended by one guarded statement, and proved free, and nobody else is hit", async () => {
    const [holder, waiter, innocent] = [await person(), await person(), await person()];
    await begin(holder, raise(1));
    await begin(innocent, raise(2));
    const freed = waiter.run(raise(1));
    const snapshot = await lookAtWaits(link, waiter.key);

    const victim = sessionAt(snapshot, holder.key);
    assert.equal(victim.state, "idle in transaction");
    assert.equal(victim.role, "client");
    assert.equal(victim.own, false);
    assert.ok(victim.transaction.kind === "open" && victim.transaction.ageMs !== null);
    assert.deepEqual(blockersAt(snapshot, waiter.key, false), [holder.key]);
    assert.equal(waitAt(snapshot, waiter.key).hiddenBlocker, false);

    const order = orderOnBlocker(snapshot, holder.key, waiter.key);
    const other = onAnotherTransaction(order, "2020-01-01T00:00:00.000001Z");
    assert.notEqual((await link.act(other, patience())).kind, "sent");
    assert.ok(await isWell(holder));
    const again = orderOnBlocker(await lookAtIdleHolder(link, holder.key), holder.key, waiter.key);
    assert.notEqual((await link.act(order, patience())).kind, "sent", "its state has changed since");
    assert.deepEqual(await link.act(again, patience()), { kind: "sent" });
    await freed;
    await eventually("the holder's connection is closed", () => holder.isEnded());
    await isProved(link, again);
    assert.ok(await isWell(innocent));
    assert.notEqual((await link.act(again, patience())).kind, "sent");
    for (const one of [waiter, innocent]) await one.end();
  });

  test("whoever has come to the thread of a session that was judged is not hit", async () => {
    const judged = await person();
    await begin(judged, raise(1));
    const order = orderAt(await lookAtIdleHolder(link, judged.key), judged.key);
    await judged.run("rollback");
    const others = [];
    for (let count = 0; count < 6; count++) {
      const one = await person();
      await begin(one, "select 1");
      others.push(one);
    }
    assert.notEqual((await link.act(order, patience())).kind, "sent");
    for (const one of [judged, ...others]) assert.ok(await isWell(one));
    await judged.end();
    const next = await person();
    await begin(next, raise(1));
    assert.notEqual((await link.act(order, patience())).kind, "sent");
    assert.ok(await isWell(next));
    for (const one of [next, ...others]) await one.end();
  });

  test("a statement that waits is cancelled, and its session stays", async () => {
    const [holder, waiter] = [await person(), await person()];
    await begin(holder, raise(1));
    const cancelled = assert.rejects(waiter.run(raise(1)), { code: "57014" });
    const snapshot = await lookAtWaits(link, waiter.key);
    assert.deepEqual(await link.act(orderAt(snapshot, waiter.key, "cancel"), patience()), { kind: "sent" });
    await cancelled;
    assert.ok(await isWell(waiter));
    for (const one of [holder, waiter]) await one.end();
  });

  test("every session that a table's lock is shared by is named, and whoever queues ahead", async () => {
    const [one, two, writer, reader] = [await person(), await person(), await person(), await person()];
    for (const sharer of [one, two]) await begin(sharer, `lock table ${table} in share mode`);
    const written = writer.run(raise(1));
    await lookAtWaits(link, writer.key);
    const locked = begin(reader, `lock table ${table} in access exclusive mode`);
    const snapshot = await lookAtWaits(link, writer.key, reader.key);
    assert.deepEqual(blockersAt(snapshot, writer.key, false), [one.key, two.key].toSorted());
    assert.deepEqual(blockersAt(snapshot, reader.key, false), [one.key, two.key].toSorted());
    assert.deepEqual(blockersAt(snapshot, reader.key, true), [writer.key]);
    assert.equal(waitAt(snapshot, writer.key).relation?.name, table);
    for (const sharer of [one, two]) await sharer.run("rollback");
    await Promise.all([written, locked]);
    for (const each of [one, two, writer, reader]) await each.end();
  });

  test("of a prepared transaction that blocks, no session is the victim", async (t) => {
    const { mostPrepared } = await link.survey([], patience());
    if (mostPrepared === null || mostPrepared === 0) return t.skip("max_prepared_transactions is 0 there");
    const [preparer, waiter] = [await person(), await person()];
    const gid = `${table}_gid`;
    await begin(preparer, raise(1));
    await preparer.run(`prepare transaction '${gid}'`);
    closing.push(() => setup.run(`rollback prepared '${gid}'`));
    const freed = waiter.run(raise(1));
    const snapshot = await lookAtWaits(link, waiter.key);
    const prepared = snapshot.prepared.find((found) => found.gid === gid);
    assert.ok(prepared !== undefined);
    assert.deepEqual(blockersAt(snapshot, waiter.key, false), [prepared.key]);
    await setup.run(`rollback prepared '${gid}'`);
    await freed;
    for (const one of [preparer, waiter]) await one.end();
    return undefined;
  });

  test("behind forty who wait, on every thread that a pool has, it still sees, acts and proves", async () => {
    const [holder, first] = [await person(), await person()];
    const others = [];
    for (let count = 0; count < 40; count++) others.push(await person());
    await begin(holder, raise(1));
    const freed = [first.run(raise(1))];
    await lookAtWaits(link, first.key);
    for (const one of others) freed.push(one.run(raise(1)));
    // With a pool most of them have not even got a thread to wait on.
    const snapshot = await lookAtWaits(link, first.key);
    const order = orderOnBlocker(snapshot, holder.key, first.key);
    assert.deepEqual(await link.act(order, patience()), { kind: "sent" });
    await Promise.all(freed);
    await isProved(link, order);
    for (const one of [holder, first, ...others]) await one.end();
  });

  test("a session that only rests is ended where that is wanted, and its neighbour is not", async () => {
    const [resting, neighbour] = [await person(), await person()];
    const snapshot = await link.read({ sessions: "all", locks: true }, patience());
    const victim = sessionAt(snapshot, resting.key);
    assert.equal(victim.state, "idle");
    assert.equal(victim.transaction.kind, "none");
    const order = orderAt(snapshot, resting.key);
    const since = { ...order, guard: { ...order.guard, sinceState: true } };
    await resting.run("select 1");
    assert.equal((await link.act(since, patience())).kind, "changed");
    const again = orderAt(await link.read({ sessions: "all", locks: true }, patience()), resting.key);
    assert.deepEqual(await link.act(again, patience()), { kind: "sent" });
    await eventually("its connection is closed", () => resting.isEnded());
    assert.ok(await isWell(neighbour));
    await neighbour.end();
  });

  test("with kill_with the vendor's statement ends it, and that it could not be guarded is said", async () => {
    const vendor = await engineFor(place).connect({ ...place, kill_with: "kill-session" }, patience());
    closing.push(() => vendor.close());
    assert.equal(vendor.capabilities.atomicGuard, false);
    const [holder, innocent] = [await person(), await person()];
    await begin(holder, raise(1));
    const order = orderAt(await lookAtIdleHolder(vendor, holder.key), holder.key);
    const other = onAnotherTransaction(order, "2020-01-01T00:00:00.000001Z");
    assert.notEqual((await vendor.act(other, patience())).kind, "sent");
    const sent = await vendor.act(order, patience());
    assert.ok(sent.kind === "sent" && "unguarded" in sent, JSON.stringify(sent));
    await eventually("the holder's connection is closed", () => holder.isEnded());
    assert.ok(await isWell(innocent));
    await innocent.end();
  });

  test("the server's own threads are never clients", async () => {
    const { sessions } = await link.read({ sessions: "all", locks: true }, patience());
    const internal = sessions.filter(({ client }) => client === null);
    assert.ok(internal.length > 0, "there is at least one");
    for (const one of internal) assert.notEqual(one.role, "client", JSON.stringify(one));
    assert.ok((await look(link)).gaps.length === 0);
  });
}
