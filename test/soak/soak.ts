import { cpus, loadavg } from "node:os";
import { figure, intervalText, renderReport, renderVerdict, type Table, type Verdict } from "../bench/report.ts";
import { median } from "../bench/statistics.ts";
import { kinds } from "./abandoned.ts";
import { meanOf, slopeOf } from "./figures.ts";
import { type Soaked, soak } from "./run.ts";

// `npm run test:soak`: a busy server with abandoned transactions in it, and the daemon. SOAK_SECONDS (300) is for all of it.
// It ends with 1 when a target is missed.

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));

const seconds = Number(process.env["SOAK_SECONDS"] ?? 300);
const pairs = 24;
const sessions = 200;
const megabyte = 1_048_576;
/** A minute: less than what a leak of one judged session a look would be. */
const mostGrowth = 1;
const mostShare = 0.01;
process.exit(await main());

async function main(): Promise<number> {
  const load = () => (loadavg()[0] ?? 0).toFixed(1);
  const major = Number(process.env["PGVERSIONS"] ?? 18);
  console.log(
    `PostgreSQL ${major}, node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim()}), load ${load()}`,
  );
  const soaked = await soak({
    major,
    sessions,
    seconds: seconds * 0.6,
    abandonEveryMs: 3_000,
    pairs,
    stretchMs: (seconds * 400) / (2 * pairs) - 250,
  });
  const verdicts = judge(soaked);
  console.log(`\n${renderReport({ conditions: conditionsOf(soaked), tables: tablesOf(soaked), verdicts: [] })}`);
  for (const one of soaked.wrong) console.log(`  wrong: ${one}`);
  console.log(`\nTargets (load at the end ${load()})\n${verdicts.map(renderVerdict).join("\n")}`);
  return verdicts.every(({ met }) => met) ? 0 : 1;
}

function conditionsOf({ counts, seconds: took }: Soaked): readonly string[] {
  const sum = (of: (count: (typeof counts)[number]) => number) => counts.reduce((all, one) => all + of(one), 0);
  const longest = Math.max(...counts.map(({ longestLoginMs }) => longestLoginMs));
  return [
    `${sessions} sessions, poll 1s, ${took.toFixed(0)} s with abandoned transactions, then ${pairs} pairs of stretches without;`,
    `${sum(({ transactions }) => transactions)} transactions, ${sum(({ logins }) => logins)} logins, the longest of them ${longest.toFixed(0)} ms.`,
  ];
}

function tablesOf({ abandoned, statements, pairs: taken }: Soaked): readonly Table[] {
  const count = (kind: string) => abandoned.filter((one) => one.kind === kind).length;
  const difference = taken.length === 0 ? [] : [differenceTable(taken)];
  return [
    { title: "abandoned transactions", columns: ["", "n"], rows: kinds.map((kind) => [kind, String(count(kind))]) },
    {
      title: "what the watchdog sent while it freed, the most costly first; ms on the server",
      columns: ["", "calls", "mean"],
      rows: statements.map(({ text, calls, meanMs }) => [text, String(calls), figure(meanMs)]),
    },
    ...difference,
  ];
}

function differenceTable(taken: Soaked["pairs"]): Table {
  const lost = meanOf(taken.map(({ watched, unwatched }) => (watched / unwatched - 1) * 100));
  return {
    title: `throughput, transactions a second, ${taken.length} alternating pairs (the daemon runs on the same machine)`,
    columns: ["watched (median)", "unwatched", "difference, % (mean)", "95 %"],
    rows: [
      [
        figure(median(taken.map(({ watched }) => watched))),
        figure(median(taken.map(({ unwatched }) => unwatched))),
        figure(lost.value),
        intervalText(lost.within),
      ],
    ],
  };
}

function judge({ abandoned, wrong, memory, processor }: Soaked): readonly Verdict[] {
  const half = memory.slice(Math.floor(memory.length / 2));
  const verdicts: Verdict[] = [
    {
      what: "every abandoned transaction freed, nobody else touched",
      target: "clients, journal and the server's log agree",
      got: `${abandoned.length} abandoned, ${wrong.length} disagreements`,
      met: abandoned.length > 0 && wrong.length === 0,
    },
  ];
  if (half.length >= 12) verdicts.push(memoryVerdict(half));
  if (processor !== null)
    verdicts.push({
      what: `processor time of the watchdog's sessions, ${sessions} sessions, poll 1s`,
      target: `${mostShare * 100} % of a core or less`,
      got: `${(processor * 100).toFixed(2)} %`,
      met: processor <= mostShare,
    });
  return verdicts;
}

function memoryVerdict(half: Soaked["memory"]): Verdict {
  const slope = slopeOf(half.map(({ at, value }) => ({ at: at / 60_000, value: value / megabyte })));
  const most = Math.max(...half.map(({ value }) => value)) / megabyte;
  return {
    what: "memory of the daemon, second half",
    target: `growth of ${mostGrowth} MB a minute or more is ruled out`,
    got: `${figure(slope.value)} MB a minute (95 % ${intervalText(slope.within)}), at most ${most.toFixed(0)} MB`,
    met: slope.within.high < mostGrowth,
  };
}
