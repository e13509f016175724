import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, lstat, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { request } from "../../src/control-socket.ts";
import { type Busy, ownStateDir, type StateDir } from "../../src/state-dir.ts";
import { eventually } from "../support/eventually.ts";
import { tempFolder } from "../support/temp-folder.ts";

type Rival = Readonly<{ tell(word: object): Promise<unknown>; kill(): Promise<void> }>;

async function rival(t: TestContext): Promise<Rival> {
  const script = fileURLToPath(new URL("../support/state-dir-rival.js", import.meta.url));
  const child: ChildProcess = fork(script);
  const ended = once(child, "exit");
  const heard = async () => ((await once(child, "message")) as [{ said: unknown }])[0].said;
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  t.after(kill);
  await heard();
  return {
    tell(word) {
      const said = heard();
      child.send(word);
      return said;
    },
    kill,
  };
}

function owned(result: StateDir | Busy): StateDir {
  assert.equal(result.kind, "owned");
  return result;
}

test("a missing folder is created, taken, and freed without a trace", async (t) => {
  const dir = join(await tempFolder(t), "deep", "state");
  const state = owned(await ownStateDir(dir));
  assert.equal((await stat(dir)).mode & 0o777, 0o750);
  const socket = await lstat(join(dir, "control.sock"));
  assert.ok(socket.isSocket());
  assert.equal(socket.mode & 0o777, 0o600);
  assert.equal(await state.holds(), true);
  await Promise.all([state.close(), state.close()]);
  assert.deepEqual(await readdir(dir), []);
});

test("a second owner is refused while the first one lives, and let in afterwards", async (t) => {
  const dir = await tempFolder(t);
  const state = owned(await ownStateDir(dir));
  const second = await ownStateDir(dir);
  assert.equal(second.kind, "busy");
  assert.deepEqual(await readdir(dir), ["control.sock"]);
  await state.close();
  await owned(await ownStateDir(dir)).close();
});

test("of several that race for one folder with a dead socket in it exactly one wins, fifty times", async (t) => {
  const base = await tempFolder(t);
  const dirs = Array.from({ length: 50 }, (_, number) => join(base, String(number)));
  const litterer = await rival(t);
  for (const dir of dirs) {
    await mkdir(dir);
    await litterer.tell({ litter: dir });
  }
  await litterer.kill();
  const rivals = await Promise.all([rival(t), rival(t), rival(t)]);
  for (const dir of dirs) {
    const said = await Promise.all(rivals.map((each) => each.tell({ take: dir })));
    assert.deepEqual(
      said.map(String).toSorted((a, b) => a.localeCompare(b)),
      ["busy", "busy", "owned"],
      dir,
    );
    assert.deepEqual(await readdir(dir), ["control.sock"]);
    await Promise.all(rivals.map((each) => each.tell({ free: true })));
    assert.deepEqual(await readdir(dir), []);
  }
});

test("of many that race within one process exactly one wins", async (t) => {
  const dir = await tempFolder(t);
  for (let round = 0; round < 10; round += 1) {
    const results = await Promise.all(Array.from({ length: 8 }, () => ownStateDir(dir)));
    const winners = results.filter((result) => result.kind === "owned");
    assert.equal(winners.length, 1);
    await winners[0]?.close();
  }
});

test("what a killed owner left is taken over", async (t) => {
  const dir = await tempFolder(t);
  const first = await rival(t);
  assert.equal(await first.tell({ take: dir }), "owned");
  assert.equal((await ownStateDir(dir)).kind, "busy");
  await first.kill();
  assert.deepEqual(await readdir(dir), ["control.sock"]);
  assert.deepEqual(await request(dir, {}, { timeoutMs: 5_000 }), { kind: "nobody" });
  await owned(await ownStateDir(dir)).close();
});

test("a listener of unknown make at control.sock is respected", async (t) => {
  const dir = await tempFolder(t);
  const server = createServer().listen(join(dir, "control.sock"));
  await once(server, "listening");
  t.after(() => server.close());
  assert.equal((await ownStateDir(dir)).kind, "busy");
  assert.deepEqual(await readdir(dir), ["control.sock"]);
});

test("claims that died half-way are tidied up", async (t) => {
  const dir = await tempFolder(t);
  const litterer = await rival(t);
  await litterer.tell({ litter: dir });
  await litterer.kill();
  await rename(join(dir, "control.sock"), join(dir, ".control-0123456789abcdef.claim"));
  await writeFile(join(dir, ".control-fedcba9876543210.new"), "");
  const state = owned(await ownStateDir(dir));
  assert.deepEqual(await readdir(dir), ["control.sock"]);
  await state.close();
});

test("an owner learns that control.sock was removed under him, and leaves his successor's alone", async (t) => {
  const dir = await tempFolder(t);
  const first = owned(await ownStateDir(dir));
  await rm(join(dir, "control.sock"));
  assert.equal(await first.holds(), false);
  const second = owned(await ownStateDir(dir));
  assert.equal(await first.holds(), false);
  await first.close();
  assert.equal(await second.holds(), true);
  await second.close();
});

test("a path longer than the kernel takes for a socket works all the same", async (t) => {
  const dir = join(await tempFolder(t), "d".repeat(120), "e".repeat(120));
  const state = owned(await ownStateDir(dir));
  state.serve(async (message) => ({ heard: message }));
  assert.equal((await ownStateDir(dir)).kind, "busy");
  assert.deepEqual(await request(dir, 1, { timeoutMs: 5_000 }), { kind: "answer", answer: { heard: 1 } });
  await state.close();
  assert.deepEqual(await readdir(dir), []);
});

test("a folder that cannot be written names itself, the user, and what to do", async (t) => {
  const base = await tempFolder(t);
  await writeFile(join(base, "file"), "");
  await assert.rejects(
    ownStateDir(join(base, "file")),
    /cannot own the state folder .*file as .*uid \d+.*set state_dir to a folder/,
  );
  const blocked = join(base, "blocked");
  await mkdir(join(blocked, "control.sock"), { recursive: true });
  await assert.rejects(ownStateDir(blocked), /EISDIR.*remove the folder control\.sock/);
  assert.deepEqual(await readdir(blocked), ["control.sock"]);
  if (process.getuid?.() === 0) return;
  await chmod(base, 0o500);
  await assert.rejects(ownStateDir(join(base, "state")), /EACCES.*run lockwarden as the folder's owner/);
  await assert.rejects(ownStateDir(base), /EACCES.*run lockwarden as the folder's owner/);
  await chmod(base, 0o700);
});

test("the socket belongs to the folder's owner when root takes it", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("only root can give files away");
    return;
  }
  const dir = await tempFolder(t);
  await chown(dir, 65_534, 65_534);
  const state = owned(await ownStateDir(dir));
  const { uid, gid } = await lstat(join(dir, "control.sock"));
  assert.deepEqual([uid, gid], [65_534, 65_534]);
  await state.close();
});

test("the owner is found dead only when it is: a stopped one still owns", async (t) => {
  const dir = await tempFolder(t);
  const script = fileURLToPath(new URL("../support/state-dir-rival.js", import.meta.url));
  const child = fork(script);
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await once(child, "message");
  child.send({ take: dir });
  await once(child, "message");
  child.kill("SIGSTOP");
  assert.equal((await ownStateDir(dir)).kind, "busy");
  await eventually("still there", async () => (await readdir(dir)).includes("control.sock"));
});
