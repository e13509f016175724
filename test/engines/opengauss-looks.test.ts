import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Session } from "../../src/core/session.ts";
import type { LockWait } from "../../src/core/snapshot.ts";
import { activityLook } from "../../src/engines/opengauss/activity.ts";
import { lockLook } from "../../src/engines/opengauss/lock-rows.ts";
import { isMaintenance } from "../../src/engines/opengauss/never-victims.ts";
import { unseenHolders } from "../../src/engines/opengauss/unseen.ts";
import { waitsOf } from "../../src/engines/opengauss/waits.ts";
import type { Row } from "../../src/engines/postgres/connection.ts";
import { preparedKey } from "../../src/engines/postgres/prepared.ts";
import { product } from "../support/opengauss-look.ts";

// The rows are those of a live server (the file says which); what a look asks for and was not recorded is filled in here.

type Recorded = Readonly<Record<string, string | number | boolean | null>>;
type Stage = Readonly<
  Record<"activity" | "locks" | "threads" | "detached" | "preparedLocks" | "preparedThreads" | "prepared", Recorded[]>
>;
type Looks = Readonly<{
  "thread pool off": Stage;
  "thread pool on": Stage;
  queue: Readonly<{ threads: Recorded[]; waiting: Recorded[] }>;
  workers: Recorded[];
}>;

const file = new URL("../../../test/fixtures/opengauss/recorded-looks.json", import.meta.url);
const recorded = JSON.parse(readFileSync(file, "utf8")) as Looks;
const modes = ["thread pool off", "thread pool on"] as const;

const now = "2026-11-21 01:57:43.054683+00";
const before = "2026-11-21 01:50:00.000001+00";
const table = "16408";

function textOf(value: Recorded[string] | undefined): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === "boolean" ? (value ? "t" : "f") : String(value);
}

function lockRows(rows: readonly Recorded[], at = now): readonly Row[] {
  return rows.map((row) => ({
    ...Object.fromEntries(Object.entries(row).map(([name, value]) => [name, textOf(value)])),
    now: at,
    database: row["rel"] === null ? null : "15073",
    relation: row["rel"] === null ? null : table,
    lock: `${textOf(row["locktype"])} ${textOf(row["locktag"]) ?? "3ae1:4018:0:0:0:0"}`,
  }));
}

function activityRows(rows: readonly Recorded[], threads: readonly Recorded[], more: Row = {}): readonly Row[] {
  return rows.map((row) => {
    const thread = threads.find((one) => one["sessionid"] === row["sessionid"]);
    return {
      now,
      pid: textOf(row["pid"]),
      sessionid: textOf(row["sessionid"]),
      usesysid: "16385",
      usename: "app",
      datname: "postgres",
      application_name: textOf(row["application_name"]),
      superuser: "f",
      client_port: row["cp"] === true ? "40000" : null,
      client: textOf(row["client_addr"]),
      state: textOf(row["state"]),
      waiting: textOf(row["waiting"]),
      backend_start: before,
      xact_start: row["x"] === true ? before : null,
      wait_status: textOf(thread?.["wait_status"]),
      wait_event: textOf(thread?.["wait_event"]),
      block_sessionid: textOf(thread?.["block_sessionid"]),
      ...more,
    };
  });
}

const look = (rows: readonly Row[], more: Partial<typeof product> = {}) =>
  activityLook(rows, { product: { ...product, ...more }, locks: true, textless: false });

const sessionsOf = (rows: readonly Row[], more = {}) => look(rows, more).rows.map(({ session }) => session);
const only = (row: Row): Session => sessionsOf([{ now, ...row }])[0] as Session;

function waitsIn(locks: readonly Row[], activity: readonly Row[], prepared: readonly string[] = []) {
  return waitsOf({
    locks: lockLook(locks),
    activity: look(activity),
    namesBlocker: true,
    prepared: new Set(prepared.map(preparedKey)),
    relationOf: () => ({ database: "postgres", schema: "public", name: "t", ancestors: [] }),
    isRowless: () => false,
  });
}

const brief = ({ waiter, mode, relation, blockers, hiddenBlocker }: LockWait) => ({
  waiter,
  mode,
  on: relation?.name,
  blockers: blockers.map(({ node, soft }) => (soft ? `${node} ahead` : node)),
  hiddenBlocker,
});

