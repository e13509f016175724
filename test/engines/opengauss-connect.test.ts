import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import type { Order } from "../../src/core/decision.ts";
import type { Prepared, Session } from "../../src/core/session.ts";
import { type Link, LinkLost } from "../../src/engines/engine.ts";
import { type GaussSetUp, settings, setUpGauss } from "../../src/engines/opengauss/set-up.ts";
import { type Opened, openAs } from "../../src/engines/postgres/open.ts";
import { recognised } from "../../src/engines/recognised.ts";
import { authority } from "../support/certificates.ts";
import { openGauss } from "../support/opengauss/double.ts";
import type { OpenGaussDouble } from "../support/opengauss/options.ts";
import { client, eventually } from "../support/servers.ts";
import { sharedSession } from "../support/shared-session.ts";
import { patience, target } from "../support/targets.ts";

const certificates = await authority("Test Authority");
const issued = await certificates.issue("localhost", "IP:127.0.0.1");
const tls = { cert: await readFile(issued.cert, "utf8"), key: await readFile(issued.key, "utf8") };
const off = await openGauss({ tls });
const on = await openGauss({ threadPool: true });
const old = await openGauss({ version: "openGauss 1.0.1" });
const doubles = [off, on] as const;
for (const double of [...doubles, old]) {
  await double.createUser({ name: "lockwarden", monadmin: true, signalBackend: true, auth: "sha256" });
  await double.createUser({ name: "blind", signalBackend: true });
  await double.createUser({ name: "app" });
  const admin = await client(double.url());
  await admin.query(
    "create table t (id int primary key, n int default 0); insert into t values (1), (2); grant all on t to app",
  );
  await admin.query("create database shop");
  await admin.end();
}

function connect(url: string, more: Partial<Target> = {}): Promise<Link> {
  return recognised({ engine: undefined }).connect(target(url, more), patience());
}

async function refusal(url: string, more: Partial<Target> = {}): Promise<LinkLost> {
  const error: unknown = await connect(url, more).then(
    (link) => link.close(),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LinkLost, `expected LinkLost, got ${String(error)}`);
  return error;
}

/** One of Lockwarden's own sessions. */
function session(double: OpenGaussDouble, more: Partial<Target> = {}): Promise<Opened & GaussSetUp> {
  const named = { name: "openGauss", version: "7.0.0-RC2" } as const;
  return openAs(
    (wire, login, signal) => setUpGauss(wire, { named, login }, signal),
    {
      target: target(double.url("lockwarden"), more),
      options: {},
    },
    patience(),
  );
}

/** An act on this session or prepared transaction, guarded by its identity alone. */
async function orderFor(link: Link, action: Order["action"], victim: Session | Prepared): Promise<Order> {
  const { at, serverId } = await link.read({ sessions: "transactions", locks: false }, patience());
  return {
    action,
    evidence: { at, serverId, victim, holds: [], waits: [], waiters: [] },
    guard: { sinceState: false, sinceQuery: false, blocks: null, waits: null, notMaintenance: false },
  };
}

async function victimOf(link: Link, application: string): Promise<Session> {
  const { sessions } = await link.read({ sessions: "all", locks: true }, patience());
  const found = sessions.find((one) => one.application === application);
  assert.ok(found !== undefined, `no session of ${application}`);
  return found;
}

