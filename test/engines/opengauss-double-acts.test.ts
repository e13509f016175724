import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { openGauss } from "../support/opengauss/double.ts";
import type { OpenGaussDouble } from "../support/opengauss/options.ts";
import { type Person, person } from "../support/opengauss/person.ts";

// The functions that signal, with their truth table, and every hazard of a naive call.

async function prepare(double: OpenGaussDouble) {
  await double.createUser({ name: "app" });
  await double.createUser({ name: "owner" });
  await double.createUser({ name: "stubborn", persistence: true });
  await double.createUser({ name: "watch", monadmin: true, signalBackend: true });
  const dba = await person(double, "dba");
  await dba.rows(
    "create table public.t (id int, v int); insert into public.t select n, 0 from generate_series(1, 9) n",
  );
  await dba.rows("grant all on public.t to public");
  return { double, dba, watch: await person(double, "watch"), how: double.threadPool ? "pooled" : "unpooled" };
}

const unpooled = await prepare(await openGauss({ threadPool: false }));
const pooled = await prepare(await openGauss({ threadPool: true }));
const old = await prepare(await openGauss({ threadPool: true, version: "openGauss 5.0.0" }));
const oldest = await prepare(await openGauss({ threadPool: false, version: "openGauss 1.0.1" }));
const frozen = await openGauss({ onlineDdlLock: true });

const killed = "FATAL 57P01 terminating connection due to administrator command";
const closed = "Connection terminated unexpectedly";
const mayNot =
  "42501 must have sysadmin privilege or a member of the gs_role_signal_backend role or the owner of the database " +
  "or the same user to terminate other backend";
const noSession = "WARNING Invalid session control index -1, maxReserveSessionCount 165, m_maxActiveSessionCount 454";

/** In a transaction; with the pid that it has in it. */
async function busy(double: OpenGaussDouble, user = "app"): Promise<Person & Readonly<{ now: string }>> {
  const one = await person(double, user);
  await one.rows("begin");
  const [row] = await one.rows("select pg_backend_pid() as pid");
  return { ...one, now: row?.["pid"] ?? "" };
}

async function value(asker: Person, sql: string): Promise<string | null | undefined> {
  return Object.values((await asker.rows(sql))[0] ?? {})[0];
}

/** Until the connection is lost, then how. */
async function lossOf(one: Person): Promise<readonly string[]> {
  return eventually("the connection is lost", () => (one.losses.includes(closed) ? one.losses : null));
}

async function lives(one: Person): Promise<void> {
  assert.equal(await one.start("select 1"), "done");
  assert.deepEqual(one.losses, []);
}

