import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { appendFile, chown, lstat, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync, gzipSync } from "node:zlib";
import type { RecordedLook } from "../../src/core/recorded-look.ts";
import { recordedLooks } from "../../src/recorded-looks.ts";
import { lookPieces } from "../../src/recorded-snapshot.ts";
import {
  type Bounds,
  listSegments,
  readSegmentName,
  type Segment,
  segmentName,
  surplus,
} from "../../src/recording-files.ts";
import { openRecordings, type RecordingStore } from "../../src/recordings.ts";
import { recorded } from "../support/recorded.ts";
import { snapshot } from "../support/snapshot.ts";
import { tempFolder } from "../support/temp-folder.ts";

const run = promisify(execFile);
const dayMs = 86_400_000;
const startMs = Date.UTC(2026, 2, 1);

function lookAt(second: number, target = "app"): RecordedLook {
  const seen = snapshot().later(`${second}s`).session(1, { idle: "1m" }).session(2).waits(2, { on: 1 }).build();
  return recorded({ ...seen, target }, []);
}

function bounds(more: Partial<Bounds> = {}): Bounds {
  return { bytes: 1_000_000, keepMs: 7 * dayMs, nowMs: startMs, targets: ["app"], ...more };
}

type Recordings = Readonly<{ stateDir: string; folder: string; store: RecordingStore }>;

async function recordings(t: TestContext): Promise<Recordings> {
  const stateDir = await tempFolder(t);
  const store = await openRecordings(stateDir);
  t.after(() => store.close());
  return { stateDir, folder: join(stateDir, "recordings"), store };
}

async function readBack(folder: string): Promise<{ seconds: number[]; torn: number; broken: string[] }> {
  const seconds: number[] = [];
  const broken: string[] = [];
  let torn = 0;
  for (const name of (await readdir(folder)).toSorted()) {
    for await (const line of recordedLooks(join(folder, name))) {
      if (line.kind === "look") seconds.push((line.look.snapshot.atMs - Date.UTC(2026, 0, 1, 12)) / 1_000);
      else if (line.kind === "torn") torn++;
      else broken.push(line.text);
    }
  }
  return { seconds, torn, broken };
}

async function bytesIn(folder: string): Promise<number> {
  return (await listSegments(folder)).reduce((sum, { bytes }) => sum + bytes, 0);
}

test("what was recorded is read back, in files that any gunzip unpacks and only owner and group may read", async (t) => {
  const { folder, store } = await recordings(t);
  for (const second of [1, 2, 3]) await store.append(lookAt(second), bounds());
  assert.deepEqual(await readBack(folder), { seconds: [1, 2, 3], torn: 0, broken: [] });
  const [name = ""] = await readdir(folder);
  assert.equal(name, "app.20260301T000000000Z.jsonl.gz");
  const lines = gunzipSync(await readFile(join(folder, name)))
    .toString()
    .trimEnd()
    .split("\n");
  assert.deepEqual(
    lines,
    [1, 2, 3].map((second) => [...lookPieces(lookAt(second))].join("")),
  );
  assert.equal((await stat(join(folder, name))).mode & 0o137, 0);
});

test("the files never grow beyond their bytes, and the oldest looks go first", async (t) => {
  const { folder, store } = await recordings(t);
  const few = 12_000;
  for (let second = 0; second < 120; second++) {
    await store.append(lookAt(second), bounds({ bytes: few, nowMs: startMs + second * 1_000 }));
    assert.ok((await bytesIn(folder)) <= few);
  }
  const { seconds } = await readBack(folder);
  assert.ok(seconds.length >= 8 && seconds.length < 60, String(seconds.length));
  assert.deepEqual(
    seconds,
    Array.from({ length: seconds.length }, (_, index) => 120 - seconds.length + index),
  );
});

test("each target has its share: a noisy one does not push out what another has recorded", async (t) => {
  const { folder, store } = await recordings(t);
  const two = bounds({ bytes: 20_000, targets: ["app", "other"] });
  await store.append(lookAt(0, "other"), two);
  for (let second = 1; second < 60; second++) await store.append(lookAt(second), { ...two, nowMs: startMs + second });
  const { seconds } = await readBack(folder);
  assert.ok(seconds.includes(0) && seconds.includes(59) && !seconds.includes(1));
  assert.ok((await bytesIn(folder)) <= 11_000, "its half, and the one look of the other");
});

test("nothing older than keep stays, not even in the file that is written to", async (t) => {
  const { folder, store } = await recordings(t);
  await store.append(lookAt(1), bounds());
  await store.append(lookAt(2), bounds({ nowMs: startMs + 2 * dayMs }));
  await store.tidy(bounds({ nowMs: startMs + 8 * dayMs }));
  assert.deepEqual((await readBack(folder)).seconds, [2]);
  await store.tidy(bounds({ nowMs: startMs + 10 * dayMs }));
  assert.deepEqual((await readBack(folder)).seconds, []);
  await store.append(lookAt(3), bounds({ nowMs: startMs + 10 * dayMs }));
  assert.deepEqual((await readBack(folder)).seconds, [3]);
});