for (const double of doubles) {
  const mode = double.threadPool ? "thread pool on" : "thread pool off";

  test(`${mode}: every session carries Lockwarden's own settings, session_timeout first of all`, async () => {
    const opened = await session(double, { statement_timeout: 4_321 });
    const shown = "select lower(name) as name, setting, unit from pg_catalog.pg_settings where lower(name) = any ($1)";
    const wanted = settings({ statement_timeout: 4_321 });
    const rows = await opened.query(shown, [Object.keys(wanted)], patience());
    const got = new Map(rows.map((row) => [row["name"], row["setting"]]));
    for (const [name, value] of Object.entries({ ...wanted, idle_in_transaction_session_timeout: "5000" }))
      if (name === "datestyle") assert.match(got.get(name) ?? "", /^ISO/);
      else assert.equal(got.get(name), value, name);
    assert.equal(got.get("session_timeout"), "0");
    await assert.rejects(opened.query("create table nothing ()", [], patience()), /read-only transaction/);
    assert.equal(opened.direct, true);
    await opened.close();
    assert.equal(
      double.sqlLog.some(({ user, sql }) => user === "lockwarden" && sql.includes("lock_timeout")),
      false,
    );
  });

  test(`${mode}: the link says who answers, and knows both of its sessions`, async () => {
    const link = await connect(double.url("lockwarden", "shop"));
    const version = `7.0.0-RC2 (${mode})`;
    assert.deepEqual(link.facts, {
      engine: "opengauss",
      version,
      role: "lockwarden",
      database: "shop",
      recovery: false,
      encrypted: double === off,
    });
    assert.deepEqual(link.capabilities, {
      atomicGuard: true,
      cancel: true,
      rollbackPrepared: true,
      softBlocks: true,
      waitAge: false,
      transactionAge: true,
      lease: true,
      acts: true,
    });
    const { serverId, engine } = await link.read({ sessions: "all", locks: true }, patience());
    assert.equal(engine, "opengauss");
    // Those of a connection that has just been closed may be listed a moment longer.
    await eventually(async () => {
      const look = await link.read({ sessions: "all", locks: true }, patience());
      return look.sessions.filter((one) => one.own).length === 2;
    });
    const admin = await client(double.backend.url());
    const started =
      "select to_char(pg_postmaster_start_time() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as at";
    assert.equal(serverId, `openGauss/${(await admin.query<{ at: string }>(started)).rows[0]?.at ?? ""}`);
    await admin.end();
    await link.close();
  });

  test(`${mode}: one of two links holds the lease, and while it is idle its session keeps thread and lock`, async () => {
    const first = await connect(double.url("lockwarden"));
    const second = await connect(double.url("lockwarden"));
    const lease = (link: Link) => link.lease(patience());
    assert.deepEqual([await lease(first), await lease(second)], ["held", "taken"]);
    const admin = await client(double.url());
    const holders =
      "select l.pid, l.sessionid, a.pid as thread, a.state from pg_locks l join pg_stat_activity a using (sessionid) where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'";
    const [holder, ...more] = (await admin.query<Record<string, string>>(holders)).rows;
    assert.deepEqual(more, []);
    assert.equal(holder?.["state"], "idle");
    assert.ok(holder["pid"] !== "0" && holder["thread"] === holder["pid"], JSON.stringify(holder));
    // Others come and go on the other threads.
    for (let visit = 0; visit < 6; visit++) await (await client(double.url("app"))).end();
    assert.deepEqual((await admin.query(holders)).rows, [holder]);
    assert.deepEqual([await lease(first), await lease(second)], ["held", "taken"]);
    await first.close();
    await eventually(async () => (await lease(second)) === "held");
    await second.close();
    await admin.end();
  });

  test(`${mode}: half blind, it sends nothing, and with MONADMIN the same order ends the session`, async () => {
    const holder = await client(double.url("app"), { application_name: "holder" });
    await holder.query("begin; update t set n = n + 1 where id = 1");
    const sighted = await connect(double.url("lockwarden"));
    const blind = await connect(double.url("blind"));
    const order = await orderFor(sighted, "terminate", await victimOf(sighted, "holder"));
    const before = double.signalled.length;
    // Sessions of a link that has just been closed may keep their locks a moment longer.
    await eventually(async () => {
      const denied = await blind.act(order, patience());
      assert.ok(denied.kind === "denied" && denied.unsent === true);
      assert.match(
        denied.error,
        double.threadPool
          ? /^3 sessions have locks and cannot be seen by this role/
          : /^1 session has locks and cannot be seen by this role/,
      );
      return true;
    });
    assert.equal(double.signalled.length, before);
    assert.deepEqual(
      await sighted.act({ ...order, evidence: { ...order.evidence, serverId: "another" } }, patience()),
      {
        kind: "changed",
      },
    );
    assert.equal(double.signalled.length, before);
    assert.deepEqual(await sighted.act(order, patience()), { kind: "sent" });
    await eventually(async () => !(await sighted.prove(order.evidence, patience())).alive);
    await Promise.all([sighted.close(), blind.close(), holder.end().catch(() => undefined)]);
  });

  test(`${mode}: a probe works, is stuck at a lock, or fails, and leaves nothing behind`, async () => {
    const link = await connect(double.url("dba"), { statement_timeout: 60_000 });
    const holder = await client(double.url("app"));
    const probe = (sql: string, timeout = 20_000) => link.probe({ sql, timeout }, patience());
    assert.equal((await probe("update public.t set n = n + 1 where id = 2")).kind, "works");
    await holder.query("begin; update t set n = n + 1 where id = 2");
    const stuck = await probe("update public.t set n = n + 1 where id = 2", 300);
    assert.equal(stuck.kind, "stuck");
    assert.ok(stuck.ms >= 300, String(stuck.ms));
    const nowait = await probe("select id from public.t where id = 2 for update nowait");
    assert.equal(nowait.kind, "stuck");
    // It runs out of time, and never at a lock.
    assert.equal((await probe("select pg_sleep(30)", 300)).kind, "failed");
    assert.equal((await probe("select nothing")).kind, "failed");
    await holder.query("rollback");
    assert.equal((await probe("update public.t set n = n + 1 where id = 2")).kind, "works");
    assert.equal((await holder.query("select n from t where id = 2")).rows[0]?.n, 0);
    await holder.end();
    await link.close();
  });

  test(`${mode}: a prepared transaction is rolled back by whom the server lets, and only if it is the one that was judged`, async () => {
    const someone = await client(double.url("app"));
    const prepare = async (): Promise<void> => {
      await someone.query("begin");
      await someone.query("update t set n = n + 1 where id = 1");
      await someone.query("prepare transaction 'held'");
    };
    await prepare();
    const watch = await connect(double.url("lockwarden"));
    const admin = await connect(double.url());
    const seen = async (): Promise<Prepared> => {
      const look = await watch.read({ sessions: "transactions", locks: true, prepared: true }, patience());
      assert.equal(look.prepared.length, 1);
      return look.prepared[0] as Prepared;
    };
    const first = await orderFor(watch, "rollback-prepared", await seen());
    const denied = await watch.act(first, patience());
    assert.equal(denied.kind, "denied");
    assert.match("error" in denied ? denied.error : "", /only the user who prepared it and system administrators may$/);
    await someone.query("rollback prepared 'held'");
    assert.deepEqual(await admin.act(first, patience()), { kind: "gone" });
    await prepare();
    assert.deepEqual(await admin.act(first, patience()), { kind: "changed" });
    const second = await orderFor(watch, "rollback-prepared", await seen());
    const edge = { waiterPid: "7", blockerPid: "0", lock: "none", mode: "ShareLock", counts: true };
    const behind = { ...second, guard: { ...second.guard, blocks: { edges: [edge], waiters: 1 } } };
    assert.deepEqual(await admin.act(behind, patience()), { kind: "changed" });
    assert.deepEqual(await admin.act(second, patience()), { kind: "sent" });
    await eventually(async () => !(await watch.prove(second.evidence, patience())).sameTransaction);
    await Promise.all([watch.close(), admin.close(), someone.end()]);
  });

  for (const [count, what] of [
    [1, "two connections are one session"],
    [3, "one connection is two sessions"],
  ] as const)
    test(`${mode}: where ${what} on the server, a pooler stands in between: it is refused, and nothing is left on a session of others`, async () => {
      const port = await sharedSession(double.url(), count);
      const before = double.sqlLog.length;
      const error = await refusal(`postgres://anybody@127.0.0.1:${port}/postgres?sslmode=disable`);
      assert.equal(error.kind, "refused");
      assert.ok(error.message.includes(`a connection pooler stands in between: ${what}`), error.message);
      assert.match(error.hint ?? "", /^connect to the server directly/);
      // Whoever is given that session next must not find it read-only.
      const left = double.sqlLog.slice(before).filter(({ sql }) => sql.includes("set_config"));
      assert.deepEqual(left, []);
    });
}

