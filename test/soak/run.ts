import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { processorMs, watchdogRole, withServer } from "../bench/server.ts";
import { eventually } from "../support/eventually.ts";
import { type Abandoned, type Abandoner, abandoner, type Kind, kinds } from "./abandoned.ts";
import { type Daemon, residentBytes, startDaemon } from "./daemon.ts";
import type { Point } from "./figures.ts";
import { prepare, type Running, startLoad } from "./load.ts";
import type { Count } from "./load-scale.ts";
import { type Pair, takePairs } from "./pairs.ts";
import { agesAtRelease, disagreements } from "./touched.ts";

export type Wanted = Readonly<{
  major: number;
  sessions: number;
  /** How many rows they log in by: the fewer for each session, the sooner somebody waits for an abandoned one. */
  logins: number;
  /** How long the load runs with abandoned transactions in it. */
  seconds: number;
  abandonEveryMs: number;
  /** Afterwards, without abandoned ones: stretches with the daemon frozen and not. */
  pairs: number;
  stretchMs: number;
}>;

export type Statement = Readonly<{ text: string; calls: number; meanMs: number }>;
export type Soaked = Readonly<{
  abandoned: readonly Abandoned[];
  /** In words, what should not be. */
  wrong: readonly string[];
  counts: readonly Count[];
  seconds: number;
  /** Of the daemon, in bytes and ms: what is reachable, and what the system has given it. */
  live: readonly Point[];
  resident: readonly Point[];
  /** How old the abandoned transactions became, in ms. */
  ages: ReadonlyMap<Kind, readonly number[]>;
  /** Share of one processor that the watchdog's backends used; null where the system does not tell. */
  processor: number | null;
  statements: readonly Statement[];
  pairs: readonly Pair[];
}>;

/** Longest time from the last abandoned transaction to its end: the rule's threshold, a ladder, a busy machine. */
const patienceMs = 60_000;
const racers = 16;
const measureEveryMs = 2_000;

export function soak(wanted: Wanted): Promise<Soaked> {
  const { major, sessions, logins } = wanted;
  let log = "";
  const onLog = (text: string) => {
    log += text;
  };
  const settings = { max_connections: String(sessions + 100), shared_preload_libraries: "pg_stat_statements" };
  return withServer({ major, settings, onLog }, async (server, superuser) => {
    await superuser.query("set timezone = 'UTC'; set datestyle = 'ISO'; create extension pg_stat_statements");
    await prepare(superuser);
    const load = await startLoad({ url: server.url("app"), clients: sessions, logins, racers, restMs: 1_000 });
    try {
      const daemon = await startDaemon(server.url(watchdogRole));
      const abandons = abandoner(server.url("app"), superuser, logins);
      try {
        return await watch(wanted, { superuser, load, daemon, abandons, log: () => log });
      } finally {
        abandons.end();
        await daemon.stop();
      }
    } finally {
      load.end();
    }
  });
}

type Stage = Readonly<{
  superuser: pg.Client;
  load: Running;
  daemon: Daemon;
  abandons: Abandoner;
  log(): string;
}>;

async function watch({ seconds, abandonEveryMs, pairs, stretchMs }: Wanted, stage: Stage): Promise<Soaked> {
  const { superuser, load, daemon, abandons } = stage;
  await superuser.query("select pg_stat_statements_reset()");
  const backends = backendUse(superuser);
  await backends.note();
  const [live, resident]: Point[][] = [[], []];
  const begun = performance.now();
  let [abandonAt, measureAt] = [0, 0];
  const isOver = (at: number) => at >= seconds * 1_000 && abandons.all().length >= kinds.length;
  for (let at = 0; !isOver(at); at = performance.now() - begun) {
    if (at >= abandonAt) {
      await abandons.abandon();
      abandonAt += abandonEveryMs;
    }
    if (at >= measureAt) {
      const bytes = await residentBytes(daemon.pid);
      if (bytes !== null) resident?.push({ at, value: bytes });
      live?.push({ at, value: await daemon.liveBytes() });
      measureAt += measureEveryMs;
    }
    await sleep(250);
  }
  await abandons.freed(patienceMs);
  await backends.note();
  const took = performance.now() - begun;
  const statements = await statementsSent(superuser);
  const taken = await takePairs(load, daemon, { pairs, stretchMs });
  const counts = await load.stop();
  // The last one's outcome may come a moment after its transaction has gone.
  const journal = await eventually("each act has its outcome", async () => {
    const events = await daemon.journal();
    const count = (kind: string) => events.filter(({ event }) => event === kind).length;
    return count("outcome") === count("intent") ? events : null;
  });
  const abandoned = abandons.all();
  return {
    abandoned,
    wrong: [...counts.flatMap(({ errors }) => errors), ...disagreements({ abandoned, journal, log: stage.log() })],
    counts,
    seconds: took / 1_000,
    live: live ?? [],
    resident: resident ?? [],
    ages: agesAtRelease(abandoned, journal),
    processor: backends.share(took),
    statements,
    pairs: taken,
  };
}

/** Processor time of the watchdog's sessions, those of a moment between two notes left out. */
function backendUse(superuser: pg.Client) {
  const first = new Map<string, number>();
  const last = new Map<string, number>();
  return {
    note: async () => {
      const sql = "select pid::text from pg_stat_activity where usename = $1";
      const { rows } = await superuser.query<{ pid: string }>(sql, [watchdogRole]);
      for (const { pid } of rows) {
        const ms = await processorMs(pid);
        if (ms === null) continue;
        if (!first.has(pid)) first.set(pid, ms);
        last.set(pid, ms);
      }
    },
    share: (ms: number): number | null => {
      if (last.size === 0) return null;
      const used = Array.from(last, ([pid, end]) => end - (first.get(pid) ?? 0));
      return used.reduce((sum, one) => sum + one, 0) / ms;
    },
  };
}

async function statementsSent(superuser: pg.Client): Promise<readonly Statement[]> {
  const { rows } = await superuser.query<{ text: string; calls: string; mean: number }>(
    `select left(regexp_replace(query, '\\s+', ' ', 'g'), 60) as text, sum(calls) as calls, sum(total_exec_time) / sum(calls) as mean
       from pg_stat_statements where userid = $1::regrole group by 1 order by sum(total_exec_time) desc limit 6`,
    [watchdogRole],
  );
  return rows.map(({ text, calls, mean }) => ({ text, calls: Number(calls), meanMs: mean }));
}
