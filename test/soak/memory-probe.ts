import { writeFileSync } from "node:fs";

// Loaded into the daemon's process before it starts: at SIGUSR2 it throws away what is garbage and writes down what is left.

const file = process.env["MEMORY_PROBE"] ?? "";
process.on("SIGUSR2", () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(file, String(heapUsed + external));
});