test("with the thread pool both of its sessions keep a thread while they are idle, so that a full pool stops neither", async () => {
  const threads = "select pid, state from pg_stat_activity where application_name = 'lockwarden' order by sessionid";
  const admin = await client(on.url());
  const [one, two] = [await connect(on.url("lockwarden", "shop")), await connect(on.url("lockwarden"))];
  // Those of a link that has just been closed may be listed a moment longer.
  await eventually(async () => {
    const { rows } = await admin.query<Record<string, string>>(threads);
    assert.deepEqual(
      rows.map(({ pid, state }) => [pid === "0", state]),
      Array.from({ length: 4 }, () => [false, "idle"]),
    );
    return true;
  });
  await Promise.all([one.close(), two.close(), admin.end()]);
  assert.equal(
    off.sqlLog.some(({ sql }) => sql.includes("lockwarden:thread")),
    false,
  );
});

test("with kill_with the vendor's statement ends the session, and that it could not be guarded is said", async () => {
  const holder = await client(on.url("app"), { application_name: "unguarded" });
  await holder.query("begin; update t set n = n + 1 where id = 1");
  const link = await connect(on.url("lockwarden"), { kill_with: "kill-session" });
  assert.equal(link.capabilities.atomicGuard, false);
  const sent = await link.act(await orderFor(link, "terminate", await victimOf(link, "unguarded")), patience());
  assert.equal(sent.kind, "sent", JSON.stringify(sent));
  assert.match("unguarded" in sent ? (sent.unguarded ?? "") : "", /cannot be guarded in one statement/);
  const texts = on.sqlLog.filter(({ sql }) => /kill\s+session/i.test(sql)).map(({ sql }) => sql);
  assert.match(texts.at(-1) ?? "", /^alter system kill session '\d+,\d+'$/);
  assert.deepEqual([...new Set(texts.slice(0, -1))], ["alter system kill session '1,9223372036854775807'"]);
  assert.equal(
    off.sqlLog.some(({ sql }) => /kill\s+session/i.test(sql)),
    false,
  );
  await link.close();
  await holder.end().catch(() => undefined);
});

