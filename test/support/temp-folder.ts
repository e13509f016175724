import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** A folder of its own for one test, gone when the test is over. */
export async function tempFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-test-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
