import type pg from "pg";
import type { Look } from "../../src/engines/engine.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { type Opened, openConnection } from "../../src/engines/postgres/open.ts";
import { eventually } from "../support/eventually.ts";
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
import { type Pair, ratioInterval, ratioOfMedians, summarize } from "./statistics.ts";

const waiters = 1_000;
const bystanders = 900;
const openTransactions = 100;
const rounds = 25;
const warmUps = 5;
// Each of a thousand looks for a deadlock once, among a thousand: while they do, on a busy machine nobody gets in.
const settings = { max_connections: String(waiters + bystanders + 20), deadlock_timeout: "10min" };
const jamLook: Look = { sessions: "transactions", locks: true };

/** What others ask, and what the answer cannot be had for less than. */
const statements = {
  floor: [
    "select count(*) from pg_catalog.pg_stat_get_activity(null)",
    "select count(*) from pg_catalog.pg_lock_status()",
  ],
  plain: ["select * from pg_catalog.pg_stat_get_activity(null)", "select * from pg_catalog.pg_lock_status()"],
  blockingPids: [
    "select pid, pg_catalog.pg_blocking_pids(pid) from pg_catalog.pg_stat_get_activity(null) where wait_event_type = 'Lock'",
  ],
  // As PostgreSQL's wiki has it (Lock Monitoring), and most tools after it.
  selfJoin: [
    `select count(*) from (
     select blocked_locks.pid as blocked_pid, blocked_activity.usename as blocked_user, blocking_locks.pid as blocking_pid,
            blocking_activity.usename as blocking_user, blocked_activity.query as blocked_statement,
            blocking_activity.query as current_statement_in_blocking_process
       from pg_catalog.pg_locks blocked_locks
       join pg_catalog.pg_stat_activity blocked_activity on blocked_activity.pid = blocked_locks.pid
       join pg_catalog.pg_locks blocking_locks
         on blocking_locks.locktype = blocked_locks.locktype
        and blocking_locks.database is not distinct from blocked_locks.database
        and blocking_locks.relation is not distinct from blocked_locks.relation
        and blocking_locks.page is not distinct from blocked_locks.page
        and blocking_locks.tuple is not distinct from blocked_locks.tuple
        and blocking_locks.virtualxid is not distinct from blocked_locks.virtualxid
        and blocking_locks.transactionid is not distinct from blocked_locks.transactionid
        and blocking_locks.classid is not distinct from blocked_locks.classid
        and blocking_locks.objid is not distinct from blocked_locks.objid
        and blocking_locks.objsubid is not distinct from blocked_locks.objsubid
        and blocking_locks.pid <> blocked_locks.pid
       join pg_catalog.pg_stat_activity blocking_activity on blocking_activity.pid = blocking_locks.pid
      where not blocked_locks.granted) as pairs`,
  ],
} as const;

type Name = "tick" | keyof typeof statements;
const names: readonly Name[] = ["tick", "floor", "plain", "blockingPids", "selfJoin"];
type Cost = Readonly<{ serverMs: number; clientMs: number }>;
type Costs = Readonly<Record<Name, readonly Cost[]>>;
type Crowd = Readonly<{ title: string; locks: number; costs: Costs }>;
type Asker = Readonly<{ ask(): Promise<unknown>; pids: readonly string[] }>;

export const jam: Scenario = {
  name: "jam",
  about: "a look with locks while a thousand wait for one row, beside what others ask",
  needsServer: true,
  run: (major) =>
    withServer({ major, settings }, async (server, superuser) => {
      await superuser.query(
        "create table public.login (id int primary key, seen timestamptz); create table public.orders (id int primary key);" +
          "insert into public.login values (1, now()); grant all on all tables in schema public to app",
      );
      const askers = await connectAskers(server.url(watchdogRole), superuser);
      const idle = await fill(server.url("app"), superuser);
      const crowds: Crowd[] = [];
      await openTransaction(idle.splice(0, openTransactions));
      crowds.push(await measure(`${openTransactions} of the bystanders in a transaction`, superuser, askers));
      await openTransaction(idle);
      crowds.push(await measure("all of the bystanders in a transaction", superuser, askers));
      return report(await versionOf(superuser), crowds);
    }),
};

/** Each statement on a connection of its own, set up as the daemon's are. */
async function connectAskers(url: string, superuser: pg.Client): Promise<Readonly<Record<Name, Asker>>> {
  const link = await postgres.connect(target(url), patience());
  const { rows } = await superuser.query<{ pid: string }>("select pid::text from pg_stat_activity where usename = $1", [
    watchdogRole,
  ]);
  const slow = target(url, { statement_timeout: 60_000 });
  const of = async (name: keyof typeof statements): Promise<Asker> => {
    const connection: Opened = await openConnection(slow, {}, patience());
    const ask = async () => {
      for (const sql of statements[name]) await connection.queryPrepared(sql, [], patience());
    };
    return { ask, pids: [connection.pid] };
  };
  return {
    tick: { ask: () => link.read(jamLook, patience()), pids: rows.map(({ pid }) => pid) },
    floor: await of("floor"),
    plain: await of("plain"),
    blockingPids: await of("blockingPids"),
    selfJoin: await of("selfJoin"),
  };
}

