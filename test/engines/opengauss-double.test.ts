import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { openGauss } from "../support/opengauss/double.ts";
import type { OpenGaussDouble } from "../support/opengauss/options.ts";
import { failureOf, person } from "../support/opengauss/person.ts";
import { client } from "../support/servers.ts";

// What the double shows, beside rows that a live server showed; the acts are in opengauss-double-acts.test.ts.

type Rows = readonly Readonly<Record<string, unknown>>[];
type Recorded = Readonly<
  Record<"rowLock" | "rowLockLocks" | "rowLockWaits" | "afterKill" | "preparedLocks" | "preparedWaits", Rows>
>;

const file = "test/fixtures/opengauss-double/recorded.json";
const recorded = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<"threadPoolOff" | "threadPoolOn", Recorded>>;

async function prepare(double: OpenGaussDouble) {
  await double.createUser({ name: "app" });
  await double.createUser({ name: "nosy" });
  await double.createUser({ name: "watch", monadmin: true, signalBackend: true });
  const dba = await person(double, "dba");
  await dba.rows(
    "create table public.t (id int, v int); insert into public.t select n, 0 from generate_series(1, 9) n",
  );
  await dba.rows("grant all on public.t to public");
  const live = double.threadPool ? recorded.threadPoolOn : recorded.threadPoolOff;
  return { double, dba, live, watch: await person(double, "watch"), how: double.threadPool ? "pooled" : "unpooled" };
}

const unpooled = await prepare(await openGauss({ threadPool: false }));
const pooled = await prepare(await openGauss({ threadPool: true }));
const { dba } = unpooled;

const activitySql = `select pid, sessionid, application_name, state, waiting, xact_start is not null as x,
  client_port > 0 as cp, client_addr from pg_stat_activity where application_name = any ($1) order by application_name`;
const locksSql = `select l.locktype, c.relname as rel, l.transactionid, l.pid, l.sessionid, l.mode, l.granted, l.fastpath,
  l.locktag, l.global_sessionid, l.virtualtransaction from pg_locks as l left join pg_class as c on c.oid = l.relation
  where c.relname = 't' or l.locktype = 'transactionid'`;
const waitsSql = `select thread_name, tid, sessionid, lwtid, wait_status, wait_event, locktag, lockmode, block_sessionid,
  global_sessionid from pg_thread_wait_status where wait_status = 'acquire lock'`;

/** Ids and transactions without their values, so that the rows of two servers compare. */
function likeness(rows: Rows, columns: readonly string[]): readonly string[] {
  const told = (column: string, value: unknown): unknown => {
    if (typeof value === "boolean") return value ? "t" : "f";
    if (column === "virtualtransaction") return String(value).startsWith("-1/") ? "prepared" : "session";
    if (column === "locktag") return String(value).replaceAll(/[0-9a-f]+(?=:)/g, (part) => (part === "0" ? "0" : "n"));
    if (!["pid", "sessionid", "transactionid", "block_sessionid", "tid"].includes(column)) return value ?? null;
    return value === null || value === "0" ? value : "some";
  };
  // An UPDATE of openGauss holds AccessShareLock, too: the one known difference.
  const kept = rows.filter((row) => row["mode"] !== "AccessShareLock");
  return kept.map((row) => JSON.stringify(columns.map((column) => told(column, row[column])))).toSorted();
}

const peopleColumns = ["pid", "sessionid", "application_name", "state", "waiting", "x", "cp", "client_addr"];
const lockColumns = ["locktype", "rel", "transactionid", "pid", "sessionid", "mode", "granted", "fastpath", "locktag"];
const ofLocks = [...lockColumns, "global_sessionid", "virtualtransaction"];
const waitColumns = [
  "thread_name",
  "tid",
  "sessionid",
  "wait_status",
  "wait_event",
  "locktag",
  "lockmode",
  "block_sessionid",
];

