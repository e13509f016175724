import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { openRecordings } from "../../src/recordings.ts";
import { recorded } from "./recorded.ts";
import { snapshot } from "./snapshot.ts";

// A child process that records until it is refused, frees the room of a ballast, records once more, and prints what it was told.
const [stateDir = ""] = process.argv.slice(2);
const store = await openRecordings(stateDir);
const bounds = { bytes: 8 * 1024 ** 3, keepMs: 60_000, nowMs: Date.UTC(2026, 2, 1), targets: ["app"] };
const told: string[] = [];
let written = 0;

async function append(): Promise<void> {
  const seen = snapshot().later(`${written}s`).session(1, { idle: "1m" }).session(2).waits(2, { on: 1 }).build();
  await store.append(recorded(seen, []), bounds);
  written++;
}

while (told.length === 0) await append().catch((error: unknown) => told.push(String(error)));
const { bavail, bsize } = await statfs(stateDir);
await rm(join(stateDir, "ballast"), { force: true });
await append().catch((error: unknown) => told.push(String(error)));
await store.close();
console.log(JSON.stringify({ written, told, free: bavail * bsize }));
