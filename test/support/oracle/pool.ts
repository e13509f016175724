import pg from "pg";
import type { EmbeddedPostgres } from "../../../src/demo/embedded-postgres.ts";
import { client, eventually } from "../servers.ts";
import { type Move, setting } from "./moves.ts";

/** One session of the game. */
export type Player = {
  readonly pid: string;
  readonly database: string;
  readonly client: pg.Client;
  /** A statement of its runs or waits. */
  busy: boolean;
  state: "none" | "open" | "aborted";
  saved: boolean;
  spoilt: boolean;
};

/** The lock for which somebody waited who left its queue without it; null: the deadlock check threw somebody out. */
export type Left = Readonly<{ lock: string | null }>;

export type Pool = Readonly<{
  players: readonly Player[];
  left(): readonly Left[];
  /** When nobody was on the way into a queue: by the server's clock, as text. */
  settledAt(): readonly string[];
  /** The deadlock check of an impatient one has changed the order of a queue: the server said so. */
  rearranged(): boolean;
  /** Starts it; the player is busy until the server has answered. */
  start(player: Player, move: Move): void;
  /** Until everybody who is busy waits for a lock. */
  settled(): Promise<void>;
  /** Makes somebody who waits leave the queue. */
  cancel(player: Player): Promise<void>;
  /** Their deadlock check runs soon, and they hear of what it did. */
  impatient(players: readonly Player[]): Promise<void>;
  /** Nobody holds or waits for anything, and all tables are as they were. */
  reset(): Promise<void>;
  close(): Promise<void>;
}>;

const hasty = "set deadlock_timeout = '20ms'; set log_lock_waits = on; set client_min_messages = log";

// From 14 on a waiter notes the moment only after it has been queued; a worker is its leader (13).
const waitingSql = `select coalesce(to_json(a) ->> 'leader_pid', l.pid::text) as pid,
  (to_json(l)::jsonb -> 'waitstart') is not distinct from 'null' as undated,
  to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now
  from pg_lock_status() as l left join pg_stat_get_activity(l.pid) as a on true where not l.granted`;
const queueSql = `select l.locktype || ' ' || concat_ws('/', l.database, l.relation, l.page, l.tuple, l.virtualxid,
  l.transactionid, l.classid, l.objid, l.objsubid) as lock from pg_lock_status() as l where not granted and pid = $1`;

/** Half of them in another database, which has the same tables. */
export async function openPool(postgres: EmbeddedPostgres, size: number): Promise<Pool> {
  const admin = await client(postgres.url());
  await admin.query("create database other");
  for (const database of ["postgres", "other"]) {
    const builder = await client(postgres.url("postgres", database));
    for (const sql of setting) await builder.query(sql);
    await builder.end();
  }
  const players: Player[] = [];
  let rearranged = false;
  for (let place = 0; place < size; place++) {
    const player = await join(postgres, place % 4 === 3 ? "other" : "postgres");
    player.client.on("notice", ({ message }) => {
      rearranged ||= message?.includes("by rearranging queue order") === true;
    });
    players.push(player);
  }
  const prepared: { gid: string; player: Player }[] = [];
  const left: Left[] = [];
  const settledAt: string[] = [];
  const busy = () => players.filter((player) => player.busy);
  return {
    players,
    left: () => left,
    settledAt: () => settledAt,
    rearranged: () => rearranged,
    start: (player, move) => start(player, move, { keep: (gid) => prepared.push({ gid, player }), left }),
    settled: () =>
      eventually(async () => {
        const { rows } = await admin.query<{ pid: string; undated: boolean; now: string }>(waitingSql);
        const waiting = new Set(rows.map(({ pid }) => pid));
        if (rows.some(({ undated }) => undated) || !busy().every(({ pid }) => waiting.has(pid))) return false;
        settledAt.push(...rows.slice(0, 1).map(({ now }) => now));
        return true;
      }, 60_000).then(() => undefined),
    cancel: async (player) => {
      left.push(...(await admin.query<Left>(queueSql, [player.pid])).rows);
      await admin.query("select pg_cancel_backend($1)", [player.pid]);
      await eventually(() => !player.busy, 60_000);
    },
    reset: async () => {
      await eventually(async () => {
        const pids = busy().map(({ pid }) => pid);
        if (pids.length > 0) await admin.query("select pg_cancel_backend(pid) from unnest($1::int[]) as pid", [pids]);
        return pids.length === 0;
      }, 60_000);
      await Promise.all(players.map(leaveTransaction));
      for (const { gid, player } of prepared.splice(0)) await player.client.query(`rollback prepared '${gid}'`);
      for (const player of [players[0], players[3]]) await player?.client.query("drop index if exists slowly");
      left.length = settledAt.length = 0;
      rearranged = false;
    },
    impatient: async (some) => {
      for (const player of some) await player.client.query(hasty);
    },
    close: async () => {
      await Promise.all(players.map((player) => player.client.end().catch(() => undefined)));
      await admin.end();
    },
  };
}

async function join(postgres: EmbeddedPostgres, database: string): Promise<Player> {
  const own = await client(postgres.url("postgres", database), { application_name: "player" });
  const { rows } = await own.query<{ pid: string }>("select pg_backend_pid()::text as pid");
  return { pid: rows[0]?.pid ?? "", database, client: own, busy: false, state: "none", saved: false, spoilt: false };
}

type Traces = Readonly<{ keep(gid: string): void; left: Left[] }>;

function start(player: Player, move: Move, { keep, left }: Traces): void {
  player.busy = true;
  const done = (error?: unknown): void => {
    player.busy = false;
    if (error !== undefined && !(error instanceof pg.DatabaseError)) throw error;
    if (error?.code === "40P01") left.push({ lock: null });
    if (error === undefined) follow(player, move, keep);
    else if (move.alone !== true) player.state = move.prepares === undefined ? "aborted" : "none";
    if (player.state === "none") player.saved = player.spoilt = false;
  };
  player.client.query(move.sql).then(() => done(), done);
}

function follow(player: Player, move: Move, keep: (gid: string) => void): void {
  if (move.prepares !== undefined && player.state === "open") keep(move.prepares);
  player.saved ||= move.saves === true;
  player.spoilt ||= move.spoils === true;
  player.state = move.ends === true || move.alone === true ? "none" : "open";
}

async function leaveTransaction(player: Player): Promise<void> {
  await player.client.query(
    "rollback; select pg_advisory_unlock_all(); reset deadlock_timeout; reset client_min_messages",
  );
  Object.assign(player, { state: "none", saved: false, spoilt: false });
}
