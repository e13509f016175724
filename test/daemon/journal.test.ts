import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import {
  appendFile,
  chown,
  lstat,
  mkdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openJournal } from "../../src/journal.ts";
import { journalLines, readJournal, readOpenIntents } from "../../src/journal-lines.ts";
import { intent, outcomeOf } from "../support/notice-samples.ts";
import { tempFolder } from "../support/temp-folder.ts";

const run = promisify(execFile);
const writer = fileURLToPath(new URL("../support/journal-writer.js", import.meta.url));

/** 9 blocks of 1024 bytes: room for some lines and a part of another. */
const limited = `ulimit -f 9; exec "$0" "$@"`;

async function idsIn(folder: string): Promise<string[]> {
  return (await readJournal(folder)).events.map((event) => event.id);
}

test("what was appended is read back, in order", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  const events = [intent("a"), outcomeOf("a"), intent("b")];
  for (const event of events) await journal.append(event);
  await journal.close();
  assert.deepEqual(await readJournal(folder), { events, torn: 0 });
  assert.deepEqual(
    (await readOpenIntents(folder)).intents.map((event) => event.id),
    ["b"],
  );
  const { mode } = await stat(join(folder, "journal.jsonl"));
  assert.equal(mode & 0o137, 0, "nobody but owner and group may read it");
});

test("a folder without a journal has no events", async (t) => {
  assert.deepEqual(await readJournal(await tempFolder(t)), { events: [], torn: 0 });
});

test("appends in flight at once never interleave and keep their order", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  const ids = Array.from({ length: 50 }, (_, number) => `i-${number}`);
  await Promise.all(ids.map((id) => journal.append(intent(id))));
  assert.deepEqual(await idsIn(folder), ids);
  await journal.close();
});

test("close waits for appends in flight, may be called twice, and ends the writing", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  const appended = journal.append(intent("a"));
  await Promise.all([journal.close(), journal.close()]);
  await appended;
  await assert.rejects(journal.append(intent("b")), /cannot write the journal .*: it is closed/);
  assert.deepEqual(await idsIn(folder), ["a"]);
});

test("every prefix of a journal is readable, and what is written after it as well", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const events = [intent("ä"), outcomeOf("ä")];
  const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  const first = bytes.indexOf(0x0a);
  for (let length = 0; length <= bytes.length; length += 1) {
    await writeFile(path, bytes.subarray(0, length));
    const whole = length < first ? 0 : length < bytes.length - 1 ? 1 : 2;
    const torn = length === 0 || length === first || length === first + 1 || length >= bytes.length - 1 ? 0 : 1;
    assert.deepEqual(await readJournal(folder), { events: events.slice(0, whole), torn }, `prefix of ${length} bytes`);
  }
});

test("a line torn by a crash stays as evidence and harms no later line", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const torn = JSON.stringify(intent("torn")).slice(0, 100);
  await writeFile(path, `${JSON.stringify(intent("a"))}\n${torn}`);
  const journal = await openJournal(folder);
  await journal.append(intent("b"));
  await journal.close();
  assert.deepEqual(await idsIn(folder), ["a", "b"]);
  assert.equal((await readJournal(folder)).torn, 1);
  assert.ok((await readFile(path, "utf8")).includes(`\n${torn}\n`));
});

test("garbage is counted and skipped", async (t) => {
  const folder = await tempFolder(t);
  const good = JSON.stringify(intent("a"));
  const noEvents = ['{"v":2}', "null", "[]", '{"v":1,"id":"x","at":"","target":null,"event":"unheard-of"}'];
  const halves = [
    '{"v":1,"id":"x","at":"","target":null,"event":"intent"}',
    "\0\0\0",
    "\u00ff\u00fe",
    "{".repeat(10_000),
  ];
  const garbage = [...noEvents, ...halves];
  await writeFile(join(folder, "journal.jsonl"), [good, "", ...garbage, good].join("\n"));
  const { events, torn } = await readJournal(folder);
  assert.equal(events.length, 2);
  assert.equal(torn, garbage.length);
});

test("a line too long to be an event is skipped without holding it", async (t) => {
  const folder = await tempFolder(t);
  const good = JSON.stringify(intent("a"));
  await writeFile(join(folder, "journal.jsonl"), `${good}\n${"x".repeat(300_000)}\n${good}\n`);
  const kinds: string[] = [];
  for await (const line of journalLines(folder, 10_000)) kinds.push(line.kind);
  assert.deepEqual(kinds, ["event", "torn", "event"]);
});

test("a journal that was moved away or removed under us is begun anew", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const journal = await openJournal(folder);
  await journal.append(intent("a"));
  await rename(path, `${path}.1`);
  await journal.append(intent("b"));
  assert.deepEqual(await idsIn(folder), ["b"]);
  await rm(path);
  await journal.append(intent("c"));
  assert.deepEqual(await idsIn(folder), ["c"]);
  await journal.close();
});

