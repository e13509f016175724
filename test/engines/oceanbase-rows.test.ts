import assert from "node:assert/strict";
import { test } from "node:test";
import type { Relation, Session } from "../../src/core/session.ts";
import type { Row, Views } from "../../src/engines/oceanbase/connection.ts";
import { steadyPairs } from "../../src/engines/oceanbase/look.ts";
import { momentOf } from "../../src/engines/oceanbase/moment.ts";
import { type Activity, listSessions } from "../../src/engines/oceanbase/rows.ts";
import { isSessionId } from "../../src/engines/oceanbase/session-id.ts";
import { locksSql, sessionsSql, signalSql } from "../../src/engines/oceanbase/sql.ts";
import { type LockContext, lockRowOf, lockWaits } from "../../src/engines/oceanbase/waits.ts";
import { judge } from "../support/judge.ts";
import { snapshot as build } from "../support/snapshot.ts";

// Rows as the product's own pages show them.

const emptySnapshot = build().build();
const own = "3221487700";
const server = { mode: "oracle", version: "4.2.5.3", sessionId: own, tenant: "shop" } as const;

function row(more: Row = {}): Row {
  return {
    SVR_IP: "10.0.0.11",
    SVR_PORT: "2882",
    ID: "3221487726",
    USER: "APP",
    HOST: "10.0.0.7:51234",
    DB: "APP",
    TENANT: "shop",
    COMMAND: "Sleep",
    TIME: "631.46",
    STATE: "SLEEP",
    INFO: null,
    USER_CLIENT_IP: "10.0.0.9",
    TRANS_ID: "3413",
    TRACE_ID: "YB42AC1E87E6-0005B8A1",
    TRANS_STATE: "ACTIVE",
    MODULE: null,
    ...more,
  };
}

const me = row({ ID: own, USER: "LOCKWARDEN", COMMAND: "Query", STATE: "ACTIVE", TRANS_ID: "0", TRANS_STATE: null });

function listed(...rows: readonly Row[]): readonly Activity[] {
  return listSessions([me, ...rows], { server, own: [] }).activities.slice(1);
}

function only(more: Row = {}): Session {
  const [activity] = listed(row(more));
  assert.ok(activity !== undefined);
  return activity.session;
}

test("a sleeping session with an open transaction is idle in transaction, for as long as it sleeps", () => {
  const session = only();
  assert.equal(session.state, "idle in transaction");
  assert.equal(session.stateMs, 631_460);
  assert.deepEqual(session.transaction, { kind: "open", startedAt: "3413", ageMs: null, writeId: "3413" });
  assert.deepEqual([session.pid, session.sessionId, session.key], ["3221487726", "3221487726", "3221487726"]);
  assert.deepEqual([session.user, session.client, session.role], ["APP", "10.0.0.9", "client"]);
});

test("states are told as COMMAND, STATE and TRANS_STATE say together, and what is not understood is unknown", () => {
  const cases: readonly (readonly [Row, Session["state"], Session["transaction"]["kind"]])[] = [
    [{ TRANS_STATE: "IMPLICIT_ACTIVE" }, "idle in transaction", "open"],
    [{ TRANS_STATE: "ROLLBACK_SAVEPOINT" }, "idle in transaction", "open"],
    [{ TRANS_STATE: "ABORTED" }, "idle in transaction (aborted)", "open"],
    [{ TRANS_ID: "0", TRANS_STATE: "" }, "idle", "none"],
    [{ TRANS_ID: null, TRANS_STATE: null }, "idle", "none"],
    [{ TRANS_ID: "", TRANS_STATE: "" }, "idle", "none"],
    [{ TRANS_STATE: "IDLE" }, "idle", "none"],
    [{ TRANS_STATE: null }, null, "unknown"],
    [{ TRANS_STATE: "SOMETHING_NEW" }, null, "unknown"],
    [{ TRANS_ID: "0", TRANS_STATE: "ACTIVE" }, null, "unknown"],
    [{ TRANS_ID: "-7" }, null, "unknown"],
    [{ COMMAND: "Query", STATE: "ACTIVE" }, "active", "open"],
    [{ COMMAND: "Execute", STATE: "ACTIVE", TRANS_ID: "0", TRANS_STATE: null }, "active", "none"],
    [{ COMMAND: "Query", STATE: "QUERY_KILLED" }, "active", "open"],
    [{ COMMAND: "Query", STATE: "SLEEP" }, null, "open"],
    [{ COMMAND: "Sleep", STATE: "ACTIVE" }, null, "open"],
    [{ STATE: "SESSION_KILLED" }, "other", "open"],
    [{ STATE: "INVALID SESSION STATE", COMMAND: "Query" }, null, "open"],
    [{ STATE: "INVALID SESSION STATE" }, null, "open"],
    [{ STATE: "QUERY_KILLED" }, "idle in transaction", "open"],
    [{ COMMAND: null }, null, "open"],
  ];
  for (const [more, state, kind] of cases) {
    const session = only(more);
    assert.deepEqual([session.state, session.transaction.kind], [state, kind], JSON.stringify(more));
  }
});

