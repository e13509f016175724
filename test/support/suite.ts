import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { keepFolder } from "../../src/demo/embedded-postgres.ts";
import { keptVariable } from "./servers.ts";

// node's own test runner with these words, and a folder that every server of the run is copied from: making one anew takes
// a second of the processor, and a run has hundreds.

const kept = await keepFolder();
const runner = spawn(process.execPath, ["--test", ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, [keptVariable]: kept },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => runner.kill(signal));
const [code] = (await once(runner, "exit")) as [number | null];
await rm(kept, { recursive: true, force: true });
process.exitCode = code ?? 1;
