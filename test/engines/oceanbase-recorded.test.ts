import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import type mysql from "mysql2/promise";
import { eventually } from "../support/eventually.ts";
import { oceanBase } from "../support/oceanbase/oceanbase.ts";

// The double beside a real server: what seekdb, a fork of OceanBase 4.3.5 of one node and one tenant, was recorded to say.

const double = await oceanBase({ mode: "mysql", version: "4.3.5.3" });
const recording = (await readFile("test/fixtures/seekdb-recorded/1.2.0/row-lock.txt", "utf8")).split("\n");

/** The recorded answer to this statement: names, then rows, each by its names. */
function recorded(sql: string): { names: string[]; rows: Record<string, string>[] } {
  const at = recording.indexOf(`L> ${sql}`);
  assert.notEqual(at, -1, `expected the recording to have: ${sql}`);
  const end = recording.indexOf("", at);
  const [names = [], ...cells] = recording.slice(at + 1, end).map((line) => line.split(" | "));
  return { names, rows: cells.map((row) => Object.fromEntries(row.map((cell, index) => [names[index] ?? "", cell]))) };
}

/** A server of many nodes and tenants says these too; ids and times are each server's own. */
const ofMany = new Set(["SVR_IP", "SVR_PORT", "SQL_PORT", "TENANT_ID", "Ip"]);
type Cells = Readonly<Record<string, string | number | null>>;
const word = (value: string | number | null | undefined) => (value === "" ? "''" : String(value ?? "NULL"));

async function told(person: mysql.Connection, sql: string) {
  const [found, fields] = await person.query<mysql.RowDataPacket[]>(sql);
  return { names: fields.map(({ name }) => name).filter((name) => !ofMany.has(name)), rows: found };
}

test("the views and lists have the recorded columns, and a wait of two behind one the recorded rows", async () => {
  const [holder, one, two, dba] = await Promise.all([1, 2, 3, 4].map(() => double.person()));
  assert.ok(holder !== undefined && one !== undefined && two !== undefined && dba !== undefined);
  await holder.query("CREATE TABLE jobs (id INT PRIMARY KEY, v INT)");
  await holder.query("INSERT INTO jobs VALUES (1, 0)");
  await holder.query("BEGIN");
  await holder.query("UPDATE jobs SET v = 9 WHERE id = 1");
  const locks = "select * from oceanbase.GV$OB_LOCKS";
  const waiting = [one.query("UPDATE jobs SET v = 8 WHERE id = 1")];
  await eventually("one waits", async () => (await told(dba, `${locks} WHERE BLOCK = 1`)).rows.length === 1);
  waiting.push(two.query("SELECT * FROM jobs WHERE id = 1 FOR UPDATE"));
  await eventually("both wait", async () => (await told(dba, `${locks} WHERE BLOCK = 1`)).rows.length === 2);

  for (const sql of [
    locks,
    "select * from oceanbase.GV$OB_PROCESSLIST",
    "select * from oceanbase.GV$OB_TRANSACTION_SCHEDULERS",
    "show full processlist",
    "show processlist",
  ]) {
    const expected = recorded(sql).names.filter((name) => name !== "Proxy_sessid");
    assert.deepEqual((await told(dba, sql)).names, expected, sql);
  }
  const states = (rows: readonly Cells[]) =>
    rows
      .map((row) =>
        ["COMMAND", "STATE", "RETRY_INFO", "TRANS_STATE", "MODULE"].map((name) => word(row[name])).join(" "),
      )
      .sort();
  const sessions = "select * from oceanbase.GV$OB_PROCESSLIST";
  assert.deepEqual(states((await told(dba, sessions)).rows), states(recorded(sessions).rows));
  const kinds = (rows: readonly Cells[]) =>
    rows.map((row) => ["TYPE", "LMODE", "REQUEST", "BLOCK"].map((name) => word(row[name])).join(" "));
  const seen = new Set(kinds((await told(dba, locks)).rows));
  for (const kind of kinds(recorded(locks).rows)) assert.ok(seen.has(kind), `${kind} among ${[...seen].join(", ")}`);
  await holder.query("ROLLBACK");
  await Promise.all(waiting);
  for (const person of [holder, one, two, dba]) person.destroy();
});