for (const { double, dba, watch, how } of [unpooled, pooled]) {
  test(`a session that works is ended with 57P01, and its id is unknown afterwards, ${how}`, async () => {
    const victim = await busy(double);
    const kill = `alter system kill session '${victim.now}, ${victim.sessionId}' IMMEDIATE`;
    assert.deepEqual(await watch.rows(kill), [{ pg_terminate_session: "t" }]);
    assert.deepEqual(await lossOf(victim), [killed, closed]);
    assert.deepEqual(await dba.rows(kill), [{ pg_terminate_session: "f" }]);
    const warning = double.threadPool ? noSession : `WARNING PID ${victim.now} is not a gaussdb server thread`;
    assert.equal(dba.notices.at(-1), warning);
    assert.equal(await watch.start(kill), double.threadPool ? "done" : mayNot, "to an ordinary user");
    await eventually("the double tells of it", () =>
      double.signalled.some((one) => one.sessionId === victim.sessionId),
    );
  });

  test(`a running statement ends with the error itself, ${how}`, async () => {
    const victim = await busy(double);
    const ended = victim.start("select pg_sleep(300)");
    assert.equal(await value(watch, `select pg_terminate_session(${victim.now}, ${victim.sessionId})`), "t");
    assert.equal(await ended, "57P01 terminating connection due to administrator command");
  });

  test(`a cancelled statement leaves its session, ${how}`, async () => {
    const victim = await busy(double);
    const ended = victim.start("select pg_sleep(300)");
    await eventually("it runs", async () => {
      const sql = `select count(*) from pg_stat_activity where sessionid = ${victim.sessionId} and state = 'active'`;
      return (await value(watch, sql)) === "1";
    });
    assert.equal(await value(watch, `select pg_cancel_session(${victim.now}, ${victim.sessionId})`), "t");
    assert.equal(await ended, "57014 canceling statement due to user request");
    await victim.rows("rollback");
    await lives(victim);
  });

  test(`one guarded statement ends the session that was seen, and nobody who took its place, ${how}`, async () => {
    const victim = await busy(double);
    const sql = `select pg_catalog.pg_terminate_session(a.pid, a.sessionid) as ok from pg_catalog.pg_stat_activity a
      where a.pid = $1::int8 and a.sessionid = $2::int8 and a.backend_start = $3::timestamptz and a.xact_start = $4::timestamptz`;
    const seenSql = `select pid, sessionid, backend_start::text, xact_start::text from pg_stat_activity where sessionid = ${victim.sessionId}`;
    const seen = Object.values((await watch.rows(seenSql))[0] ?? {});
    await victim.rows("rollback");
    await victim.rows("begin");
    assert.deepEqual(await watch.rows(sql, seen), [], "another transaction");
    await lives(victim);
    const again = Object.values((await watch.rows(seenSql))[0] ?? {});
    assert.deepEqual(await watch.rows(sql, again), [{ ok: "t" }]);
    assert.deepEqual(await lossOf(victim), [killed, closed]);
  });

  test(`who may signal whom, ${how}`, async () => {
    const victim = await busy(double);
    const stubborn = await busy(double, "stubborn");
    const stranger = await person(double, "owner");
    const twin = await person(double, "app");
    const kill = (one: typeof victim) => `select pg_terminate_session(${one.now}, ${one.sessionId})`;
    assert.equal(await stranger.start(kill(victim)), mayNot);
    assert.equal(await watch.start(kill(stubborn)), mayNot, "PERSISTENCE");
    const worker = await value(watch, "select pid from pg_stat_activity where application_name = 'WLMArbiter'");
    assert.equal(await watch.start(`select pg_terminate_session(${worker}, ${worker})`), mayNot, "the initial user");
    const cancel = await stranger.start(`select pg_cancel_session(${victim.now}, ${victim.sessionId})`);
    const cancelText = double.threadPool
      ? mayNot
      : "42501 must be system admin or have the same role to cancel queries running in other server processes";
    assert.equal(cancel, cancelText);
    await lives(victim);
    await lives(stubborn);
    assert.equal(await value(twin, kill(victim)), "t", "the same user");
    await lossOf(victim);
  });

  test(`the owner of a database may signal in it, ${how}`, async () => {
    const name = `of_owner_${how}`;
    await dba.rows(`create database ${name} owner owner`);
    const owner = await person(double, "owner", "owner", name);
    const victim = await person(double, "app", "app", name);
    await victim.rows("begin");
    const pid = await value(victim, "select pg_backend_pid()");
    assert.equal(await value(owner, `select pg_terminate_session(${pid}, ${victim.sessionId})`), "t");
    assert.deepEqual(await lossOf(victim), [killed, closed]);
  });

  test(`KILL SESSION refuses what is no pair of numbers, ${how}`, async () => {
    const bad = ["", "1", "1,2,3", "-1,2", ",2", "a,2", "1 1,1"];
    for (const text of bad)
      assert.equal(
        await watch.start(`alter system kill session '${text}'`),
        "42704 missing or invalid session ID",
        text,
      );
    const big = "99999999999999999999";
    const outside = `22003 value "${big}" is out of range for type bigint`;
    assert.equal(await watch.start(`alter system kill session '${big},1'`), outside);
    assert.equal(
      await watch.start("alter system disconnect session '1,1'"),
      `42704 unsupported action "DISCONNECT" for statement " alter system "`,
    );
    const parameter = watch.client.query("alter system kill session $1", ["1,1"]);
    await assert.rejects(parameter, { code: "42601", message: 'syntax error at or near "$1"' });
    assert.deepEqual(await dba.rows("alter system kill session ' 1 , 1 '"), [{ pg_terminate_session: "f" }]);
    assert.equal(dba.notices.at(-1), "WARNING PID 1 is not a gaussdb server thread");
    assert.equal(await watch.start("alter system kill session '1,1'"), mayNot);
    const probe = "alter system kill session '1,9223372036854775807'";
    await watch.rows("begin read only");
    assert.deepEqual(await watch.rows(probe), [{ pg_terminate_session: "f" }], "the safe probe");
    await watch.rows("commit");
  });

  test(`a null argument is no call, ${how}`, async () => {
    assert.equal(await value(watch, "select pg_terminate_session(null, 1)"), null);
    assert.equal(await value(watch, "select pg_terminate_backend(null)"), null);
  });
}

