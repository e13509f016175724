import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { journalGate } from "../../src/daemon/journal-gate.ts";
import { openJournal } from "../../src/journal.ts";
import { readJournal } from "../../src/journal-lines.ts";
import { muteLog } from "../support/mute-log.ts";
import { tempFolder } from "../support/temp-folder.ts";

const nothing = (): undefined => undefined;

const event = (id: string): JournalEvent => {
  const reason = { code: "start", text: id, facts: {} };
  return { v: 1, id, at: new Date().toISOString(), target: null, event: "start", reason };
};

test("whoever writes while the journal is being opened, for the first time or after a failure, shares its one writer", async (t) => {
  const folder = await tempFolder(t);
  let opened = 0;
  let fails = true;
  const gate = journalGate({
    open: () => {
      opened++;
      return fails ? Promise.reject(new Error("no such disk")) : openJournal(folder);
    },
    log: muteLog,
    shout: nothing,
    newId: randomUUID,
    now: () => new Date(),
  });
  const refused = await Promise.allSettled([gate.write(event("1")), gate.write(event("2"))]);
  assert.deepEqual(
    refused.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(opened, 1);
  assert.equal(gate.works(), false);
  fails = false;
  await Promise.all([gate.write(event("3")), gate.write(event("4")), gate.write(event("5"))]);
  assert.equal(opened, 2);
  assert.equal(gate.works(), true);
  await gate.close();
  assert.deepEqual(
    (await readJournal(folder)).events.map(({ id }) => id),
    ["3", "4", "5"],
  );
});