/** One holds a row, a thousand wait for it; the bystanders are connected. */
async function fill(url: string, superuser: pg.Client): Promise<pg.Client[]> {
  const holder = await person(url, "web");
  await holder.query("begin; update public.login set seen = now() where id = 1");
  const idle = await crowdOf(bystanders, () => person(url, "worker"));
  const waiting = await crowdOf(waiters, () => person(url, "web"));
  // They end with the server.
  for (const client of waiting) {
    client.query("update public.login set seen = now() where id = 1").catch(() => undefined);
  }
  await eventually(
    "all of them wait",
    async () => {
      const { rows } = await superuser.query<{ count: string }>(
        "select count(*) from pg_stat_get_activity(null) where wait_event_type = 'Lock'",
      );
      return Number(rows[0]?.count) === waiters ? true : undefined;
    },
    120_000,
  );
  return idle;
}

async function openTransaction(clients: readonly pg.Client[]): Promise<void> {
  for (const client of clients) await client.query("begin; select count(*) from public.orders; select txid_current()");
}

async function measure(title: string, superuser: pg.Client, askers: Readonly<Record<Name, Asker>>): Promise<Crowd> {
  const costs = { tick: [], floor: [], plain: [], blockingPids: [], selfJoin: [] } as Record<Name, Cost[]>;
  for (let round = -warmUps; round < rounds; round++) {
    // Each round begins with another one.
    const first = (round + warmUps) % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const cost = await costOf(askers[name]);
      if (round >= 0) costs[name].push(cost);
    }
  }
  const { rows } = await superuser.query<{ count: string }>("select count(*) from pg_lock_status()");
  return { title, locks: Number(rows[0]?.count), costs };
}

/** The processor time of the backends that answered, where the system tells it; else how long the client waited. */
async function costOf({ ask, pids }: Asker): Promise<Cost> {
  const before = await usage(pids);
  const begun = performance.now();
  await ask();
  const clientMs = performance.now() - begun;
  const after = await usage(pids);
  return { serverMs: before === null || after === null ? clientMs : after - before, clientMs };
}

async function usage(pids: readonly string[]): Promise<number | null> {
  const all = await Promise.all(pids.map(processorMs));
  return all.reduce((sum, ms) => (sum === null || ms === null ? null : sum + ms), 0);
}

function report(version: string, crowds: readonly Crowd[]): Report {
  const judge = (crowd: Crowd) => {
    const ratio = (of: Name, to: Name) => pairs(crowd, of, to);
    const say = (list: readonly Pair[]) =>
      `${figure(ratioOfMedians(list))} × (95 % ${intervalText(ratioInterval(list))})`;
    const where = `jam of ${waiters}, ${crowd.title}`;
    const [blockingPids, selfJoin, plain] = [
      ratio("blockingPids", "tick"),
      ratio("selfJoin", "tick"),
      ratio("tick", "plain"),
    ];
    return [
      {
        what: `${where}: pg_blocking_pids of all waiters ÷ the whole read`,
        target: "5 or more",
        got: say(blockingPids),
        met: ratioOfMedians(blockingPids) >= 5,
      },
      {
        what: `${where}: self-join of pg_locks ÷ the whole read`,
        target: "15 or more",
        got: say(selfJoin),
        met: ratioOfMedians(selfJoin) >= 15,
      },
      {
        what: `${where}: the whole read ÷ select * of both functions`,
        target: "1.2 or less",
        got: say(plain),
        met: ratioOfMedians(plain) <= 1.2,
      },
    ];
  };
  return {
    conditions: [
      `${version}; ${waiters} real connections wait for one row, ${bystanders} stand by; deadlock_timeout 10 min; over TCP on loopback, every statement prepared,`,
      `on a connection of its own with the same role and settings; ${rounds} rounds in turns, ${warmUps} before them do not count.`,
      "tick: link.read with locks, that is every statement it sends. floor: count(*) of both functions. plain: select * of both.",
      "self-join: PostgreSQL wiki's Lock Monitoring; its million rows are counted on the server, which spares it the sending.",
    ],
    tables: crowds.map(costTable),
    verdicts: crowds.flatMap(judge),
  };
}

function pairs({ costs }: Crowd, of: Name, to: Name): readonly Pair[] {
  return costs[of].map(({ serverMs }, round) => ({
    figure: serverMs,
    floor: costs[to][round]?.serverMs ?? Number.NaN,
  }));
}

function costTable(crowd: Crowd): Table {
  const row = (name: Name, title: string) => [
    title,
    ...summaryCells(summarize(crowd.costs[name].map(({ serverMs }) => serverMs))),
    figure(ratioOfMedians(pairs(crowd, name, "floor"))),
    intervalText(ratioInterval(pairs(crowd, name, "floor"))),
    figure(summarize(crowd.costs[name].map(({ clientMs }) => clientMs)).median),
  ];
  return {
    title: `${waiters} wait, ${crowd.title}, ${crowd.locks} rows of pg_lock_status(): processor time of the server, ms`,
    columns: ["", ...summaryColumns, "÷ floor", "95 %", "client waits (median)"],
    rows: [
      row("floor", "floor: count(*) of both"),
      row("plain", "select * of both"),
      row("tick", "tick: the whole read"),
      row("blockingPids", "pg_blocking_pids of all waiters"),
      row("selfJoin", "self-join of pg_locks"),
    ],
  };
}
