import assert from "node:assert/strict";
import { appendFile, copyFile, mkdir, rename, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openJournal } from "../../src/journal.ts";
import { readJournal, readOpenIntents } from "../../src/journal-lines.ts";
import { readBytes } from "../support/journal-bytes.ts";
import { place, textOf } from "../support/lockwarden.ts";
import { intent, outcomeOf } from "../support/notice-samples.ts";
import { eventually } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

// What logrotate does to the journal while it is written, and what a start makes of it.

const nobodyThere = `targets: [{name: app, url: postgres://lockwarden@127.0.0.1:1/app}]
rules: [{name: look, match: {idle_for: 1m}, steps: [notify]}]`;

function text(...events: readonly object[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

async function openIds(folder: string): Promise<readonly string[]> {
  return (await readOpenIntents(folder)).intents.map(({ id }) => id);
}

test("an intent that a rotation moved away is still found, and closed by an outcome in the new file", async (t) => {
  const folder = await tempFolder(t);
  await writeFile(join(folder, "journal.jsonl.1"), text(intent("closed"), intent("open")));
  assert.deepEqual(await openIds(folder), ["closed", "open"]);
  await writeFile(join(folder, "journal.jsonl"), text(outcomeOf("closed"), intent("new")));
  assert.deepEqual(await openIds(folder), ["open", "new"]);
});

test("only the newest rotated file is read: dates in its name will do, packed ones are left alone", async (t) => {
  const folder = await tempFolder(t);
  const names = ["journal.jsonl-20260101", "journal.jsonl-20260201", "journal.jsonl.2.gz", "journal.json", "other"];
  for (const [at, name] of names.entries()) {
    await writeFile(join(folder, name), text(intent(name)));
    await utimes(join(folder, name), 1_000 + at, 1_000 + at);
  }
  await mkdir(join(folder, "journal.jsonl.d"));
  assert.deepEqual(await openIds(folder), ["journal.jsonl-20260201"]);
});

test("renaming the journal while it is written loses no event and tears none", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const journal = await openJournal(folder);
  const ids = Array.from({ length: 200 }, (_, at) => `i-${at}`);
  let rotations = 0;
  const written = (async () => {
    for (const id of ids) await journal.append(intent(id));
  })();
  const writing = { over: false };
  void written.finally(() => (writing.over = true));
  while (!writing.over) {
    await rename(path, `${path}.${rotations + 1}`).then(
      () => (rotations += 1),
      () => undefined,
    );
  }
  await written;
  await journal.close();
  assert.ok(rotations > 5, `${rotations} rotations`);
  const found: string[] = [];
  for (let at = 1; at <= rotations; at++) {
    const { events, torn } = await readBytes(Buffer.from(await textOf(`${path}.${at}`)));
    assert.equal(torn, 0);
    found.push(...events.map(({ id }) => id));
  }
  found.push(...(await readJournal(folder)).events.map(({ id }) => id));
  assert.deepEqual(found, ids);
});

test("copying and truncating the journal may lose what came in between, and tears nothing that is there afterwards", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const journal = await openJournal(folder);
  const ids = Array.from({ length: 200 }, (_, at) => `i-${at}`);
  const writing = { over: false };
  const written = (async () => {
    for (const id of ids) await journal.append(intent(id));
  })().finally(() => (writing.over = true));
  let rotations = 0;
  while (!writing.over) {
    await copyFile(path, `${path}.1`);
    await truncate(path, 0);
    rotations += 1;
  }
  await written;
  await journal.append(intent("last"));
  await journal.close();
  assert.ok(rotations > 5, `${rotations} rotations`);
  const { events, torn } = await readJournal(folder);
  assert.equal(torn, 0);
  assert.equal(events.at(-1)?.id, "last");
  // In their order, none twice.
  const places = events.slice(0, -1).map(({ id }) => ids.indexOf(id));
  assert.deepEqual(
    places,
    [...new Set(places)].toSorted((a, b) => a - b),
  );
});

test("a start explains what a crash left open in the file before the last rotation", async () => {
  const here = await place(nobodyThere);
  await mkdir(here.stateDir, { recursive: true });
  await writeFile(join(here.stateDir, "journal.jsonl.1"), text({ ...intent("left"), target: "another" }));
  await appendFile(join(here.stateDir, "journal.jsonl.1"), '{"v":1,"id":"half');
  const daemon = here.run();
  const recovered = await eventually(async () => (await here.journal()).find(({ event }) => event === "recovered"));
  assert.equal(recovered.id, "left");
  await eventually(() => daemon.said().includes("lines that are no events"));
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

test("a journal that cannot be read is told of, and keeps nobody from being watched", async () => {
  const here = await place(nobodyThere);
  await mkdir(join(here.stateDir, "journal.jsonl"), { recursive: true });
  const daemon = here.run();
  await eventually(() => daemon.said().includes("trying again until it works"));
  await eventually(() =>
    /what a crash may have left open there is not looked into, .*: cannot read the journal .*EISDIR/.test(
      daemon.said(),
    ),
  );
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});