for (const { double, dba: sysadmin, live, watch, how } of [unpooled, pooled]) {
  const waiting = (count: number) =>
    eventually(`${count} wait`, async () => {
      const rows = await watch.rows(waitsSql);
      return rows.length === count ? rows : null;
    });

  test(`a row lock looks as it did on a live server, ${how}`, async () => {
    const holder = await person(double, "app", "holder");
    const waiter = await person(double, "app", "waiter");
    await holder.rows("begin; update public.t set v = 1 where id = 1");
    await waiter.rows("begin");
    const ended = waiter.start("update public.t set v = 2 where id = 1");
    const waits = await waiting(1);
    assert.equal(waits[0]?.["block_sessionid"], holder.sessionId);
    assert.equal(waits[0]["sessionid"], waiter.sessionId);
    assert.deepEqual(likeness(waits, waitColumns), likeness(live.rowLockWaits, waitColumns));
    const people = await watch.rows(activitySql, [["holder", "waiter"]]);
    assert.deepEqual(likeness(people, peopleColumns), likeness(live.rowLock, peopleColumns));
    assert.deepEqual(likeness(await watch.rows(locksSql), ofLocks), likeness(live.rowLockLocks, ofLocks));
    await holder.rows("rollback");
    assert.equal(await ended, "done");
    await waiter.rows("rollback");
    const idle = await watch.rows(activitySql, [["waiter"]]);
    assert.deepEqual(likeness(idle, peopleColumns), likeness(live.afterKill, peopleColumns));
  });

  test(`a prepared transaction holds locks without a pid, under the id of the session that prepared it, ${how}`, async () => {
    const preparing = await person(double, "app", "preparing");
    const waiter = await person(double, "app", "");
    await preparing.rows("begin; update public.t set v = 1 where id = 2");
    await preparing.rows("prepare transaction 'gx1'");
    const ended = waiter.start("update public.t set v = 2 where id = 2");
    const waits = await waiting(1);
    assert.equal(waits[0]?.["block_sessionid"], preparing.sessionId);
    assert.deepEqual(likeness(waits, waitColumns), likeness(live.preparedWaits, waitColumns));
    assert.deepEqual(likeness(await watch.rows(locksSql), ofLocks), likeness(live.preparedLocks, ofLocks));
    const [own] = await preparing.rows("select pg_current_sessid()::text as id");
    assert.equal(own?.["id"], preparing.sessionId, "whoever prepared it is there, and holds nothing");
    await sysadmin.rows("rollback prepared 'gx1'");
    assert.equal(await ended, "done");
  });

  test(`of a queue the one ahead is shown, and of two holders the first, ${how}`, async () => {
    const [first, second, exclusive, last] = [
      await person(double, "app", "first"),
      await person(double, "app", "second"),
      await person(double, "dba", "exclusive"),
      await person(double, "app", "last"),
    ];
    for (const one of [first, second]) await one.rows("begin; lock table public.t in access share mode");
    const queued = exclusive.start("begin; lock table public.t in access exclusive mode");
    await waiting(1);
    const behind = last.start("select count(*) from public.t");
    const blockers = async () =>
      Object.fromEntries((await waiting(2)).map((row) => [row["thread_name"], row["block_sessionid"]]));
    assert.deepEqual(await blockers(), { exclusive: first.sessionId, last: exclusive.sessionId });
    await first.rows("rollback");
    assert.deepEqual(await blockers(), { exclusive: second.sessionId, last: exclusive.sessionId });
    await second.rows("rollback");
    assert.equal(await queued, "done");
    await exclusive.rows("rollback");
    assert.equal(await behind, "done");
  });

  test(`internal workers have neither client nor port, and one of them has a transaction, ${how}`, async () => {
    const sql =
      "select application_name, pid, sessionid, state, query, xact_start is not null as x from pg_stat_activity where client_port is null and usesysid = 10";
    const workers = await watch.rows(sql);
    assert.equal(workers.length, 9);
    assert.ok(workers.every((row) => row["pid"] === row["sessionid"] && row["pid"]?.length === 15));
    assert.deepEqual(
      workers.filter((row) => row["x"] === "t").map((row) => [row["application_name"], row["state"]]),
      [["workload", "active"]],
    );
    const active = workers.filter((row) => row["state"] === "active").map((row) => row["application_name"] ?? "");
    assert.deepEqual(new Set(active), new Set(["Asp", "JobScheduler", "PercentileJob", "workload"]));
    assert.equal(workers.filter((row) => row["state"] === "idle" && row["query"] === "").length, 5);
  });

  test(`who may not look is shown no role but his own, MONADMIN or not, ${how}`, async () => {
    assert.deepEqual(await watch.rows("select rolname, rolmonitoradmin from pg_roles"), [
      { rolname: "watch", rolmonitoradmin: "t" },
    ]);
    const { dba: admin } = double.threadPool ? pooled : unpooled;
    assert.ok((await admin.rows("select rolname from pg_roles")).length > 1);
  });

  test(`a session that has not said anything yet has no state in a pool, and rests without one, ${how}`, async () => {
    const silent = await client(double.url("app"), { application_name: "silent" });
    const look = async () =>
      (
        await watch.rows(
          "select state, query, state_change is null as x from pg_stat_activity where application_name = 'silent'",
        )
      )[0];
    assert.deepEqual(
      await look(),
      double.threadPool ? { state: null, query: null, x: "t" } : { state: "idle", query: "", x: "f" },
    );
    await silent.query("select 1");
    await eventually("it rests", async () => (await look())?.["state"] === "idle");
    await silent.end();
  });

  test(`who may not look sees itself alone in the activity, and everybody's locks, ${how}`, async () => {
    const holder = await person(double, "app", "holder");
    const nosy = await person(double, "nosy");
    await holder.rows("begin; update public.t set v = 1 where id = 3");
    const seen = await nosy.rows("select application_name from pg_stat_activity");
    assert.deepEqual(seen, [{ application_name: "nosy" }]);
    const locks = await nosy.rows("select 1 from pg_locks where sessionid = $1", [holder.sessionId]);
    assert.notEqual(locks.length, 0);
    const threads = await nosy.rows(
      "select wait_status is null as hidden, count(*) from pg_thread_wait_status group by 1",
    );
    assert.deepEqual(Object.fromEntries(threads.map((row) => [row["hidden"], Number(row["count"]) > 1])), {
      f: false,
      t: true,
    });
    await holder.rows("rollback");
  });

  test(`a transaction that has failed has no start, ${how}`, async () => {
    const failing = await person(double, "app", "failing");
    assert.match(await failing.start("begin; select 1 / 0"), /^22012/);
    const [row] = await watch.rows(activitySql, [["failing"]]);
    assert.deepEqual([row?.["state"], row?.["x"]], ["idle in transaction (aborted)", "f"]);
    assert.notEqual(row?.["pid"], "0");
  });
}

