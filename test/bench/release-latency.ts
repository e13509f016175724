import { setTimeout as sleep } from "node:timers/promises";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { figure, type Report, type Scenario, summaryCells, summaryColumns, type Table } from "./report.ts";
import { forgetStatements, person, statementsSent, versionOf, watchdogRole, withServer } from "./server.ts";
import { serverClock } from "./server-clock.ts";
import { randomNumbers, shareInterval, summarize } from "./statistics.ts";
import { makeStuck, type Stuck, type StuckPlace } from "./stuck.ts";
import { lockwarden, pollingLoop, type Watchdog } from "./watchdogs.ts";

const idleForMs = 2_000;
const mostMs = 150;
const repetitions = 20;
const burstSize = 10;
const calmMs = 10_000;
/** The next one gets stuck at any moment of the watchdog's own rhythm. */
const longestPauseMs = 700;

const lanes: readonly Readonly<{ watchdog: Watchdog; ours: boolean }>[] = [
  { watchdog: lockwarden("poll 30s, idle_for", { poll: "30s", blocks: false, idleForMs }), ours: true },
  { watchdog: lockwarden("poll 30s, idle_for and blocks", { poll: "30s", blocks: true, idleForMs }), ours: true },
  { watchdog: lockwarden("poll 5s, idle_for", { poll: "5s", blocks: false, idleForMs }), ours: true },
  { watchdog: lockwarden("poll 5s, idle_for and blocks", { poll: "5s", blocks: true, idleForMs }), ours: true },
  { watchdog: pollingLoop(1_000, idleForMs), ours: false },
];

export const releaseLatency: Scenario = {
  name: "release-latency",
  about: "from crossing the threshold to the waiter's return, through the whole daemon",
  needsServer: true,
  run: async (major) => {
    const found = await Promise.all(lanes.map(({ watchdog }, seed) => runLane(major, watchdog, seed + 1)));
    return report(found);
  },
};

/** Both in ms after the threshold. */
type Latency = Readonly<{ released: number; ended: number }>;
type Lane = Readonly<{
  name: string;
  version: string;
  bare: readonly Latency[];
  alone: readonly Latency[];
  burst: readonly Latency[];
  /** Statements in `calmMs` without a victim. */
  calm: number;
  /** Statements in `seconds` with all of these. */
  statements: number;
  seconds: number;
}>;

/** A server, a watchdog and its victims, apart from the other lanes but for the processor. */
function runLane(major: number, watchdog: Watchdog, seed: number): Promise<Lane> {
  const settings = { shared_preload_libraries: "pg_stat_statements" };
  return withServer({ major, settings }, async (server, superuser) => {
    await superuser.query("create extension pg_stat_statements");
    await superuser.query("create table public.user_session (id int primary key, seen timestamptz)");
    await superuser.query("grant all on public.user_session to app");
    await superuser.query("insert into public.user_session select generate_series(1, 1000)");
    const clock = await serverClock(superuser);
    const place = { connect: () => person(server.url("app"), "web"), witness: superuser, clock };
    const bare = await measureBare(server, place);
    const running = await watchdog.start(server.url(watchdogRole));
    try {
      await forgetStatements(superuser);
      await sleep(calmMs);
      const calm = await statementsSent(superuser);
      await forgetStatements(superuser);
      const begun = performance.now();
      const alone = await measureAlone(place, randomNumbers(seed));
      const burst = await measureBurst(place);
      const seconds = (performance.now() - begun) / 1_000;
      const statements = await statementsSent(superuser);
      return {
        name: watchdog.name,
        version: await versionOf(superuser),
        bare,
        alone,
        burst,
        calm,
        statements,
        seconds,
      };
    } finally {
      await running.stop();
    }
  });
}

/** The floor: what the server itself needs, from the moment when somebody who knows the pid sends the signal. */
async function measureBare(server: EmbeddedPostgres, place: StuckPlace): Promise<readonly Latency[]> {
  const killer = await person(server.url(watchdogRole), "bare");
  const found: Latency[] = [];
  for (let row = 1; row <= repetitions; row++) {
    const stuck = await makeStuck(row, place);
    const sentAt = place.clock(performance.now());
    await killer.query("select pg_terminate_backend($1)", [stuck.pid]);
    found.push(await latencyOf(stuck, sentAt));
  }
  await killer.end();
  return found;
}

