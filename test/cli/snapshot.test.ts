import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readSnapshot } from "../../src/recorded-snapshot.ts";
import { assertEnded, secret } from "../support/clean-output.ts";
import { type Ended, lockwarden, type Place, place } from "../support/lockwarden.ts";
import { type LoginService, loginService } from "../support/login-service.ts";
import { outerMajors } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const services: LoginService[] = [];
for (const major of outerMajors()) services.push(await loginService({ major }));
const newest = services.at(-1) as LoginService;

function config(url: string, more = ""): string {
  return `targets:\n  - {name: app, url: "${url}"}\n${more}${stuckRule}`;
}

function take(here: Place, ...more: string[]): Promise<Ended> {
  return lockwarden(["snapshot", ...more, "--config", here.config]);
}

for (const [index, service] of services.entries()) {
  test(`${outerMajors()[index]}: a snapshot is one line of JSON with who waits for whom, and statements are masked`, async () => {
    const here = await place(config(service.url));
    const { pid, release } = await stuckLogin(service, 1);
    const talker = await service.person("talker");
    await talker.query("begin");
    await talker.query(`select '${secret}'`);
    const ended = await take(here);
    assertEnded(ended, { code: 0, out: /^\{.*\}\n$/ });
    const seen = readSnapshot(ended.out, "it");
    assert.equal(seen.target, "app");
    assert.deepEqual(
      seen.waits?.map(({ relation, blockers }) => [relation?.name, blockers]),
      [["user_session", [{ node: pid, soft: false }]]],
    );
    assert.equal(seen.sessions.find(({ application }) => application === "talker")?.query, "select ?");
    await talker.query("rollback");
    await release();
  });
}

test("with --out it is in that file, whole and not for everybody, and what it holds is told", async () => {
  const here = await place(config(newest.url));
  const { release } = await stuckLogin(newest, 2);
  const file = join(here.folder, "now.json");
  assertEnded(await take(here, "--out", file), {
    code: 0,
    out: /^app: \d+ sessions, \d+ locks held, 1 waited for: written to .*now\.json\n$/,
  });
  assert.equal(readSnapshot(await readFile(file, "utf8"), "it").waits?.length, 1);
  assert.equal((await stat(file)).mode & 0o137, 0);
  await release();
  const again = await take(here, "--out", file, "--json");
  assertEnded(again, { code: 0, out: /^\{"file":.*"waits":0,"contended":false,"gaps":\[\]\}\]\}\n$/ });
  assert.deepEqual((await readdir(here.folder)).toSorted(), ["lockwarden.yaml", "now.json"]);
});

test("a file that cannot be written is told", async () => {
  const here = await place(config(newest.url));
  assertEnded(await take(here, "--out", join(here.folder, "none", "now.json")), {
    code: 1,
    err: /^lockwarden snapshot: cannot write .*now\.json: ENOENT/,
  });
});

test("of several targets each has its line, one can be picked, and one that cannot be reached is told", async () => {
  const away = `  - {name: gone, url: "postgres://lockwarden:${secret}@127.0.0.1:1/app"}\n`;
  const here = await place(config(newest.url, away));
  assertEnded(await take(here), {
    code: 3,
    out: /^\{.*"target":"app".*\}\n$/,
    err: /^gone: cannot connect to gone .*\n$/,
  });
  assertEnded(await take(here, "--target", "app"), { code: 0, out: /^\{.*"target":"app".*\}\n$/ });
  assertEnded(await take(here, "--target", "ap"), {
    code: 2,
    err: /^lockwarden snapshot: --target: expected one of app, gone, got "ap"\n$/,
  });
});

test("a snapshot taken by hand can be replayed", async () => {
  const here = await place(config(newest.url));
  const { pid, release } = await stuckLogin(newest, 3);
  const file = join(here.folder, "now.jsonl");
  await take(here, "--out", file);
  const ended = await lockwarden(["replay", file, "--config", here.config]);
  assertEnded(ended, {
    code: 0,
    out: new RegExp(`\\nWould be acted on now, and was not before:\\n {2}app: session ${pid},`),
  });
  assert.match(ended.out, /\n {4}before: no rule was about it\n/);
  assert.match(ended.out, /\nnote: snapshots without a daemon's decisions: 1;/);
  await release();
});
