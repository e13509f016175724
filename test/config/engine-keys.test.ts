import assert from "node:assert/strict";
import { test } from "node:test";
import { mistakesOf } from "../support/load-text.ts";

const rules = "rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]";

function of(target: string): readonly string[] {
  return mistakesOf(`targets: [{name: app, ${target}}]\n${rules}\n`).map((one) =>
    one.replace(/^c:1:\d+ targets\.0\./, ""),
  );
}

const tenant = 'url: "oceanbase://u@t#c@db.example.org:2881"';
const server = "url: postgres://u@db.example.org/app";
const killWith = (engine: string) =>
  `kill_with: expected kill_with only where engine is opengauss or gaussdb, got it beside ${engine}: leave it out`;

test("a key that its engine would pass over in silence is a mistake", () => {
  assert.deepEqual(of(`engine: oceanbase, kill_with: kill-session, ${tenant}`), [killWith("oceanbase")]);
  assert.deepEqual(of(`kill_with: guarded, ${tenant}`), [killWith("oceanbase")]);
  assert.deepEqual(of(`engine: postgres, kill_with: kill-session, ${server}`), [killWith("postgres")]);
  assert.deepEqual(of(`leader_database: app, ${tenant}`), [
    "leader_database: expected leader_database only where engine is postgres, opengauss or gaussdb, got it beside oceanbase: leave it out",
  ]);
});

test("where the server is to say what it is, or the engine knows the key, it is none", () => {
  for (const engine of ["", "engine: opengauss, ", "engine: gaussdb, "])
    assert.deepEqual(of(`${engine}kill_with: kill-session, leader_database: app, ${server}`), []);
  assert.deepEqual(of(`engine: postgres, leader_database: app, ${server}`), []);
});

test("beside an engine that is none, the url is not called wrong for what the engine says", () => {
  const expected = "engine: expected postgres, opengauss, gaussdb or oceanbase";
  assert.deepEqual(of(`engine: OceanBase, ${tenant}`), [`${expected}, got "OceanBase"; did you mean "oceanbase"?`]);
  assert.deepEqual(of('engine: mysql, url: "mysql://u@db.example.org:3306/app"'), [
    `${expected}, got "mysql"`,
    "url: expected engine: oceanbase beside a mysql:// URL, got another engine: MySQL and MariaDB themselves are not supported",
  ]);
});