test("nobody is a client who belongs to another tenant, to the system or the server itself, or whose transaction is not its own to end", () => {
  const cases: readonly (readonly [Row, Session["role"]])[] = [
    [{}, "client"],
    [{ TENANT: "other" }, "internal"],
    [{ TENANT: "sys" }, "internal"],
    [{ TENANT: null }, "unknown"],
    [{ USER: "" }, "unknown"],
    [{ USER: "__oceanbase_inner_standby_user" }, "internal"],
    [{ TRANS_STATE: "XA_SUSPEND" }, "internal"],
    [{ TRANS_STATE: "COMMIT_UNKNOWN" }, "internal"],
    [{ TRANS_STATE: "IN_TERMINATE" }, "internal"],
  ];
  for (const [more, role] of cases) assert.equal(only(more).role, role, JSON.stringify(more));
  // Who has logged in to the system tenant judges nobody, not even there.
  const inSystem = { ...server, tenant: "sys" };
  const rows = [{ ...me, TENANT: "sys" }, row({ TENANT: "sys" })];
  const roles = listSessions(rows, { server: inSystem, own: [] }).activities.map(({ session }) => session.role);
  assert.deepEqual(roles, ["internal", "internal"]);
});

test("administrators are known by the names of their accounts, and a session of no user is nobody's", () => {
  assert.equal(only({ USER: "SYS" }).superuser, true);
  assert.equal(only({ USER: "root" }).superuser, true);
  assert.equal(only().superuser, false);
  assert.equal(only({ USER: null }).superuser, null);
});

test("Lockwarden's own sessions and those of a twin are its own, and nobody else's who only says so", () => {
  const statement = "SELECT /* lockwarden:sessions */ 1 FROM DUAL";
  assert.equal(only({ USER: "LOCKWARDEN", INFO: statement }).own, true);
  assert.equal(only({ USER: "LOCKWARDEN", MODULE: "lockwarden" }).own, true);
  assert.equal(only({ USER: "LOCKWARDEN" }).own, false);
  assert.equal(only({ MODULE: "lockwarden", INFO: statement }).own, false);
  const [, other] = listSessions([me, row()], { server, own: ["3221487726"] }).activities;
  assert.equal(other?.session.own, true);
});

test("the identity changes with the server, the user and the client's port, and is none where one of them is unknown", () => {
  const one = only().identity;
  assert.notEqual(one, "");
  assert.equal(only({ TIME: "640", TRANS_ID: "3500", COMMAND: "Query", STATE: "ACTIVE" }).identity, one);
  for (const more of [{ SVR_IP: "10.0.0.12" }, { USER: "WEB" }, { HOST: "10.0.0.7:51300" }, { TENANT: "other" }])
    assert.notEqual(only(more).identity, one, JSON.stringify(more));
  for (const more of [{ HOST: null }, { SVR_IP: "" }, { USER: null }])
    assert.equal(only(more).identity, "", JSON.stringify(more));
});

test("an id that two servers list means nobody: nothing is known of it", () => {
  const { activities, ambiguous } = listSessions([me, row(), row({ SVR_IP: "10.0.0.12" })], { server, own: [] });
  const [, twice] = activities;
  assert.equal(ambiguous, 1);
  assert.equal(activities.length, 2);
  assert.deepEqual([twice?.session.role, twice?.session.state, twice?.transactionId], ["unknown", null, null]);
  assert.deepEqual(twice?.session.transaction, { kind: "unknown" });
});

