import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import { type Cooldown, type History, noHistory } from "../../src/core/history.ts";
import { nextChangeMs } from "../../src/core/next-change.ts";
import { type Circumstances, plan } from "../../src/core/plan.ts";
import { remember } from "../../src/core/remember.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { type Settings, settingsFor } from "../../src/daemon/settings.ts";
import { target } from "../support/targets.ts";
import { type Crowd, crowd, locksOf, queue, snapshotOf } from "./crowd.ts";
import { figure, type Report, type Scenario, type Table } from "./report.ts";
import { median, summarize } from "./statistics.ts";

const sizes = [1_000, 3_000, 10_000] as const;
const rules = 50;
const mostMs = 100;
/** A size is measured this often, or for this long. */
const times = 15;
const budgetMs = 8_000;

export const core: Scenario = {
  name: "core",
  about: "graph and rules in the process, without a server",
  needsServer: false,
  run: async () => measure(),
};

type Steps = Readonly<{ evaluate: number; remember: number; plan: number; cpu: number }>;
type Size = Readonly<{
  size: number;
  locks: number;
  waits: number;
  findings: number;
  edges: number;
  steps: readonly Steps[];
}>;

function measure(): Report {
  const circle = sizes.map((size) => measureSize(size, crowd(size), settingsOf(Array.from({ length: rules }, rule))));
  const lines = sizes.map((size) => measureSize(size, queue(size), settingsOf(queueRules)));
  const most = circle.at(-1)?.steps ?? [];
  return {
    conditions: [
      `${rules} rules of ten kinds; 13 locks for each session in a transaction; 2 of 10 sessions wait, half of these in one queue;`,
      `second look: the first one has filled the memory. One queue: all wait for one table, ${queueRules.length} rules of waits and blocks, an act in cooldown.`,
      "Wall time of one process, collected garbage included; processor time with all of its threads. growth: how many times as long as a",
      "tenth (or third) of it, ÷ what n log n would be: 1 is n log n, less is better.",
      "lock rows: pg_lock_status()'s to holds, waits and blockers, which comes before, and is not part of the three.",
    ],
    tables: [stepTable("a crowded server: one look, ms", circle), stepTable("one queue: one look, ms", lines)],
    verdicts: [
      {
        what: `evaluate, remember and plan at ${sizes[2]} sessions`,
        target: `${mostMs} ms or less`,
        got: `${figure(median(most.map(total)))} ms (median; least ${figure(Math.min(...most.map(total)))}, processor ${figure(median(most.map(({ cpu }) => cpu)))})`,
        met: median(most.map(total)) <= mostMs,
      },
      ...[["the crowd", circle] as const, ["one queue", lines] as const].map(([what, found]) => ({
        what: `growth from ${sizes[0]} to ${sizes[2]} sessions, ${what}`,
        target: "n log n or less",
        got: `${figure(growth(found, sizes[2]))} × n log n`,
        met: growth(found, sizes[2]) <= 1,
      })),
    ],
  };
}

function settingsOf(written: readonly object[]): Settings {
  const parsed = configSchema.parse({ mode: "enforce", targets: [{ name: "app" }], rules: written });
  const config = { ...parsed, targets: [], channels: [] };
  return settingsFor(config, "digest", target("postgres://lockwarden@db/app"), patterns);
}

const total = (steps: Steps) => steps.evaluate + steps.remember + steps.plan;

/** From the smallest size to this one, by processor time, which other work on the machine disturbs least. */
function growth(found: readonly Size[], size: number): number {
  const cost = (of: number) => median(found.find((one) => one.size === of)?.steps.map(({ cpu }) => cpu) ?? []);
  const expected = (size * Math.log(size)) / (sizes[0] * Math.log(sizes[0]));
  return cost(size) / cost(sizes[0]) / expected;
}

function stepTable(title: string, found: readonly Size[]): Table {
  return {
    title,
    columns: [
      "sessions",
      "locks",
      "waits",
      "findings",
      "n",
      "lock rows",
      "evaluate",
      "remember",
      "plan",
      "all three",
      "min",
      "max",
      "processor",
      "growth",
    ],
    rows: found.map(({ size, locks, waits, findings, edges, steps }) => {
      const all = summarize(steps.map(total));
      const of = (step: keyof Steps) => figure(median(steps.map((one) => one[step])));
      const counts = [size, locks, waits, findings, steps.length].map(String);
      const three = [figure(all.median), figure(all.min), figure(all.max), of("cpu"), figure(growth(found, size))];
      return [...counts, figure(edges), of("evaluate"), of("remember"), of("plan"), ...three];
    }),
  };
}

