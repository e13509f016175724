import assert from "node:assert/strict";
import { test } from "node:test";
import { type Asked, sight } from "../../src/core/by-hand.ts";
import { readHandle } from "../../src/core/handle.ts";
import { isIn, lineageKey, sessionIdentity, subjectKey } from "../../src/core/history.ts";
import { processList, processTable } from "../../src/core/process-list.ts";
import type { Statement } from "../../src/core/session.ts";
import { handleOf, type Session, transactionKey } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { namesIn } from "../../src/core/standing.ts";
import { readStatement } from "../../src/core/statement.ts";
import { circumstancesOf, judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

// Sessions as servers name them whose pid says little: on a pool of threads, and by one id of 32 bits.

const { config } = judge({
  rules: [{ name: "r", match: { idle_for: "5s", blocks: { waiters: 1 } }, steps: ["notify"] }],
});
const { protection } = circumstancesOf(config);
const circumstances = { protection, show: ({ query }: Statement) => query };

function look(...sessions: readonly Partial<Session>[]): Snapshot {
  const built = sessions.reduce((builder, more, at) => builder.session(at + 1, more), snapshot()).build();
  return built;
}

const thread = "139802072635136";
const onThread = { key: "143", pid: thread, sessionId: "143", identity: "143 began" };
const offThread = { ...onThread, pid: null, state: "idle", transaction: { kind: "none" } } as const;
const byOneId = { key: "3221487726", pid: "3221487726", sessionId: "3221487726", handle: "3221487726" };

function seen(where: Snapshot, written: string, more: Partial<Asked> = {}) {
  const read = readHandle(written);
  assert.ok(read.kind !== "wrong", written);
  const sessionId = read.kind === "alone" ? null : read.sessionId;
  return sight(
    where,
    { pid: read.pid, sessionId, identity: null, way: "immediate", lift: false, ...more },
    circumstances,
  );
}

test("two numbers are a pid and a session id, of which the pid may be 0; anything like it is refused", () => {
  for (const written of ["139802072635136,143", " 139802072635136 ,\t143 "])
    assert.deepEqual(readHandle(written), { kind: "handle", pid: thread, sessionId: "143" });
  assert.deepEqual(readHandle("0,143"), { kind: "handle", pid: "0", sessionId: "143" });
  for (const written of ["1,2,3", "-1,2", ",2", "a,2", "1 1,1", "01,2", "1,02", "1,", "1.5,2", "0", "1,2;", "١,٢"])
    assert.equal(readHandle(written).kind, "wrong", written);
});

test("of pid and session id both must be the session's own", () => {
  const here = look(onThread, { key: "144", pid: "140114517817088", sessionId: "144", identity: "144 began" });
  assert.equal(seen(here, `${thread},143`).kind, "found");
  // The server itself would look at the session id alone, and end it.
  assert.deepEqual(seen(here, "12345,143"), {
    kind: "changed",
    text: `session 143 is there, but as ${thread},143 and not as 12345,143`,
  });
  assert.deepEqual(seen(here, `${thread},77`), {
    kind: "gone",
    text: `the session of process ${thread} is ${thread},143 now`,
  });
  assert.equal(seen(here, "12345,77").kind, "gone");
  const alone = seen(here, "143");
  assert.ok(alone.kind === "unclear");
  assert.match(
    alone.text,
    /^expected 'PID,SESSIONID' .*, got 143: a pid alone may be another session's by now; no client/,
  );
  assert.equal(seen(here, thread).kind, "unclear");
});

test("a session of a pool that is on no thread is named with the pid 0, and is the same one when it is on a thread again", () => {
  const idle = look(offThread, { ...offThread, key: "144", sessionId: "144" });
  const found = seen(idle, "0,143");
  assert.ok(found.kind === "found");
  assert.equal(handleOf(found.session), "0,143");
  assert.equal(seen(idle, `${thread},143`).kind, "changed");
  assert.equal(seen(idle, "0,145").kind, "gone");
  // Shown to somebody who then said yes.
  const busy = look(onThread);
  assert.equal(seen(busy, "0,143").kind, "changed");
  assert.equal(seen(busy, "0,143", { identity: "143 began" }).kind, "found");
  assert.equal(seen(busy, "0,143", { identity: "143 began later" }).kind, "gone");
});

test("where one id names a session it is enough, what is written after it is passed over, and no other number is it", () => {
  const here = look(byOneId);
  for (const written of ["3221487726", "3221487726,7", "3221487726 , 0"])
    assert.equal(seen(here, written).kind, "found");
  // 2^32 + id, which wraps on the server.
  for (const written of ["7516455022", "3221487727", "7,3221487726", "0,3221487726"]) {
    const gone = seen(here, written);
    assert.ok(gone.kind === "gone", written);
    assert.match(gone.text, /^no client of app is \d+: it has ended/);
  }
  assert.equal(readHandle("3221487726,x").kind, "wrong");
});

test("a session keeps its own key in the memory, on whichever thread it is; without a pid it has no transaction", () => {
  const [busy] = look({ ...onThread, transaction: { kind: "open", startedAt: "t", ageMs: 1, writeId: null } }).sessions;
  const [idle] = look(offThread).sessions;
  assert.ok(busy !== undefined && idle !== undefined);
  assert.equal(sessionIdentity(busy), sessionIdentity(idle));
  assert.equal(subjectKey(idle), "143 143 began");
  assert.equal(transactionKey(busy), "143 143 began t");
  assert.equal(transactionKey({ ...busy, pid: null }), null);
  const lineage = isIn(new Set([lineageKey(busy)]));
  assert.deepEqual([lineage(busy), lineage(idle), lineage({ ...busy, key: "144" })], [true, false, false]);
});

test("people are named by pid, and whoever has none by the whole handle", () => {
  const here = look(onThread, { ...offThread, key: "144", sessionId: "144" }, byOneId);
  assert.deepEqual(
    here.sessions.map(({ key }) => namesIn(here)(key)),
    [thread, "0,144", "3221487726"],
  );
});

test("SHOW PROCESSLIST is read as strictly as the kill", () => {
  for (const sql of ["SHOW PROCESSLIST", " show\tprocesslist ; "])
    assert.deepEqual(readStatement(sql), { kind: "processes", full: false });
  assert.deepEqual(readStatement("show full\nprocesslist;"), { kind: "processes", full: true });
  for (const sql of ["SHOW PROCESSLIST;;", "SHOWPROCESSLIST", "SHOW PROCESSLIST WHERE 1=1", "SHOW FULLPROCESSLIST"])
    assert.equal(typeof readStatement(sql), "string", sql);
});

test("what else people type against a stuck session means one session, or is refused", () => {
  const kills: readonly (readonly [string, string, string])[] = [
    ["KILL 3221487726", "3221487726", "immediate"],
    ["kill connection\t'3221487726';", "3221487726", "immediate"],
    ["KILL QUERY 3221487726", "3221487726", "cancel"],
    ["select pg_terminate_session(139802072635136, 143);", `${thread},143`, "immediate"],
    ["SELECT pg_catalog.pg_cancel_session ( 139802072635136,143 )", `${thread},143`, "cancel"],
    ["select pg_terminate_backend(20407)", "20407", "immediate"],
    ["select pg_cancel_backend(20407);", "20407", "cancel"],
  ];
  for (const [sql, session, way] of kills) assert.deepEqual(readStatement(sql), { kind: "kill", session, way }, sql);
  // A pid alone says whom it may be, and sends nothing.
  assert.equal(seen(look({ pid: "20407" }), "20407").kind, "unclear");
  const refused = [
    "KILL",
    "KILL ALL 1",
    "KILL 1, 2",
    "KILL 1 OR 1=1",
    "KILL QUERY",
    "select pg_terminate_session(1)",
    "select pg_terminate_session(pid, sessionid) from pg_stat_activity",
    "select pg_terminate_backend(pid)",
    "select pg_terminate_backend(1) from pg_locks",
    "select other.pg_terminate_session(1, 2)",
    "select pg_terminate_backend(1); select 1",
  ];
  for (const sql of refused)
    assert.match(JSON.stringify(readStatement(sql)), /^"expected ALTER SYSTEM KILL SESSION .* or SHOW \[FULL\]/, sql);
});

test("the process list has the vendor's columns, an id that kill takes, and nothing that steers a terminal", () => {
  const here = look(
    {
      ...byOneId,
      user: "KILL_USER",
      client: "10.0.0.1:34803",
      database: "KILL_USER",
      state: "active",
      stateMs: 900,
      query: "select\n1\u001b[2J",
    },
    { ...offThread, user: null, database: null, client: null, stateMs: 93_500, query: "update t" },
    { key: "9", pid: "9", role: "internal" },
  );
  const list = processList(here, ({ query }) => query);
  assert.deepEqual(processTable(list, false), [
    "+------------+-----------+----------------+-----------+---------+------+--------+-----------------+",
    "| ID         | USER      | HOST           | DB        | COMMAND | TIME | STATE  | INFO            |",
    "+------------+-----------+----------------+-----------+---------+------+--------+-----------------+",
    "| 3221487726 | KILL_USER | 10.0.0.1:34803 | KILL_USER | Query   | 0    | active | select 1\\x1b[2J |",
    "| 0,143      | NULL      | NULL           | NULL      | Sleep   | 93   | idle   | NULL            |",
    "+------------+-----------+----------------+-----------+---------+------+--------+-----------------+",
    "2 rows in set",
  ]);
  assert.deepEqual(processTable([], true), ["Empty set"]);
});