test("rules read a statement as it was written, comments and all, and whoever shows it knows how it writes constants", () => {
  const INFO = '/* keep */ UPDATE `t` SET a = "x" # it\'s ours';
  const active = { INFO, COMMAND: "Query", STATE: "ACTIVE" };
  assert.deepEqual([only(active).query, only(active).quoting], [INFO, "alternative"]);
  const [, one] = listSessions([me, row(active)], { server: { ...server, mode: "mysql" }, own: [] }).activities;
  assert.deepEqual([one?.session.query, one?.session.quoting], [INFO, "backslash"]);
  const rule = { name: "slow", match: { state: "active", query_for: "1s" }, steps: ["terminate"] };
  const decide = (except: object) => {
    const snapshot = { ...emptySnapshot, sessions: [only(active)] };
    const [decision] = judge({ rules: [{ ...rule, ...except }] }).look(snapshot).decisions;
    return decision?.kind === "spare" ? decision.by : decision?.kind;
  };
  assert.equal(decide({}), "act");
  for (const query of ["keep", "`t`", '= "x"', "# it's ours"])
    assert.equal(decide({ except: { query } }), "except", query);
});

test("ages come as whole seconds, with a fraction or not at all", () => {
  assert.equal(only({ TIME: "12" }).stateMs, 12_000);
  assert.equal(only({ TIME: "0.000250" }).stateMs, 0);
  for (const TIME of [null, "", "-1", "soon"]) assert.equal(only({ TIME }).stateMs, null, String(TIME));
});

const waiter = { ID: "3221487727", HOST: "10.0.0.7:51235", COMMAND: "Query", STATE: "ACTIVE", TRANS_ID: "3414" };
const bystander = { ID: "3221487728", HOST: "10.0.0.7:51236", TRANS_ID: "3415" };
const orders: Relation = { database: "APP", schema: "APP", name: "ORDERS", ancestors: [] };

function context(more: Partial<LockContext> = {}): LockContext {
  const activities = listed(row(), row(waiter), row(bystander));
  const pairs = new Map(activities.map(({ id, transactionId }) => [transactionId ?? "", id]));
  return {
    activities: new Map(activities.map((activity) => [activity.id, activity])),
    before: pairs,
    now: pairs,
    steady: pairs,
    relationOf: ({ tablet, object }) => (tablet === "200001" || object === "500001" ? orders : null),
    ...more,
  };
}

function waiting(more: Row = {}): Row {
  return {
    TRANS_ID: "3414",
    SESSION_ID: "3221487727",
    TYPE: "TR",
    ID1: "3413",
    ID3: '200001-{"VARCHAR":"alice"}',
    LMODE: "NONE",
    REQUEST: "X",
    CTIME: "45000000",
    BLOCK: "1",
    ...more,
  };
}

const waits = (rows: readonly Row[], more: Partial<LockContext> = {}) => lockWaits(rows.map(lockRowOf), context(more));

test("a wait for a row names its table and its holder, which is found by the transaction alone", () => {
  // ID2, which says that the bystander holds it, is not even read.
  const { waits: found } = waits([waiting({ ID2: "3221487728" })]);
  const [wait] = found;
  assert.equal(found.length, 1);
  assert.equal(wait?.waiter, "3221487727");
  assert.deepEqual(wait?.blockers, [{ node: "3221487726", soft: false }]);
  assert.deepEqual([wait?.locktype, wait?.mode, wait?.waitMs], ["tuple", "ExclusiveLock", 45_000]);
  assert.equal(wait?.relation, orders);
  assert.equal(wait?.hiddenBlocker, false);
});

test("the key of a row, which is somebody's data, is in no lock's name", () => {
  const [one, same, other] = ["alice", "alice", "bob"].map((name) =>
    lockRowOf(waiting({ ID3: `200001-{"VARCHAR":"${name}"}` })),
  );
  assert.doesNotMatch(one?.lock ?? "", /alice/);
  assert.equal(one?.lock, same?.lock);
  assert.notEqual(one?.lock, other?.lock);
});

test("a holder whose transaction was another one before the locks were read is nobody, and the wait has a hidden blocker", () => {
  const changed = waits([waiting()], { steady: new Map([["3414", "3221487727"]]) });
  assert.deepEqual(changed.waits[0]?.blockers, []);
  assert.equal(changed.waits[0]?.hiddenBlocker, true);
  assert.equal(changed.hidden, 0);
});

test("a transaction counts only with the session that had it before the locks were read and after", () => {
  const before = new Map([
    ["3413", "1"],
    ["3414", "2"],
    ["3415", "3"],
  ]);
  const after = new Map([
    ["3413", "1"],
    ["3414", "9"],
    ["3416", "3"],
  ]);
  assert.deepEqual([...steadyPairs(before, after)], [["3413", "1"]]);
});

