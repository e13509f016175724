import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chown, mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pausedPath, readPausedFile, removePausedFile, writePausedFile } from "../../src/paused-file.ts";
import { tempFolder } from "../support/temp-folder.ts";

const paused = { since: "2026-03-01T03:00:00.000Z", by: "ann", reason: null, until: "2026-03-01T04:00:00.000Z" };

test("what is written is read back, and removed", async (t) => {
  const folder = await tempFolder(t);
  assert.deepEqual(await readPausedFile(folder), { kind: "none" });
  await writePausedFile(folder, paused);
  assert.deepEqual(await readPausedFile(folder), { kind: "paused", paused });
  await removePausedFile(folder);
  await removePausedFile(folder);
  assert.deepEqual(await readPausedFile(folder), { kind: "none" });
  assert.deepEqual(await readdir(folder), []);
});

test("no folder is no pause", async (t) => {
  assert.deepEqual(await readPausedFile(join(await tempFolder(t), "none")), { kind: "none" });
});

const garbage: Readonly<Record<string, (path: string) => unknown>> = {
  "an empty file": (path) => writeFile(path, ""),
  "half a file": (path) => writeFile(path, `{"v":1,"since":"2026-03-01T03:00`),
  "a file of something else": (path) => writeFile(path, "[]"),
  "a newer version's": (path) => writeFile(path, JSON.stringify({ v: 2, ...paused })),
  "a moment that is none": (path) => writeFile(path, JSON.stringify({ v: 1, ...paused, until: "soon" })),
  "a file without an end": (path) => writeFile(path, "x".repeat(1_000_000)),
  "a folder": (path) => mkdir(path),
  "a pipe": (path) => execFileSync("mkfifo", [path]),
  "a link to nowhere": (path) => symlink("nowhere", path),
};
for (const [what, make] of Object.entries(garbage)) {
  test(`${what} in the place of paused.json means paused, without an end`, async (t) => {
    const folder = await tempFolder(t);
    await make(pausedPath(folder));
    const found = await readPausedFile(folder);
    assert.ok(found.kind === "unreadable");
    assert.match(found.text, /paused\.json cannot be understood: /);
    assert.equal(found.paused.until, null);
  });
}

test("root's pause in somebody's folder leaves a file of that somebody", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root can write in the name of somebody else");
  const folder = await tempFolder(t);
  await chown(folder, 65_534, 65_534);
  await writePausedFile(folder, paused);
  const { uid, gid, mode } = await stat(pausedPath(folder));
  assert.deepEqual([uid, gid, mode & 0o777], [65_534, 65_534, 0o640]);
});
