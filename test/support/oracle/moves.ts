import type { Random } from "./random.ts";

/** What a session does next, and what that makes of it when it succeeds. */
export type Move = Readonly<{
  sql: string;
  /** Nothing of the transaction is left. */
  ends?: boolean;
  /** It runs without a transaction of its own. */
  alone?: boolean;
  saves?: boolean;
  /** Never committed: the tables would be others for who comes later. */
  spoils?: boolean;
  /** Keeps its locks without a session. */
  prepares?: string;
}>;

export type Standing = Readonly<{ state: "none" | "open" | "aborted"; saved: boolean; spoilt: boolean }>;
export type Game = Readonly<{ parallel: boolean; newName(): string }>;

export const tables = ["t0", "t1", "t2", "t3"] as const;

/** What every database of the game is made of. */
export const setting = [
  ...tables.flatMap((table) => [
    `create table ${table} (id int primary key, n int)`,
    `insert into ${table} select id, 0 from generate_series(1, 4) as id`,
  ]),
  "create table child (id int references t0)",
  "create table single (id int primary key)",
  "create table wide as select generate_series(1, 20000) as n",
  `create function peek(int) returns bigint language plpgsql parallel safe as
   $$ begin return (select count(*) + $1 from t1); end $$`,
];

const modes = [
  "access share",
  "row share",
  "row exclusive",
  "share update exclusive",
  "share",
  "share row exclusive",
  "exclusive",
  "access exclusive",
];
const strengths = ["update", "no key update", "share", "key share"];
const gather =
  "set local parallel_setup_cost = 0; set local parallel_tuple_cost = 0; set local min_parallel_table_scan_size = 0; " +
  "set local parallel_leader_participation = off; set local max_parallel_workers_per_gather = 2";

type Maker = (random: Random, game: Game) => Move;
const table = (random: Random) => random.pick(tables);
const row = (random: Random) => 1 + random.below(4);

/** How often, and what. */
const inTransaction: readonly (readonly [number, Maker])[] = [
  [26, (random) => ({ sql: `lock table ${table(random)} in ${random.pick(modes)} mode` })],
  [14, (random) => ({ sql: `select from ${table(random)} where id = ${row(random)} for ${random.pick(strengths)}` })],
  [18, (random) => ({ sql: `update ${table(random)} set n = n + 1 where id = ${row(random)}` })],
  [3, (random) => ({ sql: `update ${table(random)} set id = id + 10 where id = ${row(random)}`, spoils: true })],
  [3, (random) => ({ sql: `delete from ${table(random)} where id = ${row(random)}`, spoils: true })],
  [6, (random) => ({ sql: `insert into single values (${row(random)})`, spoils: true })],
  [3, (random) => ({ sql: `insert into single values (${row(random)}) on conflict do nothing`, spoils: true })],
  [5, (random) => ({ sql: `insert into child values (${row(random)})`, spoils: true })],
  [8, advisory],
  [4, (random) => ({ sql: `alter table ${table(random)} add column extra int`, spoils: true })],
  [2, (random) => ({ sql: `create index on ${table(random)} (n)`, spoils: true })],
  [2, (random) => ({ sql: `drop table ${table(random)} cascade`, spoils: true })],
  [2, (random) => ({ sql: `truncate ${table(random)} cascade`, spoils: true })],
  [2, (random) => ({ sql: `comment on schema public is 'made by ${random.below(1_000)}'`, spoils: true })],
  [6, () => ({ sql: "savepoint s", saves: true })],
  [6, () => ({ sql: "rollback", ends: true })],
  [1, (_, { newName }) => prepare(newName())],
  [2, (_, { parallel }) => ({ sql: parallel ? `${gather}; select count(*) from wide where peek(n) > 5` : "select" })],
];

function advisory(random: Random): Move {
  const name = `pg_advisory${random.pick(["", "_xact"])}_lock${random.pick(["", "_shared"])}`;
  return { sql: `select ${name}(${random.pick(["1", "2", "1, 1", "1, 2"])})` };
}

function prepare(gid: string): Move {
  return { sql: `prepare transaction '${gid}'`, ends: true, prepares: gid };
}

const outside: readonly Maker[] = [
  (random) => ({ sql: `create index concurrently if not exists slowly on ${table(random)} (n)`, alone: true }),
  (random) => ({ sql: `vacuum ${table(random)}`, alone: true }),
];

export function nextMove(random: Random, standing: Standing, game: Game): Move {
  if (standing.state === "aborted") {
    return standing.saved ? { sql: "rollback to savepoint s" } : { sql: "rollback", ends: true };
  }
  if (standing.state === "none" && random.chance(0.03)) return random.pick(outside)(random, game);
  if (standing.saved && random.chance(0.15)) return { sql: "rollback to savepoint s" };
  if (!standing.spoilt && standing.state === "open" && random.chance(0.03)) return { sql: "commit", ends: true };
  const move = weighted(random, inTransaction)(random, game);
  return standing.state === "none" && move.ends !== true ? { ...move, sql: `begin; ${move.sql}` } : move;
}

function weighted<T>(random: Random, choices: readonly (readonly [number, T])[]): T {
  let left = random.below(choices.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, choice] of choices) {
    left -= weight;
    if (left < 0) return choice;
  }
  throw new Error("expected a weight below the sum of all");
}
