import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import type mysql from "mysql2/promise";
import { eventually } from "../support/eventually.ts";
import { type OceanBaseDouble, oceanBase } from "../support/oceanbase/oceanbase.ts";

// The double stands for the server in the engine's tests: here is shown that it does what published source says.

const oracle = await oceanBase({ administratorPassword: "p@ss:wo/rd" });
const { postgres } = oracle;
const plain = await oceanBase({ postgres, mode: "mysql" });
const both = [oracle, plain];
const older = await oceanBase({ postgres, version: "4.2.0.0" });
const oldest = await oceanBase({ postgres, mode: "mysql", version: "4.1.0.2", edition: "CE" });
const huge = await oceanBase({ postgres, mode: "mysql", transactionsFrom: 9_007_199_254_740_993n });

for (const double of [...both, older, huge]) {
  await double.createUser({ name: "app", password: "secret" });
  const owner = await double.person("app");
  await owner.query("CREATE TABLE user_session (id INT PRIMARY KEY, n INT)");
  await owner.query("INSERT INTO user_session VALUES (1, 0), (2, 0), (3, 0)");
  owner.destroy();
}

const schemaOf = ({ mode }: OceanBaseDouble) => (mode === "oracle" ? "SYS" : "oceanbase");

async function rows(person: mysql.Connection, sql: string): Promise<mysql.RowDataPacket[]> {
  const [found] = await person.query<mysql.RowDataPacket[]>(sql);
  return found;
}

async function refusal(doing: Promise<unknown>): Promise<{ errno: number; sqlState: string; message: string }> {
  const error = await doing.then(
    () => assert.fail("expected a refusal, got an answer"),
    (failure: unknown) => failure,
  );
  const { errno, sqlState, sqlMessage } = error as mysql.QueryError & { sqlMessage?: string };
  return { errno: errno ?? 0, sqlState: sqlState ?? "", message: sqlMessage ?? "" };
}

/** Somebody who holds a row in a transaction, and somebody who waits for it. */
async function stuck(double: OceanBaseDouble, row = 1) {
  const holder = await double.person("app");
  const waiter = await double.person("app");
  await holder.query("BEGIN");
  await holder.query(`UPDATE user_session SET n = n + 1 WHERE id = ${row}`);
  const waiting = waiter.query(`UPDATE user_session SET n = n + 1 WHERE id = ${row}`);
  waiting.catch(() => undefined);
  const dba = await double.person();
  const waiterId = await eventually("the wait is listed", async () => {
    const [found] = await rows(
      dba,
      `SELECT SESSION_ID FROM ${schemaOf(double)}.GV$OB_LOCKS WHERE BLOCK = 1 AND TYPE = 'TR'`,
    );
    return found === undefined ? null : String(found["SESSION_ID"]);
  });
  const end = () => [holder, waiter, dba].forEach((person) => person.destroy());
  return { holder, waiter, waiting, dba, waiterId, holderId: await double.idOf(holder), end };
}

test("a client without capability bit 27 is refused by Oracle mode, after its password, and let in by MySQL mode", async () => {
  const flags = ["-CLIENT_QUERY_ATTRIBUTES"];
  assert.deepEqual(await refusal(oracle.person("app", { flags })), {
    errno: 1235,
    sqlState: "0A000",
    message: "Oracle tenant for current client driver is not supported",
  });
  const wrong = await refusal(oracle.person("app", { flags, password: "wrong" }));
  assert.equal(wrong.errno, 1045);
  assert.match(wrong.message, /^Access denied for user 'app'@'xxx\.xxx\.xxx\.xxx' \(using password: YES\)$/);
  (await plain.person("app", { flags })).destroy();
});

