import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import { type History, noHistory } from "../../src/core/history.ts";
import { type Circumstances, nextChangeMs, plan } from "../../src/core/plan.ts";
import { remember } from "../../src/core/remember.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { type Settings, settingsFor } from "../../src/daemon/settings.ts";
import { target } from "../support/targets.ts";
import { crowd, locksOf, snapshotOf } from "./crowd.ts";
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

type Steps = Readonly<{ evaluate: number; remember: number; plan: number }>;
type Size = Readonly<{
  size: number;
  locks: number;
  waits: number;
  findings: number;
  edges: number;
  steps: readonly Steps[];
}>;

function measure(): Report {
  const settings = settingsFor(config(), "digest", target("postgres://lockwarden@db/app"), patterns);
  const found = sizes.map((size) => measureSize(size, settings));
  const totals = found.map(({ steps }) => median(steps.map(total)));
  const [least = Number.NaN] = totals;
  const most = totals.at(-1) ?? Number.NaN;
  const growth = most / least;
  const expected = (sizes[2] * Math.log(sizes[2])) / (sizes[0] * Math.log(sizes[0]));
  return {
    conditions: [
      `${rules} rules of ten kinds; 10 locks for each session in a transaction; 2 of 10 sessions wait, half of these in one queue;`,
      "second look: the first one has filled the memory. Wall time of one process, collected garbage included.",
    ],
    tables: [stepTable(found), growthTable(found)],
    verdicts: [
      {
        what: `evaluate, remember and plan at ${sizes[2]} sessions`,
        target: `${mostMs} ms or less`,
        got: `${figure(most)} ms (median)`,
        met: most <= mostMs,
      },
      {
        what: `growth from ${sizes[0]} to ${sizes[2]} sessions`,
        target: `near n log n, that is ${figure(expected)}; here up to twice that`,
        got: `${figure(growth)} times`,
        met: growth <= 2 * expected,
      },
    ],
  };
}

const total = (steps: Steps) => steps.evaluate + steps.remember + steps.plan;

function stepTable(found: readonly Size[]): Table {
  return {
    title: "one look, ms",
    columns: [
      "sessions",
      "locks",
      "waits",
      "findings",
      "n",
      "edges",
      "evaluate",
      "remember",
      "plan",
      "all three",
      "max",
    ],
    rows: found.map(({ size, locks, waits, findings, edges, steps }) => {
      const all = summarize(steps.map(total));
      const of = (step: keyof Steps) => figure(median(steps.map((one) => one[step])));
      const counts = [size, locks, waits, findings, steps.length].map(String);
      const figures = [figure(edges), of("evaluate"), of("remember"), of("plan"), figure(all.median), figure(all.max)];
      return [...counts, ...figures];
    }),
  };
}

function growthTable(found: readonly Size[]): Table {
  const cost = ({ size, steps }: Size) => (median(steps.map(total)) * 1_000) / (size * Math.log2(size));
  return {
    title: "all three ÷ (n log2 n): the same at each size when the growth is n log n",
    columns: ["sessions", "µs"],
    rows: found.map((one) => [String(one.size), figure(cost(one))]),
  };
}

function measureSize(size: number, settings: Settings): Size {
  const people = crowd(size);
  const edges: number[] = [];
  const begun = performance.now();
  let locks = locksOf(people);
  for (let round = 0; round < 3; round++) {
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
    const second = look(later, settings, first.history);
    ({ findings } = second);
    if (round > 0) steps.push(second.steps);
  }
  const count = locks.holds.length + locks.waits.length;
  return { size, locks: count, waits: locks.waits.length, findings, edges: median(edges), steps };
}

function look(snapshot: Snapshot, settings: Settings, before: History) {
  const marks = [performance.now()];
  const evaluation = evaluate(snapshot, settings.rules, before);
  marks.push(performance.now());
  const history = remember(before, snapshot, evaluation, settings.rules);
  marks.push(performance.now());
  const circumstances = circumstancesOf(settings, snapshot);
  const decisions = plan(evaluation.findings, history, circumstances);
  nextChangeMs(decisions, history, circumstances);
  marks.push(performance.now());
  const took = (step: number) => (marks[step + 1] ?? 0) - (marks[step] ?? 0);
  return {
    history,
    findings: evaluation.findings.length,
    steps: { evaluate: took(0), remember: took(1), plan: took(2) },
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

function config() {
  const written = Array.from({ length: rules }, (_, index) => rule(index));
  const parsed = configSchema.parse({ mode: "enforce", targets: [{ name: "app" }], rules: written });
  return { ...parsed, targets: [], channels: [] };
}

/** Rules as people write them: most are about one service, one application or some tables. */
function rule(index: number) {
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
