import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openSpool } from "../../src/notify/spool.ts";
import { assertPlain, nastyNames } from "../support/nasty.ts";
import { act, evidence, notice, session } from "../support/notice-samples.ts";
import { tempFolder } from "../support/temp-folder.ts";

test("a kept notice steers no terminal that shows its file, and is read back as it was", async (t) => {
  const folder = await tempFolder(t);
  const spool = await openSpool(folder);
  const told = nastyNames.map((name) => {
    const victim = session({ user: name, application: name, query: name });
    return notice({ text: name, decision: act({ evidence: evidence({ victim }) }) });
  });
  for (const one of told) await spool.put({ channel: "oncall", sinceMs: 1, notice: one });
  for (const file of await readdir(join(folder, "spool")))
    assertPlain(await readFile(join(folder, "spool", file), "utf8"), file);
  const { entries, junk } = await spool.read();
  assert.deepEqual(junk, []);
  assert.deepEqual(
    entries.map(({ spooled }) => spooled.notice),
    told,
  );
});
