import type pg from "pg";
import type { ActDecision, Order } from "../../src/core/decision.ts";
import type { Link } from "../../src/engines/engine.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { type Opened, openConnection } from "../../src/engines/postgres/open.ts";
import { eventually } from "../support/eventually.ts";
import { judge } from "../support/judge.ts";
import { patience, target } from "../support/targets.ts";
import { figure, intervalText, type Report, type Scenario, summaryCells, summaryColumns } from "./report.ts";
import { crowdOf, person, processIdOf, versionOf, watchdogRole, withServer } from "./server.ts";
import { type Pair, ratioInterval, ratioOfMedians, summarize } from "./statistics.ts";

const rounds = 100;
const warmUps = 10;
const bystanders = 200;
const bareSql = "select pg_catalog.pg_terminate_backend($1::int4)";
const rules = [
  { name: "idle", match: { idle_for: "1ms", applications: "idle" }, steps: ["terminate"] },
  { name: "blocking", match: { idle_for: "1ms", blocks: { tables: "public.seat" } }, steps: ["terminate"] },
];

export const actCost: Scenario = {
  name: "act-cost",
  about: "what the guard costs: one guarded signal beside a bare one",
  needsServer: true,
  run: (major) =>
    withServer({ major, settings: { max_connections: "300" } }, async (server, superuser) => {
      await superuser.query("create table public.seat (id int primary key, taken timestamptz)");
      await superuser.query("grant all on public.seat to app");
      await superuser.query(`insert into public.seat select generate_series(1, ${rounds + warmUps})`);
      await crowdOf(bystanders, () => person(server.url("app"), "web"));
      const link = await postgres.connect(target(server.url(watchdogRole)), patience());
      const bare = await openConnection(target(server.url(watchdogRole)), {}, patience());
      const measured: Round[] = [];
      for (let round = 1; round <= rounds + warmUps; round++) {
        const one = await measure(round, { url: server.url("app"), superuser, link, bare });
        if (round > warmUps) measured.push(one);
      }
      return report(await versionOf(superuser), measured);
    }),
};

type Place = Readonly<{ url: string; superuser: pg.Client; link: Link; bare: Opened }>;
type Round = Readonly<{ idle: number; blocking: number; bare: number }>;

/** Three victims made for it: one hit barely, one guarded, one guarded while somebody waits for it. */
async function measure(round: number, { url, superuser, link, bare }: Place): Promise<Round> {
  const signal = AbortSignal.timeout(60_000);
  const [idle, blocking, innocent] = await Promise.all([
    leave(url, "idle"),
    leave(url, "blocking", round),
    leave(url, "bare"),
  ]);
  const waiter = await person(url, "waiter");
  const waiting = waiter.query("update public.seat set taken = now() where id = $1", [round]);
  await eventually("the waiter waits", async () => {
    const asked = "select from pg_stat_activity where application_name = 'waiter' and wait_event_type = 'Lock'";
    return (await superuser.query(asked)).rowCount === 1;
  });
  const { decisions } = judge({ rules }).look(await link.read({ sessions: "transactions", locks: true }, signal));
  const orderFor = (pid: string): Order => {
    const found = decisions.find(
      (one): one is ActDecision =>
        one.kind === "act" && one.evidence.victim.kind === "session" && one.evidence.victim.pid === pid,
    );
    if (found === undefined || found.action !== "terminate") throw new Error(`expected a decision to terminate ${pid}`);
    return { action: "terminate", evidence: found.evidence, guard: found.guard };
  };
  const [first, second] = [orderFor(idle.pid), orderFor(blocking.pid)];
  const acts: readonly (readonly [keyof Round, () => Promise<void>])[] = [
    ["idle", () => guarded(link, first, signal)],
    ["bare", async () => void (await bare.query(bareSql, [innocent.pid], signal))],
    ["blocking", () => guarded(link, second, signal)],
  ];
  const took = { idle: 0, blocking: 0, bare: 0 };
  // Each comes first, second and third in turn.
  for (let step = 0; step < acts.length; step++) {
    const [name, run] = acts[(step + round) % acts.length] ?? acts[0] ?? ["bare", async () => undefined];
    const begun = performance.now();
    await run();
    took[name] = performance.now() - begun;
  }
  await waiting;
  await waiter.end();
  await Promise.all([idle.ended, blocking.ended, innocent.ended]);
  return took;
}

async function guarded(link: Link, order: Order, signal: AbortSignal): Promise<void> {
  const sent = await link.act(order, signal);
  if (sent.kind !== "sent") throw new Error(`expected the signal to be sent, got ${JSON.stringify(sent)}`);
}

/** Somebody who leaves a transaction open, with a row in it when one is named. */
async function leave(url: string, application: string, row?: number) {
  const client = await person(url, application);
  const pid = await processIdOf(client);
  const ended = new Promise<void>((resolve) => client.once("end", resolve));
  await client.query("begin; select txid_current()");
  if (row !== undefined) await client.query("update public.seat set taken = now() where id = $1", [row]);
  return { pid, ended };
}

function report(version: string, measured: readonly Round[]): Report {
  const pairs = (name: "idle" | "blocking"): Pair[] => measured.map((one) => ({ figure: one[name], floor: one.bare }));
  const row = (title: string, name: "idle" | "blocking") => [
    title,
    ...summaryCells(summarize(measured.map((one) => one[name]))),
    figure(ratioOfMedians(pairs(name))),
    intervalText(ratioInterval(pairs(name))),
  ];
  return {
    conditions: [
      `${version}, ${bystanders} idle sessions beside; each signal ends a session made for it, idle in a transaction; in turns, equal connections.`,
    ],
    tables: [
      {
        title: "one statement that terminates, as the client waits, ms",
        columns: ["", ...summaryColumns, "ratio", "95 %"],
        rows: [
          ["bare: pg_terminate_backend(pid)", ...summaryCells(summarize(measured.map((one) => one.bare)))],
          row("guarded: identity, transaction, state, maintenance", "idle"),
          row("guarded: and that somebody still waits for it", "blocking"),
        ],
      },
    ],
    verdicts: [],
  };
}