test("a host's clock that is put forward by days removes nothing", async (t) => {
  const { folder, store } = await recordings(t);
  await store.append(lookAt(1), bounds());
  const nowMs = startMs + 30 * dayMs;
  await store.append(lookAt(2), bounds({ nowMs, agedMs: startMs + dayMs }));
  assert.deepEqual((await readBack(folder)).seconds, [1, 2]);
  await store.tidy(bounds({ nowMs, agedMs: startMs + 8 * dayMs }));
  assert.deepEqual((await readBack(folder)).seconds, [2]);
});

test("bounds hold over a restart, and what lies there and is not the recorder's is left alone", async (t) => {
  const { stateDir, folder, store } = await recordings(t);
  for (let second = 0; second < 10; second++) await store.append(lookAt(second), bounds({ nowMs: startMs + second }));
  await store.close();
  await writeFile(join(folder, "notes.txt"), "by hand");
  await mkdir(join(folder, "app.20200101T000000000Z.jsonl.gz"));
  const next = await openRecordings(stateDir);
  const bytes = (await bytesIn(folder)) + 100;
  await next.append(lookAt(10), bounds({ bytes, nowMs: startMs + 1_000 }));
  await next.close();
  assert.deepEqual((await listSegments(folder)).length, 1);
  assert.equal((await readdir(folder)).length, 3);
});

test("a file that somebody removed is begun anew", async (t) => {
  const { folder, store } = await recordings(t);
  await store.append(lookAt(1), bounds());
  for (const name of await readdir(folder)) await rm(join(folder, name));
  await store.append(lookAt(2), bounds());
  await store.append(lookAt(3), bounds());
  assert.deepEqual((await readBack(folder)).seconds, [2, 3]);
});

test("a look that is larger than its share is refused with what to do", async (t) => {
  const { folder, store } = await recordings(t);
  await assert.rejects(
    store.append(lookAt(1), bounds({ bytes: 100 })),
    /^Error: one look at app takes \d+ bytes, and its share of recordings\.size is 100 bytes; raise recordings\.size$/,
  );
  assert.deepEqual(await readdir(folder), []);
});

test("every prefix of a recording is readable: only the look that a crash cut short is missing", async (t) => {
  const { folder, store } = await recordings(t);
  for (const second of [1, 2, 3]) await store.append(lookAt(second), bounds());
  await store.close();
  const [name = ""] = await readdir(folder);
  const path = join(folder, name);
  const whole = await readFile(path);
  for (let length = whole.length; length >= 0; length -= 7) {
    await truncate(path, length);
    const { seconds, broken } = await readBack(folder);
    assert.deepEqual(broken, [], `${length} bytes`);
    assert.deepEqual(seconds, [1, 2, 3].slice(0, seconds.length));
    assert.ok(seconds.length >= Math.floor((length / whole.length) * 3 - 0.1), `${seconds.length} of ${length} bytes`);
  }
});

test("plain lines are read as packed ones are; a torn last line is no fault, and any other garbage is one with its place", async (t) => {
  const folder = await tempFolder(t);
  const file = join(folder, "by-hand.jsonl");
  const line = [...lookPieces(lookAt(5))].join("");
  await writeFile(file, `${line}\n\n${line.slice(0, 100)}`);
  assert.deepEqual(await readBack(folder), { seconds: [5], torn: 1, broken: [] });
  await appendFile(file, `\n${line}\n{"version":1}\n`);
  const { seconds, torn, broken } = await readBack(folder);
  assert.deepEqual([seconds, torn], [[5, 5], 0]);
  assert.match(broken[0] ?? "", /by-hand\.jsonl:3: expected one recorded snapshot as JSON, got something else/);
  assert.match(broken[1] ?? "", /by-hand\.jsonl:5 target: expected a text, got nothing, and \d+ more mistakes$/);
});

test("a file that is not packed as its name says, or not there, is a fault and not an end", async (t) => {
  const folder = await tempFolder(t);
  await writeFile(join(folder, "app.20260301T000000000Z.jsonl.gz"), "not packed");
  const spoiled = gzipSync(`${[...lookPieces(lookAt(5))].join("")}\n`);
  spoiled.fill(0xff, 30, 60);
  await writeFile(join(folder, "b.gz"), spoiled);
  const { seconds, broken } = await readBack(folder);
  assert.deepEqual(seconds, []);
  assert.match(
    broken.join("\n"),
    /Z\.jsonl\.gz: cannot be read behind line 0: incorrect header check\n.*b\.gz.* cannot be read/,
  );
  for await (const line of recordedLooks(join(folder, "none"))) assert.match(JSON.stringify(line), /broken.*ENOENT/);
});

