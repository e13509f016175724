import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { figure, type Report, type Scenario, summaryCells, summaryColumns } from "./report.ts";
import { crowdOf, forgetStatements, person, statementsSent, versionOf, watchdogRole, withServer } from "./server.ts";
import { serverClock } from "./server-clock.ts";
import { randomNumbers, shareInterval, summarize } from "./statistics.ts";
import { makeStuck, type Stuck, type StuckPlace } from "./stuck.ts";
import { lockwarden, pollingLoop, type Watchdog } from "./watchdogs.ts";

const idleForMs = 10_000;
const mostMs = 50;
const releases = 150;
const pauseMs = { least: 400, most: 1_200 };
const quietMs = 60_000;

const ours = lockwarden("Lockwarden, poll 30s", { poll: "30s", blocks: true, idleForMs });
const peer = pollingLoop(1_000, idleForMs);

export const deadline: Scenario = {
  name: "deadline",
  about: "poll 30s: how soon after the threshold, and with how many statements, beside a 1 s loop",
  needsServer: true,
  run: async (major) => {
    const late = await onServer(major, ours, measureLateness);
    const [mine, theirs] = await Promise.all([
      onServer(major, ours, countStatements),
      onServer(major, peer, countStatements),
    ]);
    return report(late, { mine, theirs });
  },
};

type Place = StuckPlace & Readonly<{ server: EmbeddedPostgres; superuser: pg.Client }>;

function onServer<T>(major: number, watchdog: Watchdog, measure: (place: Place) => Promise<T>): Promise<T> {
  const settings = { shared_preload_libraries: "pg_stat_statements", max_connections: String(2 * releases + 20) };
  return withServer({ major, settings }, async (server, superuser) => {
    await superuser.query("create extension pg_stat_statements");
    await superuser.query("create table public.user_session (id int primary key, seen timestamptz)");
    await superuser.query("grant all on public.user_session to app");
    await superuser.query("insert into public.user_session select generate_series(1, 1000)");
    const clock = await serverClock(superuser);
    const connect = () => person(server.url("app"), "web");
    const running = await watchdog.start(server.url(watchdogRole));
    try {
      return await measure({ server, superuser, connect, witness: superuser, clock });
    } finally {
      await running.stop();
    }
  });
}

type Lateness = Readonly<{ version: string; released: readonly number[] }>;

/** One about every 0.8 s, each with a row and a waiter of its own; whoever takes part is connected before. */
async function measureLateness(place: Place): Promise<Lateness> {
  const people = await crowdOf(2 * releases, place.connect);
  const connect = async (): Promise<pg.Client> => {
    const next = people.pop();
    if (next === undefined) throw new Error("more people were asked for than are connected");
    return next;
  };
  const random = randomNumbers(1);
  const waiting: Promise<number>[] = [];
  for (let row = 1; row <= releases; row++) {
    await sleep(pauseMs.least + random() * (pauseMs.most - pauseMs.least));
    const stuck = await makeStuck(row, { ...place, connect });
    waiting.push(lateness(stuck));
  }
  return { version: await versionOf(place.superuser), released: await Promise.all(waiting) };
}

async function lateness(stuck: Stuck): Promise<number> {
  const [released] = await Promise.all([stuck.released, stuck.ended]);
  await stuck.close();
  return released - (stuck.idleSince + idleForMs);
}

type Counted = Readonly<{ statements: number; lateMs: number }>;

/** A minute in which one session gets stuck and is freed. */
async function countStatements(place: Place): Promise<Counted> {
  await forgetStatements(place.superuser);
  const begun = performance.now();
  const lateMs = await lateness(await makeStuck(1, place));
  await sleep(quietMs - (performance.now() - begun));
  return { statements: await statementsSent(place.superuser), lateMs };
}

function report(
  { version, released }: Lateness,
  { mine, theirs }: Readonly<{ mine: Counted; theirs: Counted }>,
): Report {
  const summary = summarize(released);
  const within = released.filter((ms) => ms >= 0 && ms <= mostMs).length;
  const share = shareInterval(within, released.length);
  return {
    conditions: [
      `${version}, fsync off; lockwarden run in its own process, poll 30s, idle_for ${idleForMs / 1_000} s and blocks; ${releases} sessions get stuck,`,
      `one every ${pauseMs.least} to ${pauseMs.most} ms, each with a waiter; the threshold is state_change + idle_for by the server's clock.`,
      `Then ${quietMs / 1_000} s in which one session gets stuck: statements in pg_stat_statements of the watchdog's role.`,
    ],
    tables: [
      {
        title: "the waiter's statement returns, ms after the threshold",
        columns: ["", ...summaryColumns],
        rows: [[ours.name, ...summaryCells(summary)]],
      },
      {
        title: `${quietMs / 1_000} s with one release`,
        columns: ["", "statements", "ms late"],
        rows: [
          [ours.name, String(mine.statements), figure(mine.lateMs)],
          [peer.name, String(theirs.statements), figure(theirs.lateMs)],
        ],
      },
    ],
    verdicts: [
      {
        what: "release with poll 30s",
        target: `p99 within ${mostMs} ms of the threshold, none before it`,
        got: `p99 ${figure(summary.p99)} ms, least ${figure(summary.min)} ms; ${within} of ${released.length} within (95 %: ${(share.low * 100).toFixed(1)} to ${(share.high * 100).toFixed(1)} %)`,
        met: summary.min >= 0 && summary.p99 <= mostMs,
      },
      {
        what: "statements in a minute with one release",
        target: "fewer than a 1 s loop sends",
        got: `${mine.statements}, the loop ${theirs.statements}`,
        met: mine.statements < theirs.statements,
      },
    ],
  };
}
