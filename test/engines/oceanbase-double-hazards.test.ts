import assert from "node:assert/strict";
import { test } from "node:test";
import type mysql from "mysql2/promise";
import { eventually } from "../support/eventually.ts";
import { type OceanBaseDouble, oceanBase } from "../support/oceanbase/oceanbase.ts";

// Each hazard as somebody meets who does the obvious: what Lockwarden's engine must not do hits the innocent here.

const oracle = await oceanBase({ proxy: "v1" });
const { postgres } = oracle;
const plain = await oceanBase({ postgres, mode: "mysql", proxy: "v2" });
const lenient = await oceanBase({ postgres, killGrammar: "both" });
const both = [oracle, plain];

for (const double of both) {
  await double.createUser({ name: "app" });
  await double.createUser({ name: "ops", alterSystem: true, showProcess: true });
  await double.createUser({ name: "blind", alterSystem: true, super: true });
  const owner = await double.person("app");
  await owner.query("CREATE TABLE user_session (id INT PRIMARY KEY, n INT)");
  await owner.query("INSERT INTO user_session VALUES (1, 0), (2, 0)");
  owner.destroy();
}

const schemaOf = ({ mode }: OceanBaseDouble) => (mode === "oracle" ? "SYS" : "oceanbase");
const killSql = ({ mode }: OceanBaseDouble, id: number | string) =>
  mode === "oracle" ? `ALTER SYSTEM KILL SESSION '${id}'` : `KILL ${id}`;

async function rows(person: mysql.Connection, sql: string): Promise<mysql.RowDataPacket[]> {
  const [found] = await person.query<mysql.RowDataPacket[]>(sql);
  return found;
}

async function refusal(doing: Promise<unknown>): Promise<{ errno: number; message: string }> {
  const error = await doing.then(
    () => assert.fail("expected a refusal, got an answer"),
    (failure: unknown) => failure,
  );
  const { errno, sqlMessage } = error as mysql.QueryError & { sqlMessage?: string };
  return { errno: errno ?? 0, message: sqlMessage ?? "" };
}

/** Whether the person's session is still served. */
async function isThere(person: mysql.Connection): Promise<boolean> {
  return person.query("SELECT 1 FROM DUAL").then(
    () => true,
    () => false,
  );
}

async function waits(double: OceanBaseDouble, dba: mysql.Connection): Promise<mysql.RowDataPacket[]> {
  const view = `${schemaOf(double)}.GV$OB_LOCKS`;
  return rows(dba, `SELECT TRANS_ID, SESSION_ID, ID1, ID2 FROM ${view} WHERE BLOCK = 1 AND TYPE = 'TR'`);
}

/** Somebody idle in a transaction who holds a row, and somebody who waits for it. */
async function stuck(double: OceanBaseDouble, through: "server" | "proxy" = "server") {
  const holder = await double.person("app", through === "proxy" ? { through } : {});
  const waiter = await double.person("app");
  const dba = await double.person();
  await holder.query("BEGIN");
  await holder.query("UPDATE user_session SET n = n + 1 WHERE id = 1");
  let freed = false;
  const waiting = waiter.query("UPDATE user_session SET n = n + 1 WHERE id = 1").then(() => {
    freed = true;
  });
  waiting.catch(() => undefined);
  const wait = await eventually("the wait is listed", async () => (await waits(double, dba))[0]);
  const end = () => [holder, waiter, dba].forEach((person) => person.destroy());
  return { holder, waiter, waiting, dba, wait, holderId: await double.idOf(holder), isThrough: () => freed, end };
}