for (const mode of modes) {
  const stage = recorded[mode];
  const [waiter, holder] = ["waiter", "holder"].map((name) =>
    textOf(stage.activity.find((row) => row["application_name"] === name)?.["sessionid"]),
  );

  test(`${mode}: who waits for a row is blocked by the session that wrote it, and the table is known`, () => {
    const { waits, holds } = waitsIn(lockRows(stage.locks), activityRows(stage.activity, stage.threads));
    assert.deepEqual(waits.map(brief), [
      { waiter, mode: "ShareLock", on: "t", blockers: [holder], hiddenBlocker: false },
    ]);
    assert.equal(
      holds.some((hold) => hold.holder === holder && hold.mode === "RowExclusiveLock"),
      true,
    );
  });

  test(`${mode}: a prepared transaction blocks as itself, even where its session id is that of a live session`, () => {
    const { preparedLocks, preparedThreads, prepared } = stage;
    const id = textOf(preparedLocks.find((row) => row["pid"] === null)?.["sessionid"]);
    const xid = textOf(prepared[0]?.["transaction"]) ?? "";
    const waiting = preparedLocks.find((row) => row["granted"] === false);
    const people = [
      { pid: waiting?.["pid"] ?? null, sessionid: waiting?.["sessionid"] ?? null, application_name: "waiter" },
      { pid: mode === "thread pool off" ? id : "139942466406080", sessionid: id, application_name: "innocent" },
    ].map((row) => ({
      ...row,
      state: "idle in transaction",
      waiting: row.application_name === "waiter",
      x: true,
      cp: true,
    }));
    const activity = activityRows(people, preparedThreads);
    const listed = waitsIn(lockRows(preparedLocks), activity, [xid]);
    assert.deepEqual(
      listed.waits.map(brief).map(({ blockers }) => blockers),
      [[`prepared/${xid}`]],
    );
    assert.equal(
      listed.holds.some((hold) => hold.holder === id),
      false,
    );
    // Not listed (ended in between, or of another database): then it is nobody that we know.
    assert.deepEqual(
      waitsIn(lockRows(preparedLocks), activity)
        .waits.map(brief)
        .map(({ blockers, hiddenBlocker }) => [blockers, hiddenBlocker]),
      [[[], true]],
    );
  });

  test(`${mode}: a session that connected after the locks were read holds none of them, though its id is the holder's`, () => {
    const later = activityRows(stage.activity, stage.threads).map((row) =>
      row["sessionid"] === holder ? { ...row, backend_start: "2026-11-21 01:57:43.054684+00" } : row,
    );
    const [wait] = waitsIn(lockRows(stage.locks), later).waits;
    assert.deepEqual(wait && brief(wait).blockers, []);
    assert.equal(wait?.hiddenBlocker, true);
  });

  test(`${mode}: holders that are not listed are hidden blockers, and people are told in the first look if they are still hidden right after it`, async () => {
    const without = activityRows(stage.activity, stage.threads).filter((row) => row["sessionid"] !== holder);
    const [wait] = waitsIn(lockRows(stage.locks), without).waits;
    assert.equal(wait?.hiddenBlocker, true);
    const locks = lockLook(lockRows(stage.locks));
    const told = /^1 session that holds or waits for a lock is hidden from our role.*MONADMIN$/;
    const everybody = look(activityRows(stage.activity, stage.threads));
    const onlyOnce = () => Promise.reject(new Error("asked again"));
    const unseen = unseenHolders();
    assert.deepEqual(await unseen(locks, look(without), () => Promise.resolve([])), []);
    assert.match((await unseen(locks, look(without), onlyOnce)).join(), told);
    assert.deepEqual(await unseen(locks, everybody, onlyOnce), []);
    assert.match((await unseenHolders()(locks, look(without), () => Promise.resolve([holder ?? ""]))).join(), told);
    assert.deepEqual(await unseenHolders()(locks, everybody, onlyOnce), []);
  });

  test(`${mode}: ids are the server's own, and an idle session of the pool is on no thread`, () => {
    for (const { pid, sessionId, key, role, transaction } of sessionsOf(activityRows(stage.detached, []))) {
      assert.equal(key, sessionId);
      assert.equal(pid, mode === "thread pool on" ? null : sessionId);
      assert.equal(role, "client");
      assert.equal(transaction.kind, "none");
    }
  });
}

test("a waiter behind another in the queue is blocked by that one, softly, and it by the holder", () => {
  const { threads, waiting } = recorded.queue;
  const held = { ...waiting[0], pid: "139942466400000", sessionid: "15", mode: "AccessShareLock", granted: true };
  const locks: Recorded[] = [held, ...waiting].map((row) => ({ ...row, rel: "t", virtualtransaction: "4/3" }));
  const people = locks.map((row) => ({
    ...row,
    application_name: "app",
    state: "active",
    waiting: row["granted"] === false,
    x: true,
    cp: true,
  }));
  assert.deepEqual(waitsIn(lockRows(locks), activityRows(people, threads)).waits.map(brief), [
    { waiter: "16", mode: "AccessExclusiveLock", on: "t", blockers: ["15"], hiddenBlocker: false },
    { waiter: "17", mode: "AccessShareLock", on: "t", blockers: ["16 ahead"], hiddenBlocker: false },
  ]);
});

