import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertEnded } from "../support/clean-output.ts";
import { lockwarden } from "../support/lockwarden.ts";
import { tempFolder } from "../support/temp-folder.ts";

const example = fileURLToPath(new URL("../../../config/examples/stuck-login.test.yaml", import.meta.url));
const other = fileURLToPath(new URL("../../../config/examples/ddl-jam.test.yaml", import.meta.url));

const failing = `rules:
  - name: stuck-login
    match: {idle_for: 30s, blocks: {tables: [public.user_session], for: 5s}}
    except: {users: [migrator]}
    steps: [terminate]
tests:
  - name: fine
    looks: [{at: 0s, expect: []}]
  - name: who blocks the login is ended
    looks:
      - at: 1m30s
        sessions:
          - {pid: 1, idle_for: 12s}
          - {pid: 2, waits: {on: 1, table: public.user_session, for: 9s}}
          - {pid: 3, user: migrator, idle_for: 1m}
          - {pid: 4, waits: {on: 3, table: public.user_session, for: 9s}}
          - {pid: 5, idle_for: 1m}
        expect:
          - {act: terminate, pid: 1, rule: stuck-login}
          - {act: terminate, pid: 5}
`;

async function fileOf(folder: string, name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

test("rule tests that pass are counted", async () => {
  const one = await lockwarden(["test", example]);
  assertEnded(one, { code: 0, out: /^6 tests passed in 1 file\n$/ });
  assertEnded(await lockwarden(["test", example, other]), { code: 0, out: /^12 tests passed in 2 files\n$/ });
});

test("a test that fails is told line by line: where, what was expected, what was decided, and why", async (t) => {
  const folder = await tempFolder(t);
  await fileOf(folder, "r.test.yaml", failing);
  const told = await lockwarden(["test", "r.test.yaml", example], {}, { cwd: folder });
  assertEnded(told, { code: 1, out: /./ });
  assert.equal(
    told.out,
    `FAILED: who blocks the login is ended
  r.test.yaml:19:13 at 90 s
    expected: terminate session 1 by rule stuck-login
    got:      wait 18 s, then terminate session 1 by rule stuck-login
    because:  idle in transaction, idle for 12 s, blocks 1 session on
      public.user_session, has blocked for 9 s; due in 18 s if nothing changes
  r.test.yaml:20:13 at 90 s
    expected: terminate session 5
    got:      nothing
    because:  rule stuck-login: blocks.waiters: expected at least 1 on
      public.user_session, got blocks nobody on public.user_session
  r.test.yaml:18:9 at 90 s
    expected: nothing more about session 3
    got:      spare session 3 (except, else terminate) by rule stuck-login
    because:  idle in transaction, idle for 1 min, blocks 1 session on
      public.user_session, has blocked for 9 s; except users: user migrator

1 of 8 tests failed in 2 files
`,
  );
});

type Report = Readonly<{
  passed: number;
  failed: number;
  files: readonly Readonly<{
    file: string;
    mistakes: readonly Readonly<Record<string, unknown>>[];
    tests: readonly Readonly<Record<string, unknown> & { failures: readonly Readonly<Record<string, unknown>>[] }>[];
  }>[];
}>;

test("--json tells the same to programs", async (t) => {
  const folder = await tempFolder(t);
  const file = await fileOf(folder, "r.test.yaml", failing);
  const told = await lockwarden(["test", "--json", file]);
  assertEnded(told, { code: 1, out: /./ });
  const { passed, failed, files } = JSON.parse(told.out) as Report;
  assert.deepEqual([passed, failed, files.length, files[0]?.file, files[0]?.mistakes], [1, 1, 1, file, []]);
  const [fine, wrong] = files[0]?.tests ?? [];
  assert.deepEqual(fine, { name: "fine", line: 7, column: 11, passed: true, failures: [] });
  assert.deepEqual([wrong?.["name"], wrong?.["passed"]], ["who blocks the login is ended", false]);
  assert.deepEqual(wrong?.failures[0], {
    line: 19,
    column: 13,
    atMs: 90_000,
    expected: "terminate session 1 by rule stuck-login",
    got: "wait 18 s, then terminate session 1 by rule stuck-login",
    because:
      "idle in transaction, idle for 12 s, blocks 1 session on public.user_session, has blocked for 9 s; due in 18 s if nothing changes",
  });
});

test("a file that is wrong does not keep the others from being run, and is told apart from a failure", async (t) => {
  const folder = await tempFolder(t);
  await fileOf(folder, "bad.test.yaml", "config: nowhere.yaml\ntests: [{name: t, looks: [{at: 0s, expect: []}]}]\n");
  await fileOf(folder, "r.test.yaml", failing);
  const told = await lockwarden(["test", "bad.test.yaml", "r.test.yaml", "none.yaml"], {}, { cwd: folder });
  assert.equal(told.code, 2);
  assert.deepEqual(told.err.trimEnd().split("\n"), [
    'bad.test.yaml:1:9 config: expected the path of a config from this file\'s folder, got "nowhere.yaml": expected a readable config file, got no such file',
    "none.yaml: expected a readable file of rule tests, got no such file",
  ]);
  assert.match(told.out, /\n1 of 2 tests failed in 1 file; 2 files could not be run\n$/);
  const json = await lockwarden(["test", "--json", "bad.test.yaml"], {}, { cwd: folder });
  assert.equal(json.code, 2);
  const { files } = JSON.parse(json.out) as Report;
  assert.deepEqual([files[0]?.mistakes[0]?.["line"], files[0]?.tests], [1, []]);
});

test("without a file it says what it takes", async () => {
  const told = await lockwarden(["test"]);
  assertEnded(told, { code: 2, err: /missing required argument 'file'.*lockwarden test --help says what it takes/s });
});