for (const double of both) {
  test(`${double.mode} mode: a kill ends the session, frees the waiter, and the victim loses its connection`, async () => {
    const { holder, dba, waiting, holderId, end } = await stuck(double);
    await dba.query(killSql(double, holderId));
    await waiting;
    await assert.rejects(holder.query("SELECT 1 FROM DUAL"), ({ code }: mysql.QueryError) =>
      ["PROTOCOL_CONNECTION_LOST", "ECONNRESET", "EPIPE"].includes(code),
    );
    const left = await rows(dba, `SELECT ID FROM ${schemaOf(double)}.GV$OB_PROCESSLIST WHERE ID = ${holderId}`);
    assert.deepEqual(left, []);
    end();
  });

  test(`${double.mode} mode: KILL QUERY says OK of an idle holder and frees nothing; of who runs something it ends that alone`, async () => {
    const { waiter, holder, dba, waiting, holderId, isThrough, end } = await stuck(double);
    await dba.query(`KILL QUERY ${holderId}`);
    const sql = `SELECT STATE FROM ${schemaOf(double)}.GV$OB_PROCESSLIST WHERE ID = ${holderId}`;
    assert.equal((await rows(dba, sql))[0]?.["STATE"], "QUERY_KILLED");
    assert.equal((await waits(double, dba)).length, 1);
    await dba.query("KILL QUERY 999999");
    assert.equal(isThrough(), false);
    await dba.query(`KILL QUERY ${String((await waits(double, dba))[0]?.["SESSION_ID"])}`);
    const ended = await refusal(waiting);
    if (double.mode === "mysql") assert.deepEqual(ended, { errno: 1317, message: "Query execution was interrupted" });
    else
      assert.match(
        ended.message,
        /^ORA-00600: internal error code, arguments: -5065, Query execution was interrupted$/,
      );
    assert.equal(await isThere(waiter), true);
    assert.equal(await isThere(holder), true);
    end();
  });

  test(`${double.mode} mode: OK is no proof: a killed session may stay listed, with its locks`, async () => {
    const { dba, waiting, holderId, isThrough, end } = await stuck(double);
    double.switches.killed = "linger";
    await dba.query(killSql(double, holderId));
    double.switches.killed = "end";
    const sql = `SELECT STATE, TRANS_ID FROM ${schemaOf(double)}.GV$OB_PROCESSLIST WHERE ID = ${holderId}`;
    assert.equal((await rows(dba, sql))[0]?.["STATE"], "SESSION_KILLED");
    assert.equal((await waits(double, dba)).length, 1);
    assert.equal(isThrough(), false);
    await double.reap();
    await waiting;
    assert.deepEqual(await rows(dba, sql), []);
    end();
  });

  test(`${double.mode} mode: an id longer than 32 bits wraps to somebody else's, and junk is 0`, async () => {
    const innocent = await double.person("app");
    const dba = await double.person();
    const id = await double.idOf(innocent);
    await dba.query(killSql(double, 4_294_967_296 + id));
    await eventually("the innocent is gone", async () => !(await isThere(innocent)));
    assert.match((await refusal(dba.query(killSql(double, "junk")))).message, /Unknown thread id: 0$/);
    dba.destroy();
  });

  test(`${double.mode} mode: an id that was read a moment ago may be another session's`, async () => {
    const { holder, dba, wait, holderId, waiting, end } = await stuck(double);
    const innocents: mysql.Connection[] = [];
    double.switches.before = async ({ sql }) => {
      if (!sql.includes("KILL")) return;
      double.switches.before = null;
      holder.destroy();
      await waiting;
      double.switches.nextIds.push(holderId);
      const innocent = await double.person("app");
      await innocent.query("BEGIN");
      await innocent.query("UPDATE user_session SET n = 0 WHERE id = 2");
      innocents.push(innocent);
    };
    await dba.query(killSql(double, String(wait["ID2"])));
    assert.equal(innocents.length, 1);
    await eventually("the naive call has hit the innocent", async () => !(await isThere(innocents[0] ?? holder)));
    end();
  });

  test(`${double.mode} mode: a session that was read a moment ago may be in another transaction, which TRANS_ID tells`, async () => {
    const { holder, dba, wait, holderId, waiting, end } = await stuck(double);
    await holder.query("COMMIT");
    await waiting;
    await holder.query("BEGIN");
    const sql = `SELECT ID, TRANS_ID FROM ${schemaOf(double)}.GV$OB_PROCESSLIST WHERE ID = ${holderId}`;
    const [now] = await rows(dba, sql);
    assert.equal(Number(now?.["ID"]), holderId);
    assert.notEqual(String(now?.["TRANS_ID"]), String(wait["ID1"]));
    await dba.query(killSql(double, holderId));
    await eventually("the naive call has hit the new transaction", async () => !(await isThere(holder)));
    end();
  });

  test(`${double.mode} mode: ID2 is a hint: it may be no session, or somebody else's`, async () => {
    const { holder, dba, holderId, waiting, end } = await stuck(double);
    const innocent = await double.person("app");
    const hints: Record<string, number> = {};
    for (const holderIds of ["invalid", "zero", "exact", await double.idOf(innocent)] as const) {
      double.switches.holderIds = holderIds;
      hints[typeof holderIds === "number" ? "stale" : holderIds] = Number((await waits(double, dba))[0]?.["ID2"]);
    }
    double.switches.holderIds = "exact";
    assert.deepEqual(hints, { invalid: 4_294_967_295, zero: 0, exact: holderId, stale: await double.idOf(innocent) });
    await dba.query(killSql(double, hints["stale"] ?? 0));
    await eventually("the naive call has hit the innocent", async () => !(await isThere(innocent)));
    assert.equal((await waits(double, dba)).length, 1, "and freed nothing");
    await holder.query("ROLLBACK");
    await waiting;
    end();
  });

  test(`${double.mode} mode: who may not see sessions is shown fewer, and is not told; the locks name them all the same`, async () => {
    const { holderId, wait, waiting, holder, end } = await stuck(double);
    const blind = await double.person("blind");
    const view = `${schemaOf(double)}.GV$OB_PROCESSLIST`;
    assert.deepEqual(await rows(blind, `SELECT ID FROM ${view} WHERE ID = ${holderId}`), []);
    assert.deepEqual(await rows(blind, `SELECT ID FROM ${view} WHERE TRANS_ID = ${String(wait["ID1"])}`), []);
    assert.deepEqual(
      (await waits(double, blind)).map((row) => String(row["ID1"])),
      [String(wait["ID1"])],
    );
    await holder.query("ROLLBACK");
    await waiting;
    blind.destroy();
    end();
  });
}

