import assert from "node:assert/strict";
import { test } from "node:test";
import { createReader } from "../../src/engines/opengauss/snapshot.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { gaussConnection, gaussScene, sessionIn } from "../support/opengauss-look.ts";
import { eventually } from "../support/servers.ts";
import { quiet } from "../support/text-connection.ts";

const double = await openGauss({ threadPool: true });
const here = await gaussScene(double);
const dba = await gaussConnection(double.url("dba"), "dba");
await dba.query("create table account (id int primary key, n int)", [], quiet);
await dba.query("insert into account values (1, 0)", [], quiet);
await dba.query("grant all on account to app, other", [], quiet);
await dba.query("create database shop", [], quiet);
const inShop = await gaussConnection(double.url("dba", "shop"), "dba");
await inShop.query("create table parent (id int)", [], quiet);
await inShop.query("create table basket () inherits (parent)", [], quiet);
await inShop.close();
const asUser = async (user: string, more = {}) => {
  const connection = await gaussConnection(double.url(user));
  return createReader({
    connection,
    product: here.product,
    target: { name: "app" },
    facts: { version: "7.0.0-RC2", serverId: "server", recovery: false, database: "postgres" },
    openOther: (database) => gaussConnection(double.url(user, database)),
    own: [connection.sessionId],
    ...more,
  });
};
await double.createUser({ name: "nobody" });
const blind = await asUser("nobody");
const small = await asUser("lockwarden", { mostLocks: 3 });

test("a calm look shows who is in a transaction, and whether it has written", async () => {
  const writer = await here.person();
  const idler = await here.person("other");
  await writer.run("begin");
  const unasked = { sessions: "transactions", locks: false } as const;
  const calm = { ...unasked, written: true } as const;
  const reader = await asUser("lockwarden");
  const before = sessionIn(await reader.read(calm, quiet), writer);
  assert.equal(before.transaction.kind === "open" && before.transaction.writeId, null);
  await writer.run("update account set n = 1");
  const look = await reader.read(calm, quiet);
  const after = sessionIn(look, writer);
  assert.match((after.transaction.kind === "open" && after.transaction.writeId) || "", /^\d+$/);
  assert.deepEqual([look.waits, look.holds, look.contended], [null, null, false]);
  const { transaction: unread } = sessionIn(await reader.read(unasked, quiet), writer);
  assert.deepEqual({ ...unread, ageMs: 0 }, { ...after.transaction, ageMs: 0, writeId: null, writeUnknown: true });
  assert.equal(
    look.sessions.some(({ sessionId }) => sessionId === idler.sessionId),
    false,
  );
  assert.deepEqual(
    [after.user, after.database, after.superuser, after.application],
    ["app", "postgres", false, "shop"],
  );
  assert.equal(after.client, "127.0.0.1");
  const full = sessionIn(await here.read(), writer);
  assert.deepEqual(
    full.transaction.kind === "open" && [full.transaction.writeId, full.transaction.writeUnknown],
    after.transaction.kind === "open" && [after.transaction.writeId, undefined],
  );
  await writer.end();
  await idler.end();
});

test("administrators are known as such to a role that pg_roles shows only itself, and Lockwarden's own sessions and twins as its own", async () => {
  const snapshot = await here.readAll();
  const of = (application: string) => snapshot.sessions.filter((one) => one.application === application);
  assert.deepEqual(
    of("dba").map(({ superuser }) => superuser),
    [true],
  );
  assert.deepEqual(
    new Set(of("lockwarden").map(({ own, user, superuser }) => `${user} ${own} ${superuser}`)),
    new Set(["lockwarden true false", "nobody false false"]),
  );
  assert.deepEqual([snapshot.engine, snapshot.serverVersion, snapshot.gaps], ["opengauss", "7.0.0-RC2", []]);
});

test("a table of another database has its name, and what it inherits from", async () => {
  const holder = await gaussConnection(double.url("dba", "shop"), "holder");
  await holder.query("begin", [], quiet);
  await holder.query("lock table basket in access exclusive mode", [], quiet);
  const waiter = await gaussConnection(double.url("dba", "shop"), "waiter");
  void waiter.query("select * from basket", [], quiet).catch(() => undefined);
  const [wait] = (await here.readWith(1)).waits ?? [];
  assert.deepEqual(wait?.relation, {
    database: "shop",
    schema: "public",
    name: "basket",
    ancestors: ["public.parent"],
  });
  assert.equal(wait?.waitAt, null);
  await eventually(async () => ((await here.read()).waits?.[0]?.waitMs ?? 0) > 0);
  await holder.query("rollback", [], quiet);
  await holder.close();
  await waiter.close();
});

test("without MONADMIN a blocker is hidden, and people are told", async () => {
  const holder = await here.person();
  await holder.run("begin");
  await holder.run("update account set n = 1");
  const waiter = await here.person("nobody");
  await dba.query("grant all on account to nobody", [], quiet);
  waiter.start("update account set n = 2");
  const look = { sessions: "all", locks: true } as const;
  const snapshot = await eventually(async () => {
    const seen = await blind.read(look, quiet);
    return seen.waits?.length === 1 && seen;
  });
  assert.deepEqual(snapshot.waits?.[0]?.blockers, []);
  assert.equal(snapshot.waits?.[0]?.hiddenBlocker, true);
  assert.match((await blind.read(look, quiet)).gaps.join(), /hidden from our role/);
  const capped = await small.read(look, quiet);
  assert.match(capped.gaps.join(), /more than 3 locks/);
  assert.equal(capped.holds, null);
  await holder.end();
  await waiter.end();
});
