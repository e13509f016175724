import assert from "node:assert/strict";
import { test } from "node:test";
import { type ActingProduct, wayOf } from "../../src/engines/opengauss/guard.ts";
import { killSessionRefusal, killSessionSql } from "../../src/engines/opengauss/kill-session.ts";
import type { Product } from "../../src/engines/opengauss/product.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { type Client, gaussScene, orderOn, product } from "../support/opengauss-look.ts";
import { eventually } from "../support/servers.ts";

// Where a server lacks a function, or ALTER SYSTEM KILL SESSION is asked for.

const old: Partial<Product> = { terminateSession: false, cancelSession: false, lockTags: false, killSession: null };
const oldest = await openGauss({ version: "openGauss 1.0.1" });
const plain = await gaussScene(oldest, old);
// By thread, as before openGauss 6, with the pool on: nothing here is safe.
const poolByThread = await openGauss({
  threadPool: true,
  killGrammar: "backend",
  missing: ["pg_terminate_session", "pg_cancel_session"],
});
const unsafe = await gaussScene(poolByThread, { ...old, lockTags: true, killSession: "pg_terminate_backend" });
const poolBySession = await openGauss({ threadPool: true });
const bySession = await gaussScene(poolBySession);

const said = (double: typeof oldest, what: RegExp) =>
  double.sqlLog.filter(({ user, sql }) => user === "lockwarden" && what.test(sql)).map(({ sql }) => sql);
const isWell = async (one: Client) => (await one.run("select 1 as one"))[0]?.["one"] === "1";
const ended = (one: Client) => eventually(() => one.isEnded());
const killWith = { killWith: "kill-session" } as Partial<ActingProduct>;

test("the way to a session: by its id where the server can, by its thread only without a thread pool", () => {
  const ways: [Partial<ActingProduct>, "cancel" | "terminate", string][] = [
    [{}, "terminate", "pg_terminate_session"],
    [{}, "cancel", "pg_cancel_session"],
    [{ threadPool: true }, "terminate", "pg_terminate_session"],
    [{ threadPool: true }, "cancel", "pg_cancel_session"],
    [old, "terminate", "pg_terminate_backend"],
    [old, "cancel", "pg_cancel_backend"],
    [{ ...old, threadPool: true }, "terminate", "kill-session"],
    [{ ...old, threadPool: true }, "cancel", "impossible"],
    [{ killWith: "kill-session" }, "terminate", "kill-session"],
    [{ killWith: "kill-session" }, "cancel", "pg_cancel_session"],
    [{ killWith: "guarded" }, "terminate", "pg_terminate_session"],
  ];
  for (const [more, action, expected] of ways) {
    const way = wayOf(action, { ...product, ...more });
    assert.equal("way" in way ? way.way : "impossible", expected, `${action} ${JSON.stringify(more)}`);
  }
});