test("the greeting names an id above 2^31 and does not announce bit 27; only the OK of Oracle mode's login carries its bit", async () => {
  for (const double of both) {
    const socket = connect(double.port, "127.0.0.1");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    const greeting = bytes.subarray(4);
    assert.equal(greeting[0], 10);
    assert.equal(greeting.toString("latin1", 1, 7), "5.7.25");
    assert.ok(greeting.readUInt32LE(8) >= 0xc000_0000);
    const capabilities = greeting.readUInt16LE(21) + greeting.readUInt16LE(26) * 0x1_0000;
    assert.equal(capabilities, 0x309c_f7df);
  }
});

test("a person is user@tenant#cluster, in capitals in Oracle mode unless quoted", async () => {
  await oracle.createUser({ name: '"lower"' });
  const quoted = await oracle.person('"lower"');
  assert.equal((await rows(quoted, "SELECT USER FROM DUAL"))[0]?.["USER"], "lower");
  quoted.destroy();
  const person = await oracle.person("app");
  assert.equal((await rows(person, "SELECT USER FROM DUAL"))[0]?.["USER"], "APP");
  person.destroy();
  assert.equal((await refusal(oracle.person("app", { tenant: "nowhere" }))).errno, 1045);
  assert.equal(oracle.url("app"), `oceanbase://app%40shop:secret@127.0.0.1:${oracle.port}/`);
});

test("mode, version and one's own id are asked for in the words of either mode", async () => {
  for (const double of both) {
    const dba = await double.person();
    const [mode] = await rows(dba, "SHOW VARIABLES LIKE 'ob_compatibility_mode'");
    const names = double.mode === "oracle" ? ["VARIABLE_NAME", "VALUE"] : ["Variable_name", "Value"];
    assert.deepEqual(Object.keys(mode ?? {}), names);
    assert.deepEqual(Object.values(mode ?? {})[1], double.mode.toUpperCase());
    const [comment] = await rows(dba, "SHOW VARIABLES LIKE 'version_comment'");
    assert.match(Object.values(comment ?? {}).join(" "), /OceanBase 4\.2\.5\.3 /);
    assert.equal((await rows(dba, "SELECT OB_VERSION() AS V FROM DUAL"))[0]?.["V"], "4.2.5.3");
    assert.ok((await double.idOf(dba)) > 0xc000_0000);
    dba.destroy();
  }
});

test("what belongs to the other mode is refused", async () => {
  const [sys, root] = [await oracle.person(), await plain.person()];
  assert.match((await refusal(sys.query("SELECT 1"))).message, /^ORA-00923/);
  assert.match((await refusal(sys.query("SELECT NOW(6) FROM DUAL"))).message, /^ORA-00904.*'NOW'/);
  assert.match((await refusal(sys.query("SELECT ID FROM oceanbase.GV$OB_PROCESSLIST"))).message, /^ORA-00942/);
  assert.match((await refusal(sys.query("SELECT P.USER FROM SYS.GV$OB_PROCESSLIST P"))).message, /^ORA-00904/);
  assert.equal((await refusal(root.query("SELECT SYS_CONTEXT('USERENV','SID')"))).errno, 1305);
  assert.equal((await refusal(root.query("SELECT ID FROM SYS.GV$OB_PROCESSLIST"))).errno, 1146);
  assert.equal((await refusal(root.query("ALTER SYSTEM KILL SESSION '1'"))).errno, 1064);
  sys.destroy();
  root.destroy();
});