test("without the pool two unequal numbers are silently false", async () => {
  const { double, watch } = unpooled;
  const one = await busy(double);
  const before = watch.notices.length;
  assert.equal(await value(watch, `select pg_terminate_session(12345, ${one.sessionId})`), "f");
  assert.equal(await value(watch, `select pg_cancel_session(12345, ${one.sessionId})`), "f");
  assert.equal(watch.notices.length, before);
  await lives(one);
});

test("without the pool the next session gets the id of the one that ended, and a naive kill ends it", async () => {
  const { double, watch } = unpooled;
  const victim = await busy(double);
  await watch.rows(`select pg_terminate_session(${victim.now}, ${victim.sessionId})`);
  await lossOf(victim);
  const innocent = await busy(double, "owner");
  assert.deepEqual([innocent.now, innocent.sessionId], [victim.now, victim.sessionId], "recycled");
  await watch.rows(`alter system kill session '${victim.now},${victim.sessionId}'`);
  assert.deepEqual(await lossOf(innocent), [killed, closed], "the innocent one was hit");
});

test("where ids are not recycled, the same statement finds nobody", async () => {
  const { double, watch } = unpooled;
  double.recycleIds(false);
  const victim = await busy(double);
  await watch.rows(`select pg_terminate_session(${victim.now}, ${victim.sessionId})`);
  await lossOf(victim);
  const next = await busy(double, "owner");
  assert.notEqual(next.sessionId, victim.sessionId);
  assert.equal(await watch.start(`select pg_terminate_session(${victim.now}, ${victim.sessionId})`), mayNot);
  await lives(next);
  double.recycleIds(true);
});

test("in the pool a stale pid is another session's, and pg_terminate_backend ends that one", async () => {
  const { double, watch } = pooled;
  const idle = await busy(double);
  await idle.rows("commit");
  const innocent = await busy(double, "owner");
  assert.equal(innocent.now, idle.now, "the thread serves another session now");
  assert.equal(await value(watch, `select pg_terminate_backend(${idle.now})`), "t");
  assert.deepEqual(await lossOf(innocent), [killed, closed], "the innocent one was hit");
  await lives(idle);
});

test("in the pool a wrong pid protects nobody: the session id alone decides", async () => {
  const { double, watch } = pooled;
  const one = await busy(double);
  assert.equal(await value(watch, `alter system kill session '12345,${one.sessionId}'`), "t");
  assert.deepEqual(await lossOf(one), [killed, closed]);
});

test("in the pool an idle session cannot be cancelled, and is ended without a word", async () => {
  const { double, watch } = pooled;
  const idle = await person(double, "app");
  assert.equal(await value(watch, `select pg_cancel_session(0, ${idle.sessionId})`), "f");
  await lives(idle);
  assert.equal(await value(watch, `alter system kill session '0,${idle.sessionId}'`), "t");
  assert.deepEqual(await lossOf(idle), [closed]);
});