test("ALTER SYSTEM KILL SESSION is written of digits alone, and never where it means a thread of the pool", () => {
  assert.equal(killSessionSql("0", "12"), "alter system kill session '0,12'");
  for (const [pid, id] of [
    ["", "1"],
    ["1", "-1"],
    ["1' or '1", "1"],
    ["1", "12345678901234567890"],
    ["1", "1\n"],
    ["١", "1"],
  ] as const)
    assert.equal(killSessionSql(pid, id), null, `${pid},${id}`);
  const pooled = { ...product, threadPool: true };
  assert.equal(killSessionRefusal(pooled, "139942466406080", "3"), null);
  assert.match(
    killSessionRefusal({ ...pooled, killSession: "pg_terminate_backend" }, "139942466406080", "3") ?? "",
    /never/,
  );
  assert.match(killSessionRefusal({ ...pooled, killSession: null }, "139942466406080", "3") ?? "", /not known/);
  assert.match(killSessionRefusal({ ...product, killSession: null }, "3", "3") ?? "", /not known/);
  assert.match(killSessionRefusal(pooled, "139941325539008", "139941325539008") ?? "", /server's own/);
});

test("the oldest servers are read and acted on too: by the thread, guarded as everywhere", async () => {
  const holder = await plain.person();
  await holder.run("begin");
  await holder.run("create temp table t (i int)");
  await holder.run("select pg_advisory_lock(1)");
  const waiter = await plain.person("other");
  waiter.start("select pg_advisory_lock(1)");
  const snapshot = await plain.readWith(1);
  assert.deepEqual(snapshot.waits?.[0]?.blockers, [{ node: holder.sessionId, soft: false }]);
  const order = orderOn(snapshot, holder);
  const cancel = { ...orderOn(snapshot, waiter), action: "cancel" as const };
  assert.deepEqual(await plain.send(cancel), { kind: "sent" });
  await eventually(async () => (await plain.read()).waits?.length === 0);
  await holder.run("select 1");
  assert.deepEqual(await plain.send(order), { kind: "changed" });
  assert.equal(await isWell(holder), true);
  assert.deepEqual(await plain.send(orderOn(await plain.read(), holder)), { kind: "sent" });
  await ended(holder);
});

test("a pool whose server knows only threads: nothing is sent at all, and why is said", async () => {
  const victim = await unsafe.person();
  await victim.run("begin");
  const order = orderOn(await unsafe.read(), victim);
  const terminate = await unsafe.send(order);
  const cancel = await unsafe.send({ ...order, action: "cancel" });
  assert.deepEqual([terminate.kind, cancel.kind], ["failed", "failed"]);
  assert.match("error" in terminate ? terminate.error : "", /thread pool is on: it is never sent/);
  assert.match("error" in cancel ? cancel.error : "", /no pg_cancel_session/);
  assert.deepEqual(said(poolByThread, /terminate|cancel|kill/i), []);
  assert.equal(poolByThread.signalled.length, 0);
  assert.equal(await isWell(victim), true);
});

test("configured, ALTER SYSTEM KILL SESSION is sent right after the session was read again, and that it was not guarded is said", async () => {
  const victim = await bySession.person();
  await victim.run("begin");
  const before = await bySession.read();
  await victim.run("select 1");
  assert.deepEqual(await bySession.send(orderOn(before, victim), killWith), { kind: "changed" });
  const wrong = await bySession.send(orderOn(before, victim), { ...killWith, killSession: null });
  assert.equal(wrong.kind, "failed");
  assert.deepEqual(said(poolBySession, /kill session/), []);
  assert.equal(await isWell(victim), true);
  const order = orderOn(await bySession.read(), victim);
  const sent = await bySession.send(order, killWith);
  assert.equal(sent.kind, "sent");
  assert.match(sent.kind === "sent" ? (sent.unguarded ?? "") : "", /cannot be guarded in one statement/);
  await ended(victim);
  const { pid } = order.evidence.victim as { pid: string };
  assert.deepEqual(said(poolBySession, /kill session/), [`alter system kill session '${pid},${victim.sessionId}'`]);
  await eventually(async () => (await bySession.send(order, killWith)).kind === "gone");
  assert.equal(said(poolBySession, /kill session/).length, 1);
});

test("a column that was not expected says that something else ran: the act is uncertain, not sent", async () => {
  const victim = await bySession.person();
  await victim.run("begin");
  const order = orderOn(await bySession.read(), victim);
  const odd = { ...bySession.connection, query: bySession.connection.query };
  const { act } = await import("../../src/engines/opengauss/guard.ts");
  const renaming = {
    ...odd,
    query: async (...asked: Parameters<typeof odd.query>) =>
      asked[0].startsWith("alter") ? [{ pg_terminate_backend: "t" }] : await odd.query(...asked),
  };
  const sent = await act(renaming, order, { ...bySession.product, ...killWith }, new AbortController().signal);
  assert.equal(sent.kind, "uncertain");
  assert.equal(await isWell(victim), true);
});