test("a person may end its own user's sessions, and others' only with SUPER; ALTER SYSTEM is asked for first", async () => {
  const [ops, app, dba] = [await oracle.person("ops"), await oracle.person("app"), await oracle.person()];
  const id = await oracle.idOf(app);
  assert.deepEqual(await refusal(ops.query(`ALTER SYSTEM KILL SESSION '${id}'`)), {
    errno: 600,
    message: `ORA-00600: internal error code, arguments: -5251, You are not owner of thread ${id}`,
  });
  assert.deepEqual(await refusal(app.query("ALTER SYSTEM KILL SESSION '1'")), {
    errno: 1031,
    message: "ORA-01031: insufficient privileges",
  });
  assert.match((await refusal(ops.query(`KILL QUERY ${id}`))).message, /-5251/);
  assert.match(
    (await refusal(dba.query("ALTER SYSTEM KILL SESSION '3221487726'"))).message,
    /^ORA-00600.*-4174, Unknown thread id: 3221487726$/,
  );
  const own = await oracle.person("ops");
  await ops.query(`ALTER SYSTEM KILL SESSION '${await oracle.idOf(own)}'`);
  await eventually("one's own is gone", async () => !(await isThere(own)));
  const [plainOps, plainApp] = [await plain.person("ops"), await plain.person("app")];
  const plainId = await plain.idOf(plainApp);
  assert.deepEqual(await refusal(plainOps.query(`KILL ${plainId}`)), {
    errno: 1095,
    message: `You are not owner of thread ${plainId}`,
  });
  assert.deepEqual(await refusal(plainOps.query("KILL 3221487726")), {
    errno: 1094,
    message: "Unknown thread id: 3221487726",
  });
  for (const person of [ops, app, dba, plainOps, plainApp]) person.destroy();
});

test("ALTER SYSTEM KILL SESSION takes a serial# or IMMEDIATE, which change nothing, and not both; one's own id is answered with OK", async () => {
  const dba = await oracle.person();
  for (const form of ["'ID, 7'", "'ID' IMMEDIATE", "'ID'"]) {
    const victim = await oracle.person("app");
    await dba.query(`ALTER SYSTEM KILL SESSION ${form.replace("ID", String(await oracle.idOf(victim)))}`);
    await eventually(`${form} ends it`, async () => !(await isThere(victim)));
  }
  assert.match(
    (await refusal(dba.query("ALTER SYSTEM KILL SESSION '1, 7' IMMEDIATE"))).message,
    /^ORA-00900.*IMMEDIATE/,
  );
  const other = await lenient.person();
  assert.match((await refusal(other.query("ALTER SYSTEM KILL SESSION '1, 7' IMMEDIATE"))).message, /-4174/);
  await other.query(`ALTER SYSTEM KILL SESSION '${await lenient.idOf(other)}'`);
  await eventually("and then it is gone", async () => !(await isThere(other)));
  dba.destroy();
});