test("a session of the pool has a pid only while it works, is in a transaction or holds a lock of its own", async () => {
  const { double, watch } = pooled;
  const one = await person(double, "app", "coming and going");
  const pid = async () => (await watch.rows(activitySql, [["coming and going"]]))[0]?.["pid"];
  assert.equal(await pid(), "0");
  for (const [take, leave] of [
    ["begin", "commit"],
    ["select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"],
  ] as const) {
    await one.rows(take);
    assert.notEqual(await pid(), "0", take);
    await one.rows(leave);
    assert.equal(await pid(), "0", leave);
  }
});

const sayings: readonly (readonly [sql: string, answer: string])[] = [
  ["select pg_blocking_pids(1)", "42883 function pg_blocking_pids(integer) does not exist"],
  ["select current_setting('x', true)", "42883 function current_setting(unknown, boolean) does not exist"],
  ["select array_position(array[1], 1)", "42883 function array_position(integer[], integer) does not exist"],
  ["select cardinality(array[1])", "42883 function cardinality(integer[]) does not exist"],
  ["select jsonb_build_object('a', 1)", "42883 function jsonb_build_object(unknown, integer) does not exist"],
  ["select to_regclass('t')", "42883 function to_regclass(unknown) does not exist"],
  ["select 'public'::regnamespace", '42704 type "regnamespace" does not exist'],
  ["select * from unnest(array['a','b']) with ordinality", '42601 syntax error at or near "with"'],
  ["insert into public.t values (1, 1) on conflict do nothing", '42601 syntax error at or near "conflict"'],
  ["set lock_timeout = '1s'", '42704 unrecognized configuration parameter "lock_timeout"'],
  ["select set_config('lock_timeout', '1s', true)", '42704 unrecognized configuration parameter "lock_timeout"'],
  ["select wait_event from pg_stat_activity", '42703 column "wait_event" does not exist'],
  ["select backend_type from pg_stat_activity", '42703 column "backend_type" does not exist'],
  ["select waitstart from pg_locks", '42703 column "waitstart" does not exist'],
  ["listen foo", "0A000 LISTEN statement is not yet supported."],
  [
    "set enable_thread_pool = on",
    '55P02 parameter "enable_thread_pool" cannot be changed without restarting the server',
  ],
];