function measureSize(size: number, people: Crowd, settings: Settings): Size {
  const edges: number[] = [];
  const begun = performance.now();
  let locks = locksOf(people);
  for (let round = 0; round < 5; round++) {
    const at = performance.now();
    locks = locksOf(people);
    edges.push(performance.now() - at);
  }
  const snapshot = snapshotOf(people, locks);
  const later = { ...snapshot, atMs: snapshot.atMs + 1_000 };
  const first = look(snapshot, settings, noHistory);
  const steps: Steps[] = [];
  let { findings } = first;
  // The first of them warms up, and does not count.
  for (let round = 0; round <= times && (round < 3 || performance.now() - begun < budgetMs); round++) {
    const second = look(later, settings, { ...first.history, cooldowns: [cooldown(later.atMs)] });
    ({ findings } = second);
    if (round > 0) steps.push(second.steps);
  }
  const count = locks.holds.length + locks.waits.length;
  return { size, locks: count, waits: locks.waits.length, findings, edges: median(edges), steps };
}

/** Of an act that has nothing to do with anybody here. */
function cooldown(atMs: number): Cooldown {
  return {
    rule: "rule-1",
    atMs: atMs - 1_000,
    untilMs: atMs + 10_000,
    lineage: new Set(["1 x"]),
    locks: new Set(["y"]),
  };
}

function look(snapshot: Snapshot, settings: Settings, before: History) {
  const used = process.cpuUsage();
  const marks = [performance.now()];
  const evaluation = evaluate(snapshot, settings.rules, before);
  marks.push(performance.now());
  const history = remember(before, snapshot, evaluation, settings.rules);
  marks.push(performance.now());
  const circumstances = circumstancesOf(settings, snapshot);
  const decisions = plan(evaluation.findings, history, circumstances);
  nextChangeMs(decisions, history, circumstances);
  marks.push(performance.now());
  const { user, system } = process.cpuUsage(used);
  const took = (step: number) => (marks[step + 1] ?? 0) - (marks[step] ?? 0);
  return {
    history,
    findings: evaluation.findings.length,
    steps: { evaluate: took(0), remember: took(1), plan: took(2), cpu: (user + system) / 1_000 },
  };
}

function circumstancesOf(settings: Settings, snapshot: Snapshot): Circumstances {
  return {
    config: settings.digest,
    mode: "enforce",
    paused: false,
    leader: true,
    journalled: true,
    protection: settings.protection,
    protectMaintenance: true,
    limits: settings.limits,
    atMs: snapshot.atMs,
  };
}

/** Rules as people write them: most are about one service, one application or some tables. */
function rule(_: unknown, index: number) {
  const service = `service_${index % 20}`;
  const table = `public.table_${index}`;
  const kinds = [
    { match: { idle_for: "30s", users: service } },
    { match: { idle_for: "30s", blocks: { tables: table, for: "5s" } } },
    { match: { transaction_for: "45s", applications: `worker-${index % 50}` }, except: { users: "service_1*" } },
    { match: { query_for: "40s", query: `update table_${index} set \\w+`, databases: "app_1" } },
    { match: { waits: { modes: "ShareLock", for: "10s" }, blocks: { waiters: 2 }, applications: "worker-1*" } },
    { match: { transaction_for: "45s", holds: { tables: table, modes: "RowExclusiveLock" } } },
    { match: { transaction_for: "30s", xmin_age: 900 }, except: { applications: ["pg_dump*", "worker-7"] } },
    { match: { idle_for: "40s", clients: `10.0.${index}.0/24` } },
    { match: { idle_for: "10s", blocks: { for: "10s", users: service } } },
    { match: { idle_for: "20s", blocks: { waiters: 3, for: "5s" }, holds: { modes: "AccessExclusiveLock" } } },
  ];
  return { name: `rule-${index}`, ...kinds[index % kinds.length], steps: ["terminate"] };
}

/** About who waits and blocks at once: of a queue, everybody but the last ones. */
const queueRules = [
  { match: { waits: { for: "1s" }, blocks: { waiters: 2, for: "1s" } } },
  { match: { waits: { modes: "AccessExclusiveLock", for: "1s" }, blocks: { tables: "public.other" } } },
  { match: { waits: { for: "1s" }, blocks: { users: "nobody" } } },
  { match: { idle_for: "1s", blocks: { waiters: 5, for: "1s" } } },
].map((one, index) => ({ name: `queue-${index}`, ...one, steps: ["cancel"] }));