test("it logs in by sha256 over TLS", async () => {
  const link = await connect(`${off.url("lockwarden")}?sslmode=verify-full&sslrootcert=${certificates.file}`);
  assert.equal(link.facts.encrypted, true);
  await link.close();
});

test("a wrong password is one, whether the server counts iterations as usual or not, and none is sent to a forger", async () => {
  await on.createUser({ name: "few", monadmin: true, auth: "sha256", iterations: 2_048 });
  await (await connect(on.url("few"))).close();
  await on.createUser({ name: "forged", monadmin: true, auth: "sha256", forged: true });
  const before = on.answers.length;
  for (const url of [on.url("forged"), `postgres://lockwarden:Wrong%40123@127.0.0.1:${on.port}/postgres`]) {
    const error = await refusal(url);
    assert.deepEqual([error.kind, error.wrongPassword], ["denied", true], error.message);
  }
  assert.equal(on.answers.length, before);
  const md5 = await refusal(`postgres://blind:Wrong%40123@127.0.0.1:${on.port}/postgres`);
  assert.deepEqual([md5.kind, md5.wrongPassword], ["denied", true]);
  assert.match(md5.message, /Invalid username\/password,login denied\.$/);
});

test("who cannot be let in is told why, and the way out", async () => {
  await on.createUser({ name: "mixed", auth: "md5-sha256" });
  await on.createUser({ name: "chinese", auth: "sm3" });
  const table: readonly [string, RegExp, RegExp][] = [
    [on.url("mixed"), /authentication method 11/, /sha256 instead of md5/],
    [on.url("chinese"), /authentication method 13/, /password_encryption_type = 2/],
    [on.url("omm"), /Forbid remote connection with initial user/, /lockwarden grants/],
  ];
  for (const [url, said, hint] of table) {
    const error = await refusal(url);
    assert.match(error.message, said);
    assert.match(error.hint ?? "", hint);
    assert.equal(error.wrongPassword, false);
  }
  const leader = await refusal(on.url("lockwarden"), { leader_database: "nowhere" });
  assert.match(leader.message, /leader_database, where daemons agree on who acts/);
});

test("what KILL SESSION calls is asked only where it is needed, and in the one way that hits nobody", async () => {
  const asked = (double: OpenGaussDouble) => double.sqlLog.filter(({ sql }) => /kill\s+session/i.test(sql));
  assert.deepEqual(asked(off), []);
  const opened = await session(old);
  assert.deepEqual(opened.product, {
    name: "openGauss",
    version: "7.0.0-RC2",
    threadPool: false,
    terminateSession: false,
    cancelSession: false,
    activity: "pg_catalog.pg_stat_activity",
    lockTags: false,
    walSenders: true,
    emptyIsNull: true,
    killSession: "pg_terminate_backend",
  });
  const newer = await session(on);
  assert.equal(newer.product.activity, "pg_catalog.pg_stat_get_activity(null)");
  await newer.close();
  await opened.close();
  assert.deepEqual(
    asked(old).map(({ sql }) => sql),
    ["alter system kill session '1,9223372036854775807'"],
  );
  assert.deepEqual(old.signalled, []);
});