/** One after the other, each alone on the server: the watchdog rests as long as it would on a calm day. */
async function measureAlone(place: StuckPlace, random: () => number): Promise<readonly Latency[]> {
  const found: Latency[] = [];
  for (let row = 101; row <= 100 + repetitions; row++) {
    await sleep(random() * longestPauseMs);
    const stuck = await makeStuck(row, place);
    found.push(await latencyOf(stuck, stuck.idleSince + idleForMs));
  }
  return found;
}

/** Ten at the same moment. */
async function measureBurst(place: StuckPlace): Promise<readonly Latency[]> {
  const all = await Promise.all(Array.from({ length: burstSize }, (_, at) => makeStuck(201 + at, place)));
  return Promise.all(all.map((stuck) => latencyOf(stuck, stuck.idleSince + idleForMs)));
}

async function latencyOf(stuck: Stuck, since: number): Promise<Latency> {
  const [released, ended] = await Promise.all([stuck.released, stuck.ended]);
  await stuck.close();
  return { released: released - since, ended: ended - since };
}

function report(found: readonly Lane[]): Report {
  const ours = found.filter((_, at) => lanes[at]?.ours === true);
  const alone = ours.flatMap((lane) => lane.alone.map(({ released }) => released));
  const onTime = alone.filter((ms) => ms >= 0 && ms <= mostMs).length;
  const share = shareInterval(onTime, alone.length);
  const slowest = summarize(alone);
  return {
    conditions: [
      `${found[0]?.version}, fsync off; each row a server and a daemon of its own (lockwarden run in its own process, journal and proof`,
      `included), all ${found.length} at once on this machine; idle_for ${idleForMs} ms; the threshold is state_change + idle_for by the server's clock;`,
      `n = victims one after the other, each with one waiter; then ${burstSize} victims at the same moment. With n below 100 the p99 is the maximum.`,
    ],
    tables: [
      latencyTable("the waiter's statement returns, ms after the threshold", found, (one) => one.released),
      latencyTable("the victim's connection sees its end, ms after the threshold", found, (one) => one.ended),
      statementTable(found),
    ],
    verdicts: [
      ...ours.map((lane) => laneVerdict(lane)),
      {
        what: `all ${alone.length} releases`,
        target: `within ${mostMs} ms of the threshold, none before it`,
        got: `${onTime} of ${alone.length} (95 %: at least ${(share.low * 100).toFixed(0)} %); ${figure(slowest.min)} to ${figure(slowest.max)} ms`,
        met: onTime === alone.length,
      },
    ],
  };
}

function laneVerdict({ name, alone }: Lane) {
  const { min, median, max } = summarize(alone.map(({ released }) => released));
  return {
    what: `release, ${name}`,
    target: `within ${mostMs} ms of the threshold, whatever poll is`,
    got: `median ${figure(median)} ms, at most ${figure(max)} ms`,
    met: min >= 0 && max <= mostMs,
  };
}

function latencyTable(title: string, found: readonly Lane[], of: (one: Latency) => number): Table {
  const row = (name: string, all: readonly Latency[]) => [name, ...summaryCells(summarize(all.map(of)))];
  return {
    title,
    columns: ["", ...summaryColumns],
    rows: [
      row(
        "floor: bare pg_terminate_backend, ms after it is sent",
        found.flatMap((lane) => lane.bare),
      ),
      ...found.map((lane) => row(lane.name, lane.alone)),
      ...found.map((lane) => row(`${burstSize} at once: ${lane.name}`, lane.burst)),
    ],
  };
}

function statementTable(found: readonly Lane[]): Table {
  return {
    title: "statements of the watchdog's sessions (pg_stat_statements)",
    columns: ["", `calm, ${calmMs / 1_000} s`, "1 s loop", "while freeing", "releases", "seconds", "1 s loop"],
    rows: found.map(({ name, calm, statements, seconds, alone, burst }) => [
      name,
      String(calm),
      `${calmMs / 1_000}`,
      String(statements),
      String(alone.length + burst.length),
      figure(seconds),
      String(Math.round(seconds)),
    ]),
  };
}
