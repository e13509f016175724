import assert from "node:assert/strict";
import { after, test } from "node:test";
import { waitGraph } from "../../src/core/wait-graph.ts";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import type { Connection } from "../../src/engines/postgres/connection.ts";
import { act } from "../../src/engines/postgres/guard.ts";
import { waitStartSince } from "../../src/engines/postgres/lock-rows.ts";
import { fleet } from "../support/fleet.ts";
import { type Comparison, compare, type Difference, type Reason } from "../support/oracle/compare.ts";
import { nextMove } from "../support/oracle/moves.ts";
import { openPool, type Player, type Pool } from "../support/oracle/pool.ts";
import { type Random, randomFrom } from "../support/oracle/random.ts";
import { type View, viewOf } from "../support/oracle/server-view.ts";
import { orderOn } from "../support/scene.ts";
import { quiet, readerOn, textConnection } from "../support/text-connection.ts";

// The graph against pg_blocking_pids, on states that nobody thought of. ORACLE_SEED runs one again.
const scenarios = Number(process.env["ORACLE_SCENARIOS"] ?? 50);
const size = Number(process.env["ORACLE_SESSIONS"] ?? 60);
const firstSeed = Number(process.env["ORACLE_SEED"] ?? Math.floor(Date.now() % 1_000_000) * 10_000);

type Table = Readonly<{
  postgres: EmbeddedPostgres;
  pool: Pool;
  look(): Promise<View>;
  oracle: Connection;
}>;
type Tally = {
  hard: number;
  soft: number;
  waiters: number;
  cycles: number;
  refused: number;
  reasons: Map<Reason, number>;
  locktypes: Set<string>;
};

const settings = {
  deadlock_timeout: "1h",
  max_connections: String(size + 30),
  max_prepared_transactions: "50",
  autovacuum: "off",
  max_parallel_workers: "8",
};
const tables: (Table & { major: number })[] = [];
for (const { major, postgres } of await fleet({ settings })) tables.push({ major, ...(await lay(postgres)) });

async function lay(postgres: EmbeddedPostgres): Promise<Table> {
  const pool = await openPool(postgres, size);
  after(() => pool.close());
  const connection = await textConnection(postgres.url());
  const oracle = await textConnection(postgres.url());
  const reader = readerOn(connection, (database) => postgres.url("postgres", database));
  return { postgres, pool, oracle, look: () => viewOf(oracle, reader, connection.pid) };
}

for (const table of tables) {
  const { major } = table;
  test(`${major}: in ${scenarios} scenarios from seed ${firstSeed} on, every edge is the server's, or differs for a known reason`, async (t) => {
    const tally: Tally = {
      hard: 0,
      soft: 0,
      waiters: 0,
      cycles: 0,
      refused: 0,
      reasons: new Map(),
      locktypes: new Set(),
    };
    for (let seed = firstSeed; seed < firstSeed + scenarios; seed++) await play(table, seed, tally);
    const reasons = [...tally.reasons].map(([reason, count]) => `${reason} ${count}`).join(", ");
    t.diagnostic(
      `${tally.waiters} waiters, ${tally.hard} hard and ${tally.soft} soft edges, ${tally.cycles} sessions in cycles`,
    );
    t.diagnostic(
      `differences by reason: ${reasons}; ${tally.refused} acts on them refused; ${[...tally.locktypes].join(", ")}`,
    );
    assert.ok(tally.hard > scenarios, "hardly anybody has waited");
  });
}

/** One scenario: some rounds in which some of those who are free do something, then the comparison. */
async function play(table: Table, seed: number, tally: Tally): Promise<void> {
  const { pool } = table;
  const random = randomFrom(seed);
  const players = pool.players.slice(0, 4 + random.below(pool.players.length - 3));
  let names = 0;
  const game = { parallel: table.oracle.versionNumber >= 130_000, newName: () => `g${seed}_${names++}` };
  if (random.chance(0.25)) await pool.impatient(players.filter(() => random.chance(0.3)));
  // One after the other, a few at a time, or all at once.
  const pace = random.pick([1, 4, players.length]);
  const rounds = pace === 1 ? Math.min(60, players.length * 3) : 6 + random.below(10);
  for (let round = 0; round < rounds; round++) {
    const free = players.filter((player) => !player.busy);
    for (let turn = 0; turn < pace && free.length > 0; turn++) {
      const [player] = free.splice(random.below(free.length), 1);
      if (player !== undefined) pool.start(player, nextMove(random, player, game));
    }
    await pool.settled();
    await sendAway(random, pool, players);
  }
  const view = await table.look();
  const ordered = table.oracle.versionNumber >= waitStartSince;
  const comparison = compare(view, {
    ordered,
    left: pool.left(),
    settledAt: pool.settledAt(),
    rearranged: pool.rearranged(),
  });
  assert.deepEqual(comparison.mistakes, [], `ORACLE_SEED=${seed}`);
  const unexplained = comparison.differences.filter(({ reason }) => reason === null);
  assert.deepEqual(unexplained, [], `ORACLE_SEED=${seed}`);
  for (const difference of comparison.differences) {
    if (difference.drawn) await isRefused(table, view, difference, seed);
  }
  add(tally, comparison, view);
  await pool.reset();
}

async function sendAway(random: Random, pool: Pool, players: readonly Player[]): Promise<void> {
  const waiting = players.filter((player) => player.busy);
  if (waiting.length === 0 || !random.chance(0.2)) return;
  await pool.cancel(random.pick(waiting));
  await pool.settled();
}

/** Whoever would act on an edge that the server does not have sends nothing: the guard asks the server first. */
async function isRefused(
  { oracle }: Table,
  { snapshot }: View,
  { waiter, blocker }: Difference,
  seed: number,
): Promise<void> {
  // A leader waits by its workers.
  const own = snapshot.waits?.find((one) => one.waiter === waiter && one.blockers.some(({ node }) => node === blocker));
  const wait = snapshot.waits?.find((one) => one.waiter === blocker && one.lock === own?.lock);
  assert.ok(own !== undefined && wait !== undefined);
  const edge = { waiterPid: own.pid ?? "", blockerPid: blocker, lock: own.lock, mode: own.mode, counts: true };
  const { lock, mode, waitAt } = wait;
  const guard = {
    sinceState: false,
    blocks: { edges: [edge], waiters: 1 },
    waits: { lock, mode, waitAt },
    notMaintenance: false,
  };
  const sent = await act(oracle, orderOn(snapshot, blocker, guard), quiet);
  assert.deepEqual(sent, { kind: "changed" }, `ORACLE_SEED=${seed}: ${waiter} is not blocked by ${blocker}`);
}

function add(tally: Tally, { hard, soft, differences }: Comparison, { snapshot, said }: View): void {
  tally.hard += hard;
  tally.soft += soft;
  tally.waiters += said.size;
  tally.refused += differences.filter(({ drawn }) => drawn).length;
  const graph = waitGraph(snapshot);
  tally.cycles += snapshot.sessions.filter(({ key }) => graph.inCycle(key)).length;
  for (const { locktype } of snapshot.waits ?? []) tally.locktypes.add(locktype);
  for (const { reason } of differences)
    if (reason !== null) tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1);
}
