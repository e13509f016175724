import { rm } from "node:fs/promises";
import { openJournal } from "../../src/journal.ts";
import { intent } from "./notice-samples.ts";

// A child process that appends until it is refused, then once more, and prints what it was told.
// With a ballast file it frees that room in the end and appends a last line.
const [stateDir = "", limit = "0", ballast] = process.argv.slice(2);
const journal = await openJournal(stateDir);
const told: string[] = [];
let written = 0;
for (let number = 0; number < Number(limit) && told.length < 2; number += 1) {
  await journal.append(intent(`i-${number}`)).then(
    () => (written += 1),
    (error: unknown) => told.push(String(error)),
  );
}
if (ballast !== undefined) {
  await rm(ballast);
  await journal.append(intent("after"));
  written += 1;
}
await journal.close();
console.log(JSON.stringify({ written, told }));