test("files keep the folder's owner when root runs the daemon", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root can give files away");
  const stateDir = await tempFolder(t);
  await chown(stateDir, 65_534, 65_534);
  const store = await openRecordings(stateDir);
  await store.append(lookAt(1), bounds());
  await store.close();
  const folder = join(stateDir, "recordings");
  for (const path of [folder, join(folder, (await readdir(folder))[0] ?? "")]) {
    const { uid, gid } = await lstat(path);
    assert.deepEqual([uid, gid], [65_534, 65_534]);
  }
});

test("something else in the place of the folder is named", async (t) => {
  const stateDir = await tempFolder(t);
  await writeFile(join(stateDir, "recordings"), "");
  await assert.rejects(openRecordings(stateDir), /recordings/);
});

const writer = fileURLToPath(new URL("../support/recording-writer.js", import.meta.url));
type Told = Readonly<{ written: number; told: string[]; free: number }>;

/** Runs the writer on a file system of its own, as large as asked, and copies what it recorded to `to`. */
async function onDisk(
  t: TestContext,
  size: string,
  ballast: string,
): Promise<Readonly<{ told: Told; folder: string }> | null> {
  const to = await tempFolder(t);
  const mounted = join(to, "mounted");
  await mkdir(mounted);
  const mount = `mount -t tmpfs -o size=${size} none "$1" && shift`;
  const probe = spawnSync("unshare", ["--mount", "bash", "-c", `${mount}; true`, "probe", mounted], {
    encoding: "utf8",
  });
  if (probe.status !== 0 || probe.stderr !== "") {
    t.skip(`this user cannot mount: ${probe.error?.message ?? probe.stderr.trim()}`);
    return null;
  }
  const script = `${mount} && head -c ${ballast} /dev/zero > "$3/ballast" && "$@" && cp -r "$3/recordings" "$3/.."`;
  const given = ["--mount", "bash", "-c", script, "fill", mounted, process.execPath, writer, mounted];
  const { stdout } = await run("unshare", given);
  return { told: JSON.parse(stdout) as Told, folder: join(to, "recordings") };
}

test("on a disk that fills up the recorder leaves the last room to the journal, and goes on when there is more", async (t) => {
  const done = await onDisk(t, "18m", "1900k");
  if (done === null) return;
  const { told, folder } = done;
  assert.match(
    told.told[0] ?? "",
    /bytes are free on the disk of .*recordings, and the last 16777216 are left to the journal; free some space there/,
  );
  assert.ok(told.free >= 16 * 1024 ** 2, String(told.free));
  assert.deepEqual(await readBack(folder), {
    seconds: Array.from({ length: told.written }, (_, at) => at),
    torn: 0,
    broken: [],
  });
});

test("where only a part of a look fits, none of it stays", async (t) => {
  const folder = await tempFolder(t);
  // 9 blocks of 1024 bytes.
  const { stdout } = await run("bash", ["-c", `ulimit -f 9; exec "$0" "$@"`, process.execPath, writer, folder]);
  const { written, told } = JSON.parse(stdout) as Told;
  assert.match(told[0] ?? "", /only \d+ of \d+ bytes could be written|EFBIG/);
  assert.ok(written > 1);
  const { seconds, torn, broken } = await readBack(join(folder, "recordings"));
  assert.deepEqual([seconds.length, torn, broken], [written, 0, []]);
  const files = await readdir(join(folder, "recordings"));
  for (const name of files) assert.ok(gunzipSync(await readFile(join(folder, "recordings", name))).length > 0, "whole");
});

test("names of files tell their target and moment, whatever the target is called", () => {
  for (const target of ["app", "a.b-c_d", "x.20260301T000000000Z"]) {
    assert.deepEqual(readSegmentName(segmentName(target, startMs + 7)), { target, sinceMs: startMs + 7 });
  }
  for (const name of [
    "app.jsonl.gz",
    "app.20261301T000000000Z.jsonl.gz",
    "app.20260301T000000000Z.jsonl.gz.new",
    ".20260301T000000000Z.jsonl.gz",
  ])
    assert.equal(readSegmentName(name), null, name);
});

test("what nobody watches any more gives way before what is watched", () => {
  const segment = (target: string, sinceMs: number, bytes: number): Segment => ({
    name: `${target} ${sinceMs}`,
    target,
    sinceMs: startMs + sinceMs,
    bytes,
  });
  const all = [segment("gone", 1, 40), segment("app", 2, 40), segment("gone", 3, 40), segment("app", 4, 50)];
  const removed = (bytes: number, more = 0) =>
    surplus(all, bounds({ bytes }), { target: "app", bytes: more }).map(({ name }) => name);
  assert.deepEqual(removed(170), []);
  assert.deepEqual(removed(169), ["gone 1"]);
  assert.deepEqual(removed(100), ["gone 1", "gone 3"]);
  assert.deepEqual(removed(100, 20), ["app 2", "gone 1", "gone 3"]);
  assert.deepEqual(removed(100, 60), ["app 2", "app 4", "gone 1"]);
});
