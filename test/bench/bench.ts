import { cpus, loadavg } from "node:os";
import { postgresFolders } from "../../src/demo/embedded-postgres.ts";
import { actCost } from "./act-cost.ts";
import { calmTick } from "./calm-tick.ts";
import { core } from "./core.ts";
import { deadline } from "./deadline.ts";
import { engines } from "./engines.ts";
import { jam } from "./jam.ts";
import { releaseLatency } from "./release-latency.ts";
import { renderReport, renderVerdict, type Scenario, type Verdict } from "./report.ts";

// `npm run bench [-- NAME…]`; PGVERSIONS=14,18 chooses the servers. Figures, not assertions: a target that is not met is
// said, and the exit code is 0; it is 1 when something could not be measured, 2 for a name that is no scenario.

const scenarios: readonly Scenario[] = [calmTick, jam, releaseLatency, deadline, actCost, engines, core];

// Interrupted, it ends by itself, so that its servers and daemons end with it.
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));
process.exit(await main(process.argv.slice(2)));

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !scenarios.some((scenario) => scenario.name === name));
  if (unknown.length > 0) {
    const known = scenarios.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`);
    console.error(`bench: expected names of scenarios, got ${unknown.join(", ")}. There are:\n${known.join("\n")}`);
    return 2;
  }
  const chosen = scenarios.filter(({ name }) => names.length === 0 || names.includes(name));
  const majors = chosen.some((scenario) => scenario.needsServer) ? installedMajors() : [];
  const [processor] = cpus();
  console.log(
    `node ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} cores (${processor?.model.trim() || "unknown"}), load ${loadText()}`,
  );
  const began = performance.now();
  const verdicts: Verdict[] = [];
  let failures = 0;
  for (const scenario of chosen) {
    for (const major of scenario.needsServer ? majors : [0]) {
      const met = await runOne(scenario, major);
      if (met === null) failures++;
      else verdicts.push(...met);
    }
  }
  console.log(`\nTargets (${Math.round((performance.now() - began) / 1_000)} s, load at the end ${loadText()})`);
  console.log(verdicts.map(renderVerdict).join("\n"));
  return failures === 0 ? 0 : 1;
}

async function runOne({ name, about, needsServer, run }: Scenario, major: number): Promise<readonly Verdict[] | null> {
  const where = needsServer ? `PostgreSQL ${major}` : "no server";
  console.log(`\n== ${name} (${where}): ${about}`);
  const began = performance.now();
  try {
    const report = await run(major);
    console.log(renderReport(report));
    console.log(`  (${Math.round((performance.now() - began) / 1_000)} s)`);
    return report.verdicts.map((verdict) => ({ ...verdict, what: `${name}, ${where}: ${verdict.what}` }));
  } catch (error) {
    console.error(`bench: ${name} on ${where} could not be measured:`, error);
    return null;
  }
}

function installedMajors(): readonly number[] {
  const wanted = (process.env["PGVERSIONS"] ?? "18").split(",").map(Number);
  const missing = wanted.filter((major) => postgresFolders(major).length === 0);
  if (missing.length === 0) return wanted;
  throw new Error(
    `PGVERSIONS: expected majors that are installed, got ${missing.join(", ")}: npm ci brings 14 and 18, npm run test:matrix the others`,
  );
}

function loadText(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}
