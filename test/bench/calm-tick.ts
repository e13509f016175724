import type pg from "pg";
import { type Link, type Look } from "../../src/engines/engine.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { type Opened, openConnection } from "../../src/engines/postgres/open.ts";
import { patience, target } from "../support/targets.ts";
import {
  figure,
  intervalText,
  type Report,
  type Scenario,
  summaryCells,
  summaryColumns,
  type Table,
} from "./report.ts";
import { crowdOf, person, processorMs, versionOf, watchdogRole, withServer } from "./server.ts";
import { median, type Pair, ratioInterval, ratioOfMedians, summarize } from "./statistics.ts";

const floorSql = "select count(*) from pg_catalog.pg_stat_get_activity(null)";
const calmLook: Look = { sessions: "transactions", locks: false };
const mostRatio = 1.5;
const judgedSize = 500;
const sizes = [100, 200, judgedSize, 1_000] as const;
const pairsAt = (size: number) => (size === judgedSize ? 500 : 250);
const warmUps = 30;
const inTransaction = 6;
const running = 2;
const pollsAnHour = 720;

export const calmTick: Scenario = {
  name: "calm-tick",
  about: "what one look costs while all is calm, beside counting the same sessions",
  needsServer: true,
  run: (major) =>
    withServer({ major, settings: { max_connections: String(1_030) } }, async (server, superuser) => {
      const link = await postgres.connect(target(server.url(watchdogRole)), patience());
      const floor = await openConnection(target(server.url(watchdogRole)), {}, patience());
      const crowd: pg.Client[] = await busyFew(server.url("app"));
      const watchdogs = await watchdogPids(superuser, floor.pid);
      const found: Size[] = [];
      for (const size of sizes) {
        const more = size - crowd.length;
        crowd.push(...(await crowdOf(more, () => person(server.url("app"), "web"))));
        found.push(await measureSize(size, { link, floor, watchdogs }));
      }
      return report(await versionOf(superuser), found);
    }),
};

type Wires = Readonly<{ link: Link; floor: Opened; watchdogs: readonly string[] }>;
type Size = Readonly<{ size: number; pairs: readonly Pair[]; cpu: Readonly<{ tick: number; floor: number }> | null }>;

/** The few that a calm look lists: transactions left open for a moment, and statements that run. */
async function busyFew(url: string): Promise<pg.Client[]> {
  const few = await crowdOf(inTransaction + running, () => person(url, "web"));
  for (const client of few.slice(0, inTransaction)) await client.query("begin; select txid_current()");
  // They end with the server.
  for (const client of few.slice(inTransaction)) client.query("select pg_sleep(3600)").catch(() => undefined);
  return few;
}

/** The backends of the link. */
async function watchdogPids(superuser: pg.Client, floorPid: string): Promise<readonly string[]> {
  const { rows } = await superuser.query<{ pid: string }>(
    "select pid::text from pg_stat_activity where usename = $1 and pid::text <> $2",
    [watchdogRole, floorPid],
  );
  return rows.map(({ pid }) => pid);
}

async function measureSize(size: number, { link, floor, watchdogs }: Wires): Promise<Size> {
  const signal = AbortSignal.timeout(120_000);
  const tick = () => timed(() => link.read(calmLook, signal));
  const count = () => timed(() => floor.queryPrepared(floorSql, [], signal));
  for (let round = 0; round < warmUps; round++) await Promise.all([tick(), count()]);
  const before = await usage(watchdogs, floor.pid);
  const pairs: Pair[] = [];
  for (let round = 0; round < pairsAt(size); round++) {
    // In turns, so that neither always comes second.
    const tickFirst = round % 2 === 0;
    const early = tickFirst ? await tick() : 0;
    const counted = await count();
    pairs.push({ figure: tickFirst ? early : await tick(), floor: counted });
  }
  const after = await usage(watchdogs, floor.pid);
  if (before === null || after === null) return { size, pairs, cpu: null };
  const each = (total: number) => total / pairs.length;
  return { size, pairs, cpu: { tick: each(after.tick - before.tick), floor: each(after.floor - before.floor) } };
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await run();
  return performance.now() - begun;
}

async function usage(watchdogs: readonly string[], floorPid: string) {
  const [floor = null, ...ticks] = await Promise.all([floorPid, ...watchdogs].map(processorMs));
  const tick = ticks.reduce((sum, ms) => (sum === null || ms === null ? null : sum + ms), 0);
  return floor === null || tick === null ? null : { tick, floor };
}

function report(version: string, found: readonly Size[]): Report {
  const judged = found.find(({ size }) => size === judgedSize);
  if (judged === undefined) throw new Error(`expected a figure for ${judgedSize} sessions`);
  const ratio = ratioOfMedians(judged.pairs);
  const within = ratioInterval(judged.pairs);
  const { cpu } = judged;
  const wanted = `${mostRatio} × the floor or less`;
  return {
    conditions: [
      `${version}, max_connections 1030, fsync and autovacuum off; the sessions are real connections, all idle but ${inTransaction} in a`,
      `transaction and ${running} running; over TCP on loopback, same role and settings on both connections; pairs in turns, ${warmUps} before them do not count.`,
      `tick: link.read, that is statement, parsing and snapshot. floor: ${floorSql}`,
    ],
    tables: [wallTable(found), cpuTable(found)],
    verdicts: [
      {
        what: `tick at ${judgedSize} sessions, as the client waits`,
        target: wanted,
        got: `${figure(ratio)} × (95 % ${intervalText(within)})`,
        met: ratio <= mostRatio,
      },
      ...(cpu === null
        ? []
        : [
            {
              what: `tick at ${judgedSize} sessions, processor time of the server`,
              target: wanted,
              got: `${figure(cpu.tick / cpu.floor)} ×`,
              met: cpu.tick <= mostRatio * cpu.floor,
            },
          ]),
    ],
  };
}

function wallTable(found: readonly Size[]): Table {
  return {
    title: "as the client waits, ms",
    columns: ["sessions", ...summaryColumns, "ratio", "95 %"],
    rows: found.flatMap(({ size, pairs }) => [
      [
        `${size} tick`,
        ...summaryCells(summarize(pairs.map((pair) => pair.figure))),
        figure(ratioOfMedians(pairs)),
        intervalText(ratioInterval(pairs)),
      ],
      [`${size} floor`, ...summaryCells(summarize(pairs.map((pair) => pair.floor)))],
    ]),
  };
}

function cpuTable(found: readonly Size[]): Table {
  const title = "processor time of the backends, ms a statement (both of the watchdog's backends; mean)";
  const columns = ["sessions", "tick", "floor", "ratio", "client waits (median)", "s an hour at poll 5s"];
  const rows = found.map(({ size, pairs, cpu }) => {
    const wait = figure(median(pairs.map((pair) => pair.figure)));
    if (cpu === null) return [String(size), "not told by this system", "", "", wait, ""];
    const { tick, floor } = cpu;
    return [size, figure(tick), figure(floor), figure(tick / floor), wait, figure((tick * pollsAnHour) / 1_000)].map(
      String,
    );
  });
  return { title, columns, rows };
}