test("the grammar before 6.0 looks at the first number only, and hits whoever sits on that thread", async () => {
  const { double, dba, watch } = old;
  const idle = await busy(double);
  await idle.rows("commit");
  const innocent = await busy(double, "owner");
  const answer = await watch.rows(`alter system kill session '${idle.now},${idle.sessionId}'`);
  assert.deepEqual(answer, [{ pg_terminate_backend: "t" }]);
  assert.deepEqual(await lossOf(innocent), [killed, closed], "the innocent one was hit");
  await lives(idle);
  const probe = "alter system kill session '1,9223372036854775807'";
  assert.deepEqual(await dba.rows(probe), [{ pg_terminate_backend: "f" }]);
  assert.equal(await watch.start(probe), mayNot);
});

test("in the pool an ordinary user is refused for a thread that nobody sits on, an administrator hits nobody", async () => {
  const { double, dba, watch } = pooled;
  const [one, two] = [await busy(double), await busy(double)];
  await one.rows("commit");
  await two.rows("commit");
  // Whoever asks may have come to that very thread.
  const kill = `select case when pg_backend_pid() <> ${one.now} then pg_terminate_backend(${one.now}) end as ok`;
  const refusal = await eventually("another thread asks", async () => {
    const said = await watch.start(kill);
    return said === "done" ? null : said;
  });
  assert.equal(refusal, "3D000 database with OID 0 does not exist");
  // An error comes before the end of its statement: only now has it left its thread, to which the next one comes.
  assert.equal(await value(watch, "select 1"), "1");
  await eventually("another thread asks", async () => (await value(dba, kill)) === "t");
  await lives(one);
  await lives(two);
});

test("the oldest release has neither function nor lock tags", async () => {
  const { watch } = oldest;
  assert.match(await watch.start("select pg_terminate_session(1, 1)"), /^42883/);
  assert.match(await watch.start("select pg_cancel_session(1, 1)"), /^42883/);
  assert.match(await watch.start("select locktag from pg_locks"), /^42703/);
  assert.match(await watch.start("select block_sessionid from pg_thread_wait_status"), /^42703/);
  const one = await busy(oldest.double);
  assert.equal(await value(watch, `select pg_terminate_backend(${one.now})`), "t");
  assert.deepEqual(await lossOf(one), [killed, closed]);
});

test("while it expands online, nobody is signalled", async () => {
  const dba = await person(frozen, "dba");
  const other = await person(frozen, "dba");
  const refusal = "42501 kill backend is prohibited during online expansion.";
  assert.equal(await dba.start(`select pg_terminate_backend(${other.pid})`), refusal);
  await lives(other);
});

test("a prepared transaction has the id of a live session, and ending that one frees nothing", async () => {
  const { double, dba, watch } = pooled;
  const preparing = await person(double, "app");
  await preparing.rows("begin; update public.t set v = 1 where id = 5");
  await preparing.rows("prepare transaction 'left behind'");
  const waiter = await person(double, "app");
  const ended = waiter.start("update public.t set v = 2 where id = 5");
  const blocker = await eventually("it waits", () =>
    value(watch, "select block_sessionid from pg_thread_wait_status where wait_status = 'acquire lock'"),
  );
  assert.equal(blocker, preparing.sessionId);
  assert.equal(await value(watch, `select pg_terminate_session(0, ${blocker})`), "t");
  assert.deepEqual(await lossOf(preparing), [closed]);
  const still = "select count(*) from pg_thread_wait_status where wait_status = 'acquire lock'";
  assert.equal(await value(watch, still), "1", "the waiter still waits");
  await dba.rows("rollback prepared 'left behind'");
  assert.equal(await ended, "done");
});