test("a waiter with the id of the session that prepared the holding transaction is not taken for it, nor for one ahead", () => {
  const { threads, waiting } = recorded.queue;
  const twoPhase = { ...waiting[0], pid: null, sessionid: "16", virtualtransaction: "-1/13442" };
  const held = ["AccessShareLock", "RowExclusiveLock"].map((mode) => ({ ...twoPhase, mode, granted: true }));
  const own = { ...twoPhase, locktype: "transactionid", transactionid: "13442", mode: "ExclusiveLock", granted: true };
  const writers = waiting.map((row) => ({ ...row, mode: row["sessionid"] === "17" ? "ShareLock" : row["mode"] }));
  const locks = [...held, ...writers].map((row) => ({ ...row, rel: "t" }) as Recorded);
  const people = writers.map(
    (row) => ({ ...row, application_name: "app", state: "active", x: true, cp: true }) as Recorded,
  );
  const rows = [...lockRows(locks), ...lockRows([{ ...own, rel: null, locktag: "3482:0:0:0:0:6" }])];
  const { waits } = waitsIn(rows, activityRows(people, threads), ["13442"]);
  for (const wait of waits) assert.deepEqual(brief(wait).blockers, ["prepared/13442"]);
  assert.equal(waits.length, 2);
});

test("of two holders both block, though the server names one", () => {
  const { threads, waiting } = recorded.queue;
  const [alter] = waiting;
  const held = ["15", "18"].map((sessionid) => ({
    ...alter,
    pid: `13994246640000${sessionid}`,
    sessionid,
    mode: "AccessShareLock",
    granted: true,
  }));
  const locks: Recorded[] = [...held, alter ?? {}].map((row) => ({ ...row, rel: "t", virtualtransaction: "4/3" }));
  const people: Recorded[] = locks.map((row) => ({
    ...row,
    application_name: "app",
    state: "active",
    x: true,
    cp: true,
  }));
  const [wait] = waitsIn(lockRows(locks), activityRows(people, threads)).waits;
  assert.deepEqual(wait && brief(wait).blockers, ["15", "18"]);
});

test("the server's own threads, and the sessions of the initial user, are no clients", () => {
  const rows = recorded.workers.map((row, at) => ({
    now,
    pid: String(at + 1),
    sessionid: String(at + 1),
    usesysid: textOf(row["usesysid"]),
    application_name: textOf(row["application_name"]),
    client_port: textOf(row["client_port"]),
    query: textOf(row["qq"]),
    backend_start: before,
  }));
  assert.equal(rows.length, 9);
  assert.deepEqual(new Set(sessionsOf(rows).map(({ role }) => role)), new Set(["internal"]));
  const client = {
    pid: "1",
    sessionid: "1",
    usesysid: "16385",
    application_name: "app",
    client_port: "-1",
    backend_start: before,
  };
  const roles: [Row, Session["role"]][] = [
    [client, "client"],
    [{ ...client, client_port: null }, "internal"],
    [{ ...client, application_name: "workload" }, "internal"],
    [{ ...client, usesysid: "10" }, "internal"],
    [{ ...client, usesysid: null }, "unknown"],
    [{ ...client, application_name: "WalSender to Standby[dn_6002]" }, "replication"],
    [{ ...client, backend_start: null }, "unknown"],
  ];
  for (const [row, role] of roles) assert.equal(only(row).role, role, JSON.stringify(row));
});

test("what a session shows is taken as it is, and what it does not show is unknown", () => {
  const client = {
    pid: "7",
    sessionid: "7",
    usesysid: "16385",
    application_name: "app",
    client_port: "40000",
    backend_start: before,
  };
  const states: [Row, Session["state"], Session["transaction"]["kind"]][] = [
    [{ state: "idle in transaction", xact_start: before }, "idle in transaction", "open"],
    [{ state: "idle in transaction (aborted)", xact_start: null }, "idle in transaction (aborted)", "none"],
    [{ state: "idle", xact_start: null }, "idle", "none"],
    [{ state: "disabled", xact_start: null }, null, "unknown"],
    [{ state: null, xact_start: null }, null, "unknown"],
    [{ state: "retrying", xact_start: before }, "other", "open"],
    [{ state: "active", xact_start: null, write_id: "13207" }, "active", "unknown"],
  ];
  for (const [row, state, kind] of states) {
    const session = only({ ...client, ...row });
    assert.deepEqual([session.state, session.transaction.kind], [state, kind], JSON.stringify(row));
  }
  assert.equal(only(client).identity, "2026-11-21T01:50:00.000001Z 7");
  assert.equal(only(client).xminAge, null);
  assert.equal(only({ ...client, wait_status: "wait wal sync" }).waitEvent, "SyncRep");
  assert.equal(only({ ...client, backend_start: null }).identity, "");
  const nameless = [{ now, ...client, application_name: null }];
  assert.equal(sessionsOf(nameless, { emptyIsNull: true })[0]?.application, "");
  assert.equal(sessionsOf(nameless, { emptyIsNull: false })[0]?.application, null);
});

test("statements that leave something half done count as maintenance, and others do not", () => {
  for (const query of [
    "vacuum t",
    "VACUUM FULL",
    "analyze",
    "  reindex table t",
    "create index concurrently i on t (a)",
    "create unique  index i on t (a)",
    "/* nightly */ vacuum t",
    "\n cluster t",
  ])
    assert.equal(isMaintenance(query), true, query);
  for (const query of ["select 1 -- vacuum", "create table vacuum (a int)", "update t set a = 'vacuum'", ""])
    assert.equal(isMaintenance(query), false, query);
});
