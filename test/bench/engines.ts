import type pg from "pg";
import type { Target } from "../../src/config/schema.ts";
import type { Link, Look } from "../../src/engines/engine.ts";
import { engineFor } from "../../src/engines/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startOpenGauss } from "../support/opengauss/double.ts";
import { patience, target } from "../support/targets.ts";
import { liveScene } from "./live-opengauss.ts";
import { figure, intervalText, type Report, type Scenario, summaryCells, summaryColumns } from "./report.ts";
import { crowdOf, person, versionOf, watchdogRole, withServer } from "./server.ts";
import { type Pair, ratioInterval, ratioOfMedians, summarize } from "./statistics.ts";

const looks: readonly Readonly<{ name: string; look: Look }>[] = [
  { name: "calm", look: { sessions: "transactions", locks: false } },
  { name: "with locks", look: { sessions: "transactions", locks: true } },
];
/** A real server's system administrator, as for the tests on one: postgres://USER:PASSWORD@HOST:PORT/DATABASE. */
const live = process.env["LOCKWARDEN_TEST_OPENGAUSS_ADMIN"] ?? "";
const mostRatio = 2;
const idle = 60;
const waiting = 5;
const pairs = 200;
const warmUps = 20;

/** The same people on both, so that a look has the same to read. */
export const engines: Scenario = {
  name: "engines",
  about: "what one look costs on the wire-level openGauss double, beside the same look on PostgreSQL",
  needsServer: true,
  run: (major) =>
    withServer({ major }, async (server, superuser) => {
      const plain = await connected(target(server.url(watchdogRole)));
      await stuck(superuser, () => person(server.url("app"), "web"));
      const found: Found[] = [];
      for (const threadPool of [false, true]) found.push(...(await measureDouble(threadPool, plain)));
      if (live !== "") found.push(...(await measureLive(plain)));
      await plain.close();
      return report(await versionOf(superuser), found);
    }),
};

type Found = Readonly<{ name: string; pairs: readonly Pair[] }>;

async function measureDouble(threadPool: boolean, plain: Link): Promise<readonly Found[]> {
  const double = await startOpenGauss({ threadPool, workers: idle });
  try {
    await double.createUser({ name: watchdogRole, monadmin: true, signalBackend: true, auth: "sha256" });
    await double.createUser({ name: "app" });
    const link = await connected(target(double.url(watchdogRole)));
    await stuck(await person(double.backend.url()), () => person(double.url("app"), "web"));
    const found = await measure(`thread pool ${threadPool ? "on" : "off"}`, link, plain);
    await link.close();
    return found;
  } finally {
    await double.stop();
  }
}

async function measureLive(plain: Link): Promise<readonly Found[]> {
  const scene = await liveScene(live, { idle, waiting });
  try {
    const link = await connected(target(scene.url));
    const found = await measure(scene.name, link, plain);
    await link.close();
    return found;
  } finally {
    await scene.end();
  }
}

async function measure(where: string, link: Link, plain: Link): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const { name, look } of looks) {
    const measured = await inTurns(
      () => link.read(look, patience()),
      () => plain.read(look, patience()),
    );
    found.push({ name: `${name}, ${where}`, pairs: measured });
  }
  return found;
}

async function connected(of: Target): Promise<Link> {
  return await engineFor(of).connect(of, patience());
}

async function inTurns(figureOf: () => Promise<unknown>, floorOf: () => Promise<unknown>): Promise<readonly Pair[]> {
  for (let round = 0; round < warmUps; round++) await Promise.all([figureOf(), floorOf()]);
  const measured: Pair[] = [];
  for (let round = 0; round < pairs; round++) {
    const early = round % 2 === 0 ? await timed(figureOf) : null;
    const floor = await timed(floorOf);
    measured.push({ figure: early ?? (await timed(figureOf)), floor });
  }
  return measured;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await run();
  return performance.now() - begun;
}

/** A row that one session holds and leaves, others that wait for it, and many that do nothing. They end with the server. */
async function stuck(superuser: pg.Client, connect: () => Promise<pg.Client>): Promise<void> {
  await superuser.query("create table public.user_session (id int primary key, seen timestamptz)");
  await superuser.query("insert into public.user_session values (1, now()); grant all on public.user_session to app");
  await crowdOf(idle, connect);
  const [victim, ...waiters] = await crowdOf(waiting + 1, connect);
  await victim?.query("begin");
  await victim?.query("update public.user_session set seen = now() where id = 1");
  for (const waiter of waiters)
    waiter.query("update public.user_session set seen = now() where id = 1").catch(() => undefined);
  await eventually("everybody waits", async () => {
    const { rows } = await superuser.query<{ n: string }>("select count(*) as n from pg_locks where not granted");
    return Number(rows[0]?.n) >= waiting;
  });
}

function report(version: string, found: readonly Found[]): Report {
  return {
    conditions: [
      `floor: link.read on ${version}; figure: the same call on the double (${idle} idle sessions, one that holds a row, ${waiting} that wait).`,
      "The double is a front over PostgreSQL, not openGauss: its catalogs are views, which cost it more than they cost the product.",
    ],
    tables: [
      {
        title: "one look as the client waits, ms",
        columns: ["look", ...summaryColumns, "ratio", "95 %"],
        rows: found.flatMap(({ name, pairs: measured }) => [
          [
            name,
            ...summaryCells(summarize(measured.map((pair) => pair.figure))),
            figure(ratioOfMedians(measured)),
            intervalText(ratioInterval(measured)),
          ],
          [`${name}: PostgreSQL`, ...summaryCells(summarize(measured.map((pair) => pair.floor)))],
        ]),
      },
    ],
    verdicts: found.map(({ name, pairs: measured }) => ({
      what: `a look, ${name}`,
      target: `${mostRatio} × PostgreSQL or less`,
      got: `${figure(ratioOfMedians(measured))} × (95 % ${intervalText(ratioInterval(measured))})`,
      met: ratioOfMedians(measured) <= mostRatio,
    })),
  };
}