test("messages may begin with OBE- and end with a trace: neither end can be relied on", async () => {
  const dba = await oracle.person();
  oracle.switches.prefix = "OBE";
  oracle.switches.richErrors = true;
  const { message, errno } = await refusal(dba.query("ALTER SYSTEM KILL SESSION '5'"));
  oracle.switches.prefix = "ORA";
  oracle.switches.richErrors = false;
  assert.match(message, /^OBE-00600: .*-4174, Unknown thread id: 5\n\[127\.0\.0\.1:2882\] \[.*\] \[YB/);
  assert.equal(errno, 600);
  dba.destroy();
});

test("in Oracle mode a backslash escapes nothing, so what the driver escapes ends elsewhere", async () => {
  const dba = await oracle.person();
  const [row] = await rows(dba, "SELECT 'a\\' AS A, 'b''c' AS B FROM DUAL");
  assert.deepEqual(Object.values(row ?? {}), ["a\\", "b'c"]);
  const hostile = "x' FROM DUAL --";
  const [injected] = await rows(dba, dba.format("SELECT ? AS A FROM DUAL", [hostile]).replace(" AS A FROM DUAL", ""));
  assert.deepEqual(Object.values(injected ?? {}), ["x\\"], "the statement was ended by the value");
  dba.destroy();
});

test("MySQL mode has InnoDB's views, of one made-up transaction 0 that blocks and holds nothing", async () => {
  const dba = await plain.person();
  const [phantom] = await rows(dba, "SELECT trx_id, trx_mysql_thread_id FROM information_schema.INNODB_TRX");
  assert.deepEqual(phantom, { trx_id: "0", trx_mysql_thread_id: "0" });
  assert.match((await refusal(dba.query(`KILL ${phantom?.["trx_mysql_thread_id"]}`))).message, /Unknown thread id: 0/);
  dba.destroy();
});

test("behind OBProxy v1 SHOW PROCESSLIST tells the proxy's ids, which ALTER SYSTEM KILL SESSION does not know", async () => {
  const { holder, dba, waiting, holderId, end } = await stuck(oracle, "proxy");
  const app = await oracle.person("app", { through: "proxy" });
  const sys = await oracle.person("SYS", { through: "proxy" });
  assert.notEqual(app.threadId, await oracle.idOf(app), "the greeting has the proxy's id");
  const listed = await rows(sys, "SHOW PROCESSLIST");
  const ids = listed.map((row) => Number(row["Id"]));
  assert.ok(ids.includes(holder.threadId) && !ids.includes(holderId));
  assert.match(
    (await refusal(sys.query(`ALTER SYSTEM KILL SESSION '${holder.threadId}'`))).message,
    new RegExp(`-4174, Unknown thread id: ${holder.threadId}`),
  );
  const [full] = (await rows(sys, "SHOW FULL PROCESSLIST")).filter((row) => Number(row["ID"]) === holderId);
  assert.equal(full?.["USER"], "APP", "forwarded to a server, which tells its own ids");
  const [behind] = await rows(sys, `SELECT PROXY_SESSID FROM SYS.GV$OB_PROCESSLIST WHERE ID = ${holderId}`);
  assert.notEqual(behind?.["PROXY_SESSID"], null);
  await sys.query(`KILL QUERY ${holder.threadId}`);
  assert.match((await refusal(sys.query(`KILL ${holderId}`))).message, /Unknown thread id/, "KILL is the proxy's");
  const inside = (id: number) => sys.query(`BEGIN EXECUTE IMMEDIATE 'KILL ${id}'; END;`);
  assert.match((await refusal(inside(app.threadId))).message, /-4174/, "and inside a block the server's");
  await inside(await oracle.idOf(app));
  await eventually("it is gone", async () => !(await isThere(app)));
  await sys.query(`KILL ${holder.threadId}`);
  await waiting;
  assert.equal(await isThere(dba), true);
  for (const person of [app, sys]) person.destroy();
  end();
});

test("behind OBProxy v2 the client's id is the server's word too, with bit 31 clear", async () => {
  const { holder, dba, waiting, holderId, end } = await stuck(plain, "proxy");
  assert.equal(holder.threadId, holderId);
  assert.ok(holderId < 0x8000_0000);
  await dba.query(`KILL ${holderId}`);
  await waiting;
  end();
});

test("the system tenant sees and ends every tenant's sessions", async () => {
  const app = await oracle.person("app");
  const root = await oracle.person("root", { tenant: "sys" });
  const id = await oracle.idOf(app);
  const [found] = (await rows(root, "SHOW FULL PROCESSLIST")).filter((row) => Number(row["Id"]) === id);
  assert.equal(found?.["Tenant"], "shop");
  assert.ok("Proxy_sessid" in (found ?? {}));
  const own = await oracle.idOf(root);
  const sys = await oracle.person();
  assert.match((await refusal(sys.query(`ALTER SYSTEM KILL SESSION '${own}'`))).message, /-4174/, "of another tenant");
  await root.query(`KILL ${id}`);
  await eventually("it is gone", async () => !(await isThere(app)));
  for (const person of [root, sys]) person.destroy();
});