test("a journal that was cut short or written to by somebody else is continued on a new line", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const journal = await openJournal(folder);
  await journal.append(intent("a"));
  await truncate(path, 0);
  await journal.append(intent("b"));
  await appendFile(path, "half a line");
  await journal.append(intent("c"));
  await journal.close();
  assert.deepEqual(await idsIn(folder), ["b", "c"]);
  assert.equal((await readJournal(folder)).torn, 1);
});

test("on a full disk an append is refused, again and again, and says what to do", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  await symlink("/dev/full", path);
  const journal = await openJournal(folder);
  for (const id of ["a", "b"]) {
    await assert.rejects(journal.append(intent(id)), /cannot write the journal .*ENOSPC.*free some space on that disk/);
  }
  await rm(path);
  await journal.append(intent("c"));
  assert.deepEqual(await idsIn(folder), ["c"]);
  await journal.close();
});

test("where only a part of a line fits, none of it stays", async (t) => {
  const folder = await tempFolder(t);
  const { stdout } = await run("bash", ["-c", limited, process.execPath, writer, folder, "1000"]);
  const { written, told } = JSON.parse(stdout) as { written: number; told: string[] };
  assert.ok(written > 0);
  assert.equal(told.length, 2);
  assert.match(told.join(), /only \d+ of \d+ bytes could be written|EFBIG/);
  const bytes = await readFile(join(folder, "journal.jsonl"));
  assert.equal(bytes.at(-1), 0x0a);
  assert.ok(bytes.length < 9 * 1024, "the part that fitted was cut off again");
  const { events, torn } = await readJournal(folder);
  assert.deepEqual([events.length, torn], [written, 0]);
});

test("what cannot be cut off again is not written behind", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  await writeFile(path, "");
  // An append-only file takes half a line, but gives none back.
  const frozen = spawnSync("chattr", ["+a", path], { encoding: "utf8" });
  if (frozen.status !== 0) {
    t.skip(
      `this user, or this file system, has no append-only files: ${frozen.error?.message ?? frozen.stderr.trim()}`,
    );
    return;
  }
  try {
    const { stdout } = await run("bash", ["-c", limited, process.execPath, writer, folder, "1000"]);
    const { written, told } = JSON.parse(stdout) as { written: number; told: string[] };
    assert.match(told[1] ?? "", /EPERM/);
    const { events, torn } = await readJournal(folder);
    assert.deepEqual([events.length, torn], [written, 1]);
  } finally {
    spawnSync("chattr", ["-a", path]);
  }
});

test("a file system that fills up keeps whole lines only, and takes more once there is room", async (t) => {
  const folder = await tempFolder(t);
  const mounted = join(folder, "mounted");
  await mkdir(mounted);
  const mount = `mount -t tmpfs -o size=64k none "$1" && shift`;
  // The mount lives in a namespace of its own, so what is in it is copied out before it ends.
  const script = `${mount} && head -c 16k /dev/zero > "$3/ballast" && "$@" "$3/ballast" && cp "$3/journal.jsonl" "$3/.."`;
  const probe = spawnSync("unshare", ["--mount", "bash", "-c", `${mount}; true`, "probe", mounted], {
    encoding: "utf8",
  });
  if (probe.status !== 0 || probe.stderr !== "") {
    t.skip(`this user cannot mount: ${probe.error?.message ?? probe.stderr.trim()}`);
    return;
  }
  const given = ["--mount", "bash", "-c", script, "fill", mounted, process.execPath, writer, mounted, "1000"];
  const { stdout } = await run("unshare", given);
  const { written, told } = JSON.parse(stdout) as { written: number; told: string[] };
  assert.match(told.join(), /free some space on that disk/);
  const { events, torn } = await readJournal(folder);
  assert.deepEqual([events.length, torn, events.at(-1)?.id], [written, 0, "after"]);
});

test("files keep the folder's owner when root runs the command, and root follows no link there", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("only root can give files away");
    return;
  }
  const folder = await tempFolder(t);
  await chown(folder, 65_534, 65_534);
  const journal = await openJournal(folder);
  await journal.close();
  const path = join(folder, "journal.jsonl");
  const { uid, gid } = await lstat(path);
  assert.deepEqual([uid, gid], [65_534, 65_534]);
  await rm(path);
  await symlink("/dev/null", path);
  await assert.rejects(openJournal(folder), /ELOOP.*run lockwarden as the folder's owner/);
});

test("a folder that is not there is named, with what to do", async (t) => {
  const folder = join(await tempFolder(t), "none");
  await assert.rejects(openJournal(folder), /cannot open the journal .*none\/journal\.jsonl: ENOENT.*set state_dir/);
});
