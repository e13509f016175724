import type pg from "pg";
import { patterns } from "../../src/config/patterns.ts";
import { configSchema, type Target } from "../../src/config/schema.ts";
import { noHistory } from "../../src/core/history.ts";
import { openActs } from "../../src/daemon/open-acts.ts";
import { settingsFor } from "../../src/daemon/settings.ts";
import { type TickContext, tick } from "../../src/daemon/tick.ts";
import type { Link } from "../../src/engines/engine.ts";
import { engineFor } from "../../src/engines/registry.ts";
import { openGate } from "../../src/executor.ts";
import { eventually } from "../support/eventually.ts";
import { startOpenGauss } from "../support/opengauss/double.ts";
import { patience, target } from "../support/targets.ts";
import { liveScene } from "./live-opengauss.ts";
import { figure, intervalText, type Report, type Scenario, summaryCells, summaryColumns } from "./report.ts";
import { crowdOf, person, versionOf, watchdogRole, withServer } from "./server.ts";
import { type Pair, ratioInterval, ratioOfMedians, summarize } from "./statistics.ts";

/** A real server's system administrator, as for the tests on one: postgres://USER:PASSWORD@HOST:PORT/DATABASE. */
const live = process.env["LOCKWARDEN_TEST_OPENGAUSS_ADMIN"] ?? "";
const mostRatio = 2;
const idle = 60;
const waiting = 5;
const pairs = 200;
const warmUps = 200;

// Nobody is due yet: what is measured is watching.
const rules = [
  {
    name: "stuck-login",
    match: { state: "idle in transaction", idle_for: "10m", blocks: { tables: ["public.user_session"] } },
    steps: ["cancel", "terminate"],
  },
  { name: "left-open", match: { state: "idle in transaction", transaction_for: "1h" }, steps: ["notify"] },
  { name: "long-wait", match: { waits: { for: "30m" } }, steps: ["notify"] },
];

/** The same people on both, so that a tick has the same to read and to judge. */
export const engines: Scenario = {
  name: "engines",
  about: "what one tick costs on the wire-level openGauss double, beside the same tick on PostgreSQL",
  needsServer: true,
  run: async (major) => {
    const found: Found[] = [];
    const scenes = [() => onDouble(false), () => onDouble(true), ...(live === "" ? [] : [onLive])];
    const version = await withServer({ major }, async (_, superuser) => await versionOf(superuser));
    for (const scene of scenes) found.push(...(await beside(major, scene)));
    return report(version, found);
  },
};

type Scene = Readonly<{
  name: string;
  target: Target;
  /** Until then one session has written a row and left it, and nobody waits. */
  stick(): Promise<void>;
  end(): Promise<void>;
}>;

type Found = Readonly<{ name: string; pairs: readonly Pair[] }>;

/** Beside a PostgreSQL of its own. */
async function beside(major: number, scene: () => Promise<Scene>): Promise<readonly Found[]> {
  return await withServer({ major }, async (server, superuser) => {
    const stick = await abandoned(superuser, () => person(server.url("app"), "web"));
    const plain = await watched(target(server.url(watchdogRole)));
    const there = await scene();
    try {
      const other = await watched(there.target);
      const calm = { name: `calm, ${there.name}`, pairs: await inTurns(other.tick, plain.tick) };
      await Promise.all([stick(), there.stick()]);
      const stuck = { name: `somebody waits, ${there.name}`, pairs: await inTurns(other.tick, plain.tick) };
      await Promise.all([other.link.close(), plain.link.close()]);
      return [calm, stuck];
    } finally {
      await there.end();
    }
  });
}

async function onDouble(threadPool: boolean): Promise<Scene> {
  const double = await startOpenGauss({ threadPool, workers: idle });
  await double.createUser({ name: watchdogRole, monadmin: true, signalBackend: true, auth: "sha256" });
  await double.createUser({ name: "app" });
  const superuser = await person(double.backend.url());
  return {
    name: `double, thread pool ${threadPool ? "on" : "off"}`,
    target: target(double.url(watchdogRole)),
    stick: await abandoned(superuser, () => person(double.url("app"), "web")),
    end: () => double.stop(),
  };
}

async function onLive(): Promise<Scene> {
  const { url, ...scene } = await liveScene(live, { idle, waiting });
  return { ...scene, target: target(url) };
}

type Watched = Readonly<{ link: Link; tick(): Promise<unknown> }>;

/** As the daemon does it, look after look with one memory. */
async function watched(of: Target): Promise<Watched> {
  const signal = patience();
  const link = await engineFor(of).connect(of, signal);
  const config = configSchema.parse({ mode: "enforce", targets: [{ name: of.name, url: "postgres://db/app" }], rules });
  const context: TickContext = {
    settings: settingsFor({ ...config, targets: [of], channels: [] }, "digest", of, patterns),
    link,
    memory: { history: noHistory, open: openActs() },
    leader: true,
    paused: false,
    gate: openGate,
    journal: { works: () => true, write: () => Promise.reject(new Error("there is nothing to write: nobody is due")) },
    tell: () => undefined,
    report: () => undefined,
    newId: () => "1",
    now: () => new Date(),
    alive: () => undefined,
    signal,
  };
  return { link, tick: () => tick(context) };
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

/** A row that one session has written and left, and many that do nothing; then, others that wait for it. They end with the server. */
async function abandoned(superuser: pg.Client, connect: () => Promise<pg.Client>): Promise<() => Promise<void>> {
  const update = "update public.user_session set seen = now() where id = 1";
  await superuser.query("create table public.user_session (id int primary key, seen timestamptz)");
  await superuser.query("insert into public.user_session values (1, now()); grant all on public.user_session to app");
  await crowdOf(idle, connect);
  const [victim, ...waiters] = await crowdOf(waiting + 1, connect);
  await victim?.query("begin");
  await victim?.query(update);
  return async () => {
    for (const waiter of waiters) waiter.query(update).catch(() => undefined);
    await eventually("everybody waits", async () => {
      const { rows } = await superuser.query<{ n: string }>("select count(*) as n from pg_locks where not granted");
      return Number(rows[0]?.n) >= waiting;
    });
  };
}

function report(version: string, found: readonly Found[]): Report {
  return {
    conditions: [
      `floor: a tick on ${version}; figure: the same on the double: ${idle} idle sessions, one that wrote a row and left it, and then ${waiting} that wait for it.`,
      `A tick is one pass over the target, as the daemon does it: the look, the one with locks where somebody waits, ${rules.length} rules judged; nobody is due.`,
      "The double is a front over PostgreSQL, not openGauss: its catalogs are functions in SQL, which cost it more than they cost the product.",
    ],
    tables: [
      {
        title: "one tick, ms",
        columns: ["tick", ...summaryColumns, "ratio", "95 %"],
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
      what: `a tick, ${name}`,
      target: `${mostRatio} × PostgreSQL or less`,
      got: `${figure(ratioOfMedians(measured))} × (95 % ${intervalText(ratioInterval(measured))})`,
      met: ratioOfMedians(measured) <= mostRatio,
    })),
  };
}
