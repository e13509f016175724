import { setTimeout as sleep } from "node:timers/promises";
import type { Daemon } from "./daemon.ts";
import type { Running } from "./load.ts";

/** Transactions a second, in two stretches that follow each other. */
export type Pair = Readonly<{ watched: number; unwatched: number }>;

const settleMs = 250;

/**
 * Stretches in the order watched, unwatched, unwatched, watched, so that a drift of the machine hits both alike. The daemon's
 * process is stopped meanwhile, and not ended: a start costs more than seconds of watching, and would be counted with it;
 * its `pause` only keeps it from acting, and looks all the same.
 */
export async function takePairs(
  load: Running,
  daemon: Daemon,
  { pairs, stretchMs }: Readonly<{ pairs: number; stretchMs: number }>,
): Promise<readonly Pair[]> {
  if (pairs === 0) return [];
  await load.race();
  await sleep(stretchMs);
  const found: Pair[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const rates = { watched: 0, unwatched: 0 };
    const order = pair % 2 === 0 ? (["watched", "unwatched"] as const) : (["unwatched", "watched"] as const);
    for (const which of order) {
      if (which === "watched") daemon.thaw();
      else daemon.freeze();
      await sleep(settleMs);
      rates[which] = await rateOf(load, stretchMs);
    }
    found.push(rates);
  }
  daemon.thaw();
  return found;
}

async function rateOf(load: Running, stretchMs: number): Promise<number> {
  const before = await load.counts();
  await sleep(stretchMs);
  const after = await load.counts();
  const rates = after.map(({ at, transactions }, index) => {
    const first = before[index] ?? { at: 0, transactions: 0 };
    return (transactions - first.transactions) / ((at - first.at) / 1_000);
  });
  return rates.reduce((sum, rate) => sum + rate, 0);
}
