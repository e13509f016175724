import { cpus, loadavg } from "node:os";
import { newestMajor, numberFrom } from "../bench/environment.ts";
import { figure, intervalText, renderReport, renderVerdict, type Table, type Verdict } from "../bench/report.ts";
import { median } from "../bench/statistics.ts";
import { type Kind, kinds } from "./abandoned.ts";
import { meanOf, slopeOf } from "./figures.ts";
import { type Soaked, soak } from "./run.ts";

// `npm run test:soak`: a busy server with abandoned transactions in it, and the daemon. SOAK_SECONDS (300) is for all of it.
// It ends with 1 when a target is missed.

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));

const seconds = numberFrom("SOAK_SECONDS", 300);
const pairs = 24;
const sessions = 200;
const loginRows = 50;
const megabyte = 1_048_576;
/** In MB: of what is reachable, a minute; of what the system has given it, in all. */
const mostGrowth = 1;
const mostResident = 200;
const mostShare = 0.01;
/** Well past the threshold and the ladder: then something held Lockwarden back. */
const lateMs = 15_000;
process.exit(await main());

async function main(): Promise<number> {
  const load = () => (loadavg()[0] ?? 0).toFixed(1);
  const major = newestMajor();
  console.log(
    `PostgreSQL ${major}, node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim()}), load ${load()}`,
  );
  const soaked = await soak({
    major,
    sessions,
    logins: loginRows,
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

function tablesOf({ abandoned, ages, statements, pairs: taken }: Soaked): readonly Table[] {
  const rowOf = (kind: Kind) => {
    const some = ages.get(kind) ?? [];
    const inSeconds = (ms: number) => figure(ms / 1_000);
    const late = some.filter((ms) => ms > lateMs).length;
    const told =
      some.length === 0 ? ["", "", ""] : [inSeconds(median(some)), inSeconds(Math.max(...some)), String(late)];
    return [kind, String(abandoned.filter((one) => one.kind === kind).length), ...told];
  };
  const difference = taken.length === 0 ? [] : [differenceTable(taken)];
  return [
    {
      title: "abandoned transactions, and how old they became, s",
      columns: ["", "n", "median", "max", `over ${lateMs / 1_000}`],
      rows: kinds.map(rowOf),
    },
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

function judge({ abandoned, wrong, live, resident, processor }: Soaked): readonly Verdict[] {
  const half = live.slice(Math.floor(live.length / 2));
  const verdicts: Verdict[] = [
    {
      what: "every abandoned transaction freed, nobody else touched",
      target: "clients, journal and the server's log agree",
      got: `${abandoned.length} abandoned, ${wrong.length} disagreements`,
      met: abandoned.length > 0 && wrong.length === 0,
    },
  ];
  if (half.length >= 12) verdicts.push(memoryVerdict(half));
  if (resident.length > 0) {
    const most = Math.max(...resident.map(({ value }) => value)) / megabyte;
    const what = "resident memory of the daemon, all the time";
    verdicts.push({
      what,
      target: `${mostResident} MB or less`,
      got: `${most.toFixed(0)} MB`,
      met: most <= mostResident,
    });
  }
  if (processor !== null)
    verdicts.push({
      what: `processor time of the watchdog's sessions, ${sessions} sessions, poll 1s`,
      target: `${mostShare * 100} % of a core or less`,
      got: `${(processor * 100).toFixed(2)} %`,
      met: processor <= mostShare,
    });
  return verdicts;
}

function memoryVerdict(half: Soaked["live"]): Verdict {
  const slope = slopeOf(half.map(({ at, value }) => ({ at: at / 60_000, value: value / megabyte })));
  return {
    what: "what is reachable in the daemon's memory, second half",
    target: `growth of ${mostGrowth} MB a minute is ruled out`,
    got: `${figure(slope.value)} MB a minute (95 % ${intervalText(slope.within)})`,
    met: slope.within.high < mostGrowth,
  };
}