for (const double of both) {
  const view = (name: string) => `${schemaOf(double)}.${name}`;

  test(`${double.mode} mode: a wait for a row names the holder's transaction, the holder is idle in it, and its table is found by the tablet`, async () => {
    const { holderId, waiterId, dba, waiting, holder, end } = await stuck(double);
    const [wait] = await rows(dba, `SELECT * FROM ${view("GV$OB_LOCKS")} WHERE BLOCK = 1`);
    assert.equal(String(wait?.["ID2"]), String(holderId));
    assert.deepEqual([wait?.["LMODE"], wait?.["REQUEST"], wait?.["TYPE"]], ["NONE", "X", "TR"]);
    const user = double.mode === "oracle" ? '"USER"' : "`USER`";
    const [session] = await rows(
      dba,
      `SELECT ID, ${user}, COMMAND, TRANS_STATE FROM ${view("GV$OB_PROCESSLIST")} WHERE TRANS_ID = ${String(wait?.["ID1"])}`,
    );
    const name = double.mode === "oracle" ? "APP" : "app";
    assert.deepEqual(Object.values(session ?? {}).map(String), [String(holderId), name, "Sleep", "ACTIVE"]);
    const tablet = String(wait?.["ID3"]).split("-")[0];
    const places = await rows(
      dba,
      `SELECT DATABASE_NAME, TABLE_NAME FROM ${view("DBA_OB_TABLE_LOCATIONS")} WHERE TABLET_ID = ${tablet}`,
    );
    assert.equal(places.length, 2, "one of each replica");
    assert.equal(
      Object.values(places[0] ?? {})
        .join(".")
        .toLowerCase(),
      "app.user_session",
    );
    const holds = await rows(
      dba,
      `SELECT TYPE, LMODE FROM ${view("GV$OB_LOCKS")} WHERE BLOCK = 0 AND SESSION_ID = ${holderId}`,
    );
    assert.deepEqual(holds.map((row) => `${row["TYPE"]} ${row["LMODE"]}`).sort(), ["TM RX", "TR X", "TX X"]);
    assert.notEqual(waiterId, String(holderId));
    await holder.query("ROLLBACK");
    await waiting;
    end();
  });

  test(`${double.mode} mode: who queues behind a waiter waits for the holder all the same`, async () => {
    const { dba, holder, waiting, holderId, end } = await stuck(double);
    const second = await double.person("app");
    const queued = second.query("UPDATE user_session SET n = 0 WHERE id = 1");
    const waits = await eventually("two wait", async () => {
      const found = await rows(dba, `SELECT ID2, CTIME FROM ${view("GV$OB_LOCKS")} WHERE BLOCK = 1`);
      return found.length === 2 ? found : null;
    });
    assert.deepEqual(
      waits.map((row) => String(row["ID2"])),
      [String(holderId), String(holderId)],
    );
    await holder.query("COMMIT");
    await Promise.all([waiting, queued]);
    second.destroy();
    end();
  });

  test(`${double.mode} mode: ages are told by the server's clock`, async () => {
    const { dba, holder, waiting, holderId, end } = await stuck(double);
    const age =
      double.mode === "oracle"
        ? "EXTRACT(SECOND FROM (SYSTIMESTAMP - ACTIVE_TIME)) * 1000000"
        : "TIMESTAMPDIFF(MICROSECOND, ACTIVE_TIME, NOW(6))";
    const sql = `SELECT ${age} AS AGE FROM ${view("GV$OB_TRANSACTION_SCHEDULERS")} WHERE SESSION_ID = ${holderId}`;
    const first = Number((await rows(dba, sql))[0]?.["AGE"]);
    const then = Number((await rows(dba, sql))[0]?.["AGE"]);
    assert.ok(first > 0 && then > first, `${first} then ${then}`);
    await holder.query("ROLLBACK");
    await waiting;
    end();
  });

  test(`${double.mode} mode: a failed statement leaves the transaction and its locks as they were`, async () => {
    const { holder, waiter, waiting, waiterId, dba, end } = await stuck(double);
    const duplicate = await refusal(holder.query("INSERT INTO user_session VALUES (2, 0)"));
    assert.equal(duplicate.errno, double.mode === "oracle" ? 1 : 1062);
    const still = await rows(dba, `SELECT SESSION_ID FROM ${view("GV$OB_LOCKS")} WHERE BLOCK = 1`);
    assert.deepEqual(
      still.map((row) => String(row["SESSION_ID"])),
      [waiterId],
    );
    await holder.query("COMMIT");
    await waiting;
    const [count] = await rows(waiter, "SELECT COUNT(*) AS N FROM user_session");
    assert.equal(Number(count?.["N"]), 3);
    end();
  });

  test(`${double.mode} mode: with autocommit off a change begins a transaction of its own`, async () => {
    const person = await double.person("app");
    const dba = await double.person();
    await person.query("SET autocommit = 0");
    await person.query("SELECT n FROM user_session WHERE id = 3 FOR UPDATE");
    const id = await double.idOf(person);
    const sql = `SELECT TRANS_STATE FROM ${view("GV$OB_PROCESSLIST")} WHERE ID = ${id}`;
    assert.equal((await rows(dba, sql))[0]?.["TRANS_STATE"], "IMPLICIT_ACTIVE");
    await person.query("ROLLBACK");
    assert.equal((await rows(dba, sql))[0]?.["TRANS_STATE"], double.mode === "oracle" ? null : "");
    person.destroy();
    dba.destroy();
  });

  test(`${double.mode} mode: a wait ends with ob_query_timeout, a deadlock by itself`, async () => {
    const { holder, dba, waiting, waiter, end } = await stuck(double);
    const third = await double.person("app");
    await third.query("SET ob_query_timeout = 50000");
    const late = await refusal(third.query("UPDATE user_session SET n = 0 WHERE id = 1"));
    assert.equal(late.errno, double.mode === "oracle" ? 30006 : 1205);
    await holder.query("ROLLBACK");
    await waiting;
    await holder.query("BEGIN");
    await waiter.query("BEGIN");
    await holder.query("UPDATE user_session SET n = 0 WHERE id = 1");
    await waiter.query("UPDATE user_session SET n = 0 WHERE id = 2");
    const cycle = await Promise.allSettled([
      holder.query("UPDATE user_session SET n = 0 WHERE id = 2").finally(() => void holder.query("ROLLBACK")),
      waiter.query("UPDATE user_session SET n = 0 WHERE id = 1").finally(() => void waiter.query("ROLLBACK")),
    ]);
    const failed = cycle.flatMap((one) => (one.status === "rejected" ? [(one.reason as mysql.QueryError).errno] : []));
    assert.deepEqual(failed, [double.mode === "oracle" ? 60 : 1213]);
    await dba.query("SELECT 1 FROM DUAL");
    third.destroy();
    end();
  });

  test(`${double.mode} mode: SHOW PROCESSLIST has the mode's columns, and INFO what runs`, async () => {
    const dba = await double.person();
    const all = await rows(dba, "SHOW FULL PROCESSLIST");
    const id = String(await double.idOf(dba));
    const own = all.find((row) => Object.values(row).map(String).includes(id));
    const names = "Id User Tenant Host db Command Time State Info Ip Port";
    assert.equal(Object.keys(own ?? {}).join(" "), double.mode === "oracle" ? names.toUpperCase() : names);
    assert.ok(Object.values(own ?? {}).includes("SHOW FULL PROCESSLIST"));
    assert.equal(Object.keys((await rows(dba, "SHOW PROCESSLIST"))[0] ?? {}).length, 8);
    dba.destroy();
  });
}

