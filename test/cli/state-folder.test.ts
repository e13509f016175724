import assert from "node:assert/strict";
import { chmod, chown, lstat, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertClean, assertEnded } from "../support/clean-output.ts";
import { type Ended, lockwarden, ordinaryUser, type Place, place, throughShell } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();
const config = `mode: enforce\ntargets: [{name: app, url: "${service.url}"}]\n${stuckRule}`;

/** A place whose state folder is another one. */
async function placeWith(stateDir: (folder: string) => string): Promise<Place & { elsewhere: string }> {
  const here = await place(config);
  const elsewhere = stateDir(here.folder);
  await writeFile(here.config, `${config}\nstate_dir: ${elsewhere}\n`);
  return { ...here, elsewhere };
}

/** `once` and `run` end alike: nothing done, the reason and what to do on standard error, 1. */
async function cannotStart(here: Place, manner = {}): Promise<string> {
  const { lives, release } = await stuckLogin(service, 1);
  const said: string[] = [];
  for (const command of ["once", "run"]) {
    const ended = await lockwarden([command, "--config", here.config], {}, manner);
    assertEnded(ended, { code: 1, err: /^lockwarden: cannot own the state folder .*\n$/ });
    said.push(ended.err);
  }
  assert.ok(await lives());
  await release();
  // The name of the socket that it tried to make is new each time.
  assert.equal(withoutName(said[0]), withoutName(said[1]));
  return said[0] ?? "";
}

function withoutName(text: string | undefined): string | undefined {
  return text?.replace(/control-[0-9a-f]{16}/, "control-?");
}

test("a state folder that this user may not write is named, with who tried and what to do", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string") return t.skip(somebody);
  const advice =
    /^lockwarden: cannot own the state folder \S+ as user \S+ \(uid \d+\): EACCES: .*; run lockwarden as the folder's owner, give the folder to this user, or set state_dir\n$/;
  for (const [mode, name] of [
    [0o555, "state"],
    [0o555, "state/missing"],
    [0o000, "state"],
    [0o000, "state/missing"],
  ] as const) {
    const here = await placeWith((folder) => join(folder, name));
    await chmod(here.folder, 0o755);
    await mkdir(here.stateDir, { mode });
    assert.match((await cannotStart(here, somebody)).replace("listen EACCES", "EACCES"), advice);
    await chmod(here.stateDir, 0o755);
  }
});

test("a state folder that is a file is told", async () => {
  const here = await placeWith((folder) => join(folder, "lockwarden.yaml"));
  assert.match(await cannotStart(here), /lockwarden\.yaml as .*: EEXIST: .*; set state_dir to a folder\n$/);
});

test("a state folder with a path too long for any file is told", async () => {
  const here = await placeWith((folder) => join(folder, "x".repeat(300)));
  assert.match(await cannotStart(here), /: ENAMETOOLONG: name too long/);
});

test("a state folder with a path too long for a socket works, for once and beside a daemon", async () => {
  const here = await placeWith((folder) => join(folder, "x".repeat(100), "y".repeat(100)));
  const words = ["once", "--config", here.config];
  const alone = await stuckLogin(service, 2);
  assertEnded(await lockwarden(words), { code: 0, out: new RegExp(`^app: stuck-login: terminate ${alone.pid},`) });
  await alone.login;
  assert.deepEqual((await readdir(here.elsewhere)).toSorted(), ["journal.jsonl", "spool"]);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  assertEnded(await lockwarden(words), { code: 0, out: /^app: nothing to do\n$/ });
  assertEnded(await lockwarden(["run", "--config", here.config]), {
    code: 1,
    err: /^lockwarden run: another lockwarden owns .*: it answers at control\.sock there\n$/,
  });
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

test("when root runs once, all that it leaves belongs to the folder's owner", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root can write in somebody else's folder");
  const here = await place(config);
  await mkdir(here.stateDir);
  await chown(here.stateDir, 65_534, 65_534);
  const { login } = await stuckLogin(service, 3);
  assertEnded(await lockwarden(["once", "--config", here.config]), { code: 0, out: /released/ });
  await login;
  const left = await readdir(here.stateDir, { recursive: true });
  assert.deepEqual(left.toSorted(), ["journal.jsonl", "spool"]);
  for (const name of left) {
    const { uid, gid } = await lstat(join(here.stateDir, name));
    assert.deepEqual([name, uid, gid], [name, 65_534, 65_534]);
  }
});

/** As on a full disk: not a byte can be written to a file; pipes and sockets work. */
function withFullDisk(words: readonly string[]): Promise<Ended> {
  return throughShell('ulimit -f 0; "$@"', words);
}

test("with a full disk once sends nothing, says so and fails; with room again it acts", async () => {
  const here = await place(config);
  const { pid, lives, login } = await stuckLogin(service, 4);
  const words = ["once", "--config", here.config];
  const why =
    `cannot write the journal ${here.stateDir}/journal.jsonl: .*; ` +
    "(?:free some space on that disk|raise the limit on file sizes.*)\\. Without it nothing is acted on";
  const ended = await withFullDisk(words);
  assertEnded(ended, {
    code: 1,
    out: new RegExp(
      `^app: stuck-login: did not terminate ${pid},.*; the journal cannot be written, so nothing was sent\\n$`,
    ),
    err: new RegExp(`nothing is acted on: ${why}`),
  });
  const json = await withFullDisk([...words, "--json"]);
  assertClean(json);
  assert.equal(json.code, 1);
  const { targets } = JSON.parse(json.out) as { targets: { decisions: Record<string, unknown>[] }[] };
  const decision = targets[0]?.decisions[0];
  assert.deepEqual(
    [decision?.["decision"], decision?.["by"], decision?.["code"], decision?.["outcome"]],
    ["spare", "journal", "journal", null],
  );
  assert.ok(await lives());
  assert.deepEqual(await here.journal(), []);
  assertEnded(await lockwarden(words), { code: 0, out: /released/ });
  await login;
});

test("with a full disk and nothing to do once is content", async () => {
  const here = await place(config);
  assertEnded(await withFullDisk(["once", "--config", here.config]), { code: 0, out: /^app: nothing to do\n$/ });
});
