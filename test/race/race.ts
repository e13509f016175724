import { cpus, loadavg } from "node:os";
import { newestMajor, numberFrom } from "../bench/environment.ts";
import { renderReport, renderVerdict, type Verdict } from "../bench/report.ts";
import { versionOf, withServer } from "../bench/server.ts";
import { shareInterval } from "../bench/statistics.ts";
import { type Round, runRound, type Wanted } from "./round.ts";
import { intervalPercent, judgeRound, percent, type Target } from "./verdict.ts";

// `npm run test:race`: who is hit by a signal that was meant for another transaction. RACE_SIGNALS (5,200) is the number of
// guarded signals with 5 ms transactions, the others follow from it; RACE_SECONDS (300) bounds each length.
// `npm run test:race -- cancel-5 terminate-100` runs only these.
// It ends with 1 when a target is missed.

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));

const signals = numberFrom("RACE_SIGNALS", 5_200);
const seconds = numberFrom("RACE_SECONDS", 300);
const few = Math.ceil(signals / 5);
type Row = Omit<Wanted, "seconds"> & Readonly<{ time: number; target: Target | null }>;
// At 1 ms hardly anybody is left to be signalled: that says little, however long it takes.
const whole: readonly Row[] = [
  { lengthMs: 1, hitBy: "cancel", signals: few, time: 0.25, target: null },
  { lengthMs: 5, hitBy: "cancel", signals, time: 1, target: { most: 0.005, least: 5_000 } },
  { lengthMs: 100, hitBy: "cancel", signals: signals * 2, time: 1, target: { most: 0.0005, least: 10_000 } },
  { lengthMs: 1, hitBy: "terminate", signals: few, time: 0.25, target: null },
  { lengthMs: 5, hitBy: "terminate", signals: few, time: 0.25, target: { most: 0.005, least: 0 } },
  { lengthMs: 100, hitBy: "terminate", signals: few, time: 0.25, target: { most: 0.0005, least: 0 } },
];
const nameOf = ({ hitBy, lengthMs }: Row) => `${hitBy}-${lengthMs}`;
const wantedOnly = process.argv.slice(2);
const unknown = wantedOnly.filter((name) => !whole.some((row) => nameOf(row) === name));
if (unknown.length > 0) {
  console.error(`race: expected ${whole.map(nameOf).join(", ")}, got ${unknown.join(", ")}`);
  process.exit(2);
}
const plan = whole.filter((row) => wantedOnly.length === 0 || wantedOnly.includes(nameOf(row)));
process.exit(await main());

async function main(): Promise<number> {
  const load = () => (loadavg()[0] ?? 0).toFixed(1);
  const verdicts: Verdict[] = [];
  await withServer({ major: newestMajor() }, async (server, superuser) => {
    const version = await versionOf(superuser);
    console.log(
      `${version}, node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim()}), load ${load()}`,
    );
    for (const { time, target, ...wanted } of plan) {
      const round = await runRound(server, { ...wanted, seconds: seconds * time });
      console.log(`\n${renderReport({ conditions: [], tables: [tableOf(round)], verdicts: [] })}`);
      if (target !== null) verdicts.push(judgeRound(round, target));
    }
  });
  console.log(`\nTargets (load at the end ${load()})\n${verdicts.map(renderVerdict).join("\n")}`);
  return verdicts.every(({ met }) => met) ? 0 : 1;
}

function tableOf({ wanted: { lengthMs, hitBy }, seconds: took, transactions, rows }: Round) {
  const what = hitBy === "cancel" ? "at work, cancelled" : "idle in transaction, terminated";
  return {
    title: `20 clients in transactions of ${lengthMs} ms, ${what}: ${transactions} transactions in ${took.toFixed(0)} s`,
    columns: ["", "judged", "signals", "right", "hit nobody", "wrong", "wrong of those hit", "95 %"],
    rows: rows.map(({ way, turns, signals: sent, right, wrong, nobody }) => {
      const hit = right + wrong;
      const share = hit === 0 ? ["", ""] : [percent(wrong / hit), intervalPercent(shareInterval(wrong, hit))];
      return [way, ...[turns, sent, right, nobody, wrong].map(String), ...share];
    }),
  };
}