test("transaction ids beyond 2^53 go over the wire digit by digit", async () => {
  const { dba, holder, waiting, end } = await stuck(huge);
  const found = await rows(dba, "SELECT TRANS_ID FROM oceanbase.GV$OB_PROCESSLIST WHERE TRANS_ID <> 0 ORDER BY 1");
  const ids = found.map((row) => String(row["TRANS_ID"]));
  assert.equal(new Set(ids.map(Number)).size, 1, "as numbers these are one and the same");
  assert.equal(new Set(ids).size, 2);
  await holder.query("ROLLBACK");
  await waiting;
  end();
});

test("an older version lacks what came later: the schedulers and ID3, then the locks", async () => {
  const sys = await older.person();
  assert.match((await refusal(sys.query("SELECT TX_ID FROM SYS.GV$OB_TRANSACTION_SCHEDULERS"))).message, /^ORA-00942/);
  assert.match((await refusal(sys.query("SELECT ID3 FROM SYS.GV$OB_LOCKS WHERE 1 = 0"))).message, /^ORA-00904.*'ID3'/);
  sys.destroy();
  const { dba, holder, waiting, end } = await stuck(older);
  const [wait] = await rows(dba, "SELECT ID2 FROM SYS.GV$OB_LOCKS WHERE BLOCK = 1 AND TYPE = 'TR'");
  assert.match(String(wait?.["ID2"]), /^\d+-\{/, "the row's key, not a session");
  assert.equal((await rows(dba, "SELECT TX_ID FROM SYS.GV$OB_TRANSACTION_PARTICIPANTS")).length, 2);
  await holder.query("ROLLBACK");
  await waiting;
  end();
  const root = await oldest.person();
  assert.equal((await refusal(root.query("SELECT * FROM oceanbase.GV$OB_LOCKS"))).errno, 1146);
  assert.match(String((await rows(root, "SHOW VARIABLES LIKE 'version_comment'"))[0]?.["Value"]), /^OceanBase_CE 4\.1/);
  const [own] = await rows(root, "SELECT TIME FROM oceanbase.GV$OB_PROCESSLIST");
  assert.match(String(own?.["TIME"]), /^\d+$/, "whole seconds");
  root.destroy();
});

test("a lock by name belongs to its session and ends with it; DBMS_LOCK is there by a switch", async () => {
  const [one, two] = [await plain.person(), await plain.person()];
  const ask = (person: mysql.Connection) => rows(person, "SELECT GET_LOCK('lockwarden', 0) AS GOT FROM DUAL");
  assert.equal(Number((await ask(one))[0]?.["GOT"]), 1);
  assert.equal(Number((await ask(two))[0]?.["GOT"]), 0);
  one.destroy();
  await eventually("the lock is free", async () => Number((await ask(two))[0]?.["GOT"]) === 1);
  two.destroy();
  const sys = await oracle.person();
  const request = "SELECT DBMS_LOCK.REQUEST(745497451, 6, 0) AS ANSWER FROM DUAL";
  assert.match((await refusal(sys.query(request))).message, /^ORA-00904.*'DBMS_LOCK.REQUEST'/);
  oracle.switches.dbmsLock = true;
  const other = await oracle.person();
  const answers = [await rows(sys, request), await rows(sys, request), await rows(other, request)];
  oracle.switches.dbmsLock = false;
  assert.deepEqual(
    answers.map((found) => Number(found[0]?.["ANSWER"])),
    [0, 4, 1],
  );
  sys.destroy();
  other.destroy();
});

test("what SYS grants is what a user may; a view that was not granted does not exist", async () => {
  const sys = await oracle.person();
  await sys.query('CREATE USER watcher IDENTIFIED BY "change this"');
  const login = () => oracle.person("watcher", { password: "change this" });
  assert.match((await refusal(login())).message, /ORA-01045: user WATCHER lacks CREATE SESSION/);
  await sys.query("GRANT CREATE SESSION TO watcher");
  const watcher = await login();
  const look = "SELECT ID FROM SYS.GV$OB_PROCESSLIST";
  assert.equal((await refusal(watcher.query(look))).errno, 942);
  await sys.query("GRANT SELECT ON SYS.GV$OB_PROCESSLIST TO watcher");
  const alone = (await rows(watcher, look)).map((row) => Number(row["ID"]));
  assert.deepEqual(alone, [await oracle.idOf(watcher)], "nothing says that others are missing");
  await sys.query("GRANT SHOW PROCESS TO watcher");
  const ids = (await rows(watcher, look)).map((row) => Number(row["ID"]));
  assert.ok(ids.includes(await oracle.idOf(sys)));
  assert.deepEqual(
    (await rows(watcher, "SELECT PRIVILEGE FROM SYS.USER_SYS_PRIVS")).map((row) => row["PRIVILEGE"]),
    ["CREATE SESSION", "SHOW PROCESS"],
  );
  assert.equal((await refusal(watcher.query("GRANT ALTER SYSTEM TO watcher"))).errno, 1031);
  sys.destroy();
  watcher.destroy();
});