test("a holder that is in no list is hidden, and counted", () => {
  for (const ID1 of ["99", "0", "", null]) {
    const found = waits([waiting({ ID1 })]);
    assert.deepEqual([found.waits[0]?.blockers, found.waits[0]?.hiddenBlocker], [[], true], String(ID1));
  }
  assert.equal(waits([waiting({ ID1: "99" })]).hidden, 1);
});

test("a waiter is found by its transaction whatever the server says its session is, and else by its session", () => {
  for (const SESSION_ID of ["0", "134217728", "4294967295", "3221487728"])
    assert.equal(waits([waiting({ SESSION_ID })]).waits[0]?.waiter, "3221487727", SESSION_ID);
  assert.equal(waits([waiting({ TRANS_ID: "0" })]).waits[0]?.waiter, "3221487727");
  // Over by now: the session has another transaction.
  assert.deepEqual(waits([waiting({ TRANS_ID: "3000" })]).waits, []);
  const nameless = waits([waiting({ TRANS_ID: "0", SESSION_ID: "134217728" })]);
  assert.deepEqual([nameless.waits, nameless.nameless], [[], 1]);
});

test("the same wait shown by several copies is one wait", () => {
  const { waits: found } = waits([waiting(), waiting({ CTIME: "46000000" })]);
  assert.equal(found.length, 1);
  assert.deepEqual([found[0]?.blockers.length, found[0]?.waitMs], [1, 46_000]);
});

test("a wait for a table, which names none, may be for any that its holder has locked so", () => {
  const table = waiting({ TYPE: "TM", ID3: null, REQUEST: "X" });
  const held = { ...waiting({ TRANS_ID: "3413", SESSION_ID: "3221487726", TYPE: "TM", ID1: "3413", BLOCK: "0" }) };
  const one = { ...held, ID3: "500001", LMODE: "RX", REQUEST: "NONE" };
  const found = waits([table, one]);
  assert.equal(found.waits[0]?.locktype, "relation");
  assert.equal(found.waits[0]?.relation, null);
  assert.deepEqual(found.waits[0]?.candidates, [orders]);
  assert.deepEqual(found.holds, [
    { holder: "3221487726", lock: "TM 500001", locktype: "relation", mode: "RowExclusiveLock", relation: orders },
  ]);
  // With one more whose name is unknown nothing is certain.
  assert.deepEqual(waits([table, one, { ...one, ID3: "500002" }]).waits[0]?.candidates, []);
});

test("only a whole number that the server can hold is a session id", () => {
  for (const id of ["1", "3221487726", "4294967295"]) assert.equal(isSessionId(id), true, id);
  const wrong = [
    "",
    "0",
    "01",
    "-1",
    "1.0",
    "1e9",
    " 1",
    "1 ",
    "1\n",
    "1'",
    "1,2",
    "4294967296",
    "7516455022",
    "９",
    "null",
  ];
  for (const id of wrong) assert.equal(isSessionId(id), false, JSON.stringify(id));
});

test("the server's clock is read with its offset, or as seconds since 1970", () => {
  assert.equal(momentOf("2026-11-21 14:00:00.123456 +02:00"), "2026-11-21T12:00:00.123456Z");
  assert.equal(momentOf("2026-11-21 06:30:00.000001 -05:30"), "2026-11-21T12:00:00.000001Z");
  assert.equal(momentOf("1795262400.123456"), "2026-11-21T12:00:00.123456Z");
  for (const text of [null, undefined, "", "2026-11-21 12:00:00", "now"]) assert.throws(() => momentOf(text), /clock/);
});

test("the statements are those of their mode, and none reads the dummy views or the server's guess of the holder", () => {
  const views: Views = {
    schedulers: true,
    locks: true,
    lockId3: true,
    participants: true,
    locations: true,
    objects: false,
    addresses: true,
  };
  const all = (["oracle", "mysql"] as const).flatMap((mode) => [
    sessionsSql({ mode, views }, "all", own),
    sessionsSql({ mode, views }, ["1"], own),
    locksSql(mode, views, true),
    locksSql(mode, { ...views, lockId3: false }, true),
  ]);
  for (const sql of all) assert.doesNotMatch(sql, /INNODB|ID2/);
  assert.match(all[3] ?? "", /TYPE = 'TX'/);
  assert.doesNotMatch(all[3] ?? "", /ID3/);
  assert.equal(signalSql("oracle", "terminate", "7"), "ALTER SYSTEM KILL SESSION '7'");
  assert.equal(signalSql("mysql", "terminate", "7"), "KILL 7");
  assert.equal(signalSql("oracle", "cancel", "7"), "KILL QUERY 7");
});