test("what openGauss lacks is refused in its words, as text and as a prepared statement", async () => {
  for (const [sql, answer] of sayings) {
    assert.equal(await dba.start(sql), answer);
    assert.equal(await dba.client.query({ text: sql, name: sql.slice(0, 60) }).catch(failureOf), answer, sql);
    assert.equal(await dba.start("select 1"), "done");
  }
});

test("an own refusal fails the transaction like any other error", async () => {
  await dba.rows("begin");
  assert.match(await dba.start("listen foo"), /^0A000/);
  assert.match(await dba.start("select 1"), /^25P02/);
  await dba.rows("rollback");
});

const answers: readonly (readonly [sql: string, value: string | null])[] = [
  ["show server_version", "9.2.4"],
  ["select pg_catalog.current_setting('server_version_num')", "90204"],
  ["select 1 where '' is null", "1"],
  ["select coalesce('', 'null')", "null"],
  ["select 'a' || ''", "a"],
  ["show sql_compatibility", "A"],
  ["show session_timeout", "600"],
  ["show lockwait_timeout", "1200000"],
  ["select setting from pg_settings where name = 'update_lockwait_timeout'", "120000"],
  ["select working_version_num()", "93060"],
  ["select opengauss_version()", "7.0.0-RC2"],
  ["select count(*) from pg_proc where proname in ('pg_terminate_session', 'pg_cancel_session') and pronargs = 2", "2"],
  ["select count(*) from pg_catalog.pg_proc where proname = 'pg_blocking_pids'", "0"],
  ["select 140023835895488 = any (array['140023835895488']::int8[])", "t"],
  ["select string_agg(x::text, ',' order by x) from generate_series(1, 3) x", "1,2,3"],
  ["select application_name as pg_locks from pg_stat_activity where sessionid = pg_current_sessid()", "dba"],
  ["select 'pg_catalog.pg_locks' /* pg_locks */ -- version()", "pg_catalog.pg_locks"],
];

test("settings, versions and texts are those of a 7.0.0-RC2", async () => {
  for (const [sql, value] of answers) assert.equal(Object.values((await dba.rows(sql))[0] ?? {})[0], value, sql);
  assert.equal(Object.values((await dba.rows("select 1 where $1::text is null", [""]))[0] ?? {})[0], "1", "a bound ''");
  await dba.rows("set session_timeout = 0");
  assert.deepEqual(await dba.rows("show session_timeout"), [{ session_timeout: "0" }]);
  const sql = "select setting, reset_val from pg_settings where name = 'session_timeout'";
  assert.deepEqual(await dba.rows(sql), [{ setting: "0", reset_val: "600" }]);
});

test("a database made later has the same catalog", async () => {
  const { double } = unpooled;
  await dba.rows("create database shop");
  const there = await client(double.url("app", "shop"));
  const { rows } = await there.query("select datname from pg_stat_activity where sessionid = pg_current_sessid()");
  assert.deepEqual(rows, [{ datname: "shop" }]);
  await there.end();
});
