import type pg from "pg";
import { eventually } from "../support/eventually.ts";
import { processIdOf } from "./server.ts";
import type { ServerClock } from "./server-clock.ts";

/** A row that somebody has locked and left, and somebody who waits for it. */
export type Stuck = Readonly<{
  pid: string;
  /** When the victim went idle, by the server's clock. */
  idleSince: number;
  /** When the waiter's statement returned, by the server's clock. */
  released: Promise<number>;
  /** When the victim's own connection saw its end. */
  ended: Promise<number>;
  close(): Promise<void>;
}>;

export type StuckPlace = Readonly<{
  /** Somebody new: a waiter of the last act would stand for the same jam. */
  connect(): Promise<pg.Client>;
  /** Sees who waits; may be the same for all. */
  witness: pg.Client;
  clock: ServerClock;
}>;

const patienceMs = 60_000;

export async function makeStuck(row: number, { connect, witness, clock }: StuckPlace): Promise<Stuck> {
  const [victim, waiter] = await Promise.all([connect(), connect()]);
  const [pid, waiterPid] = await Promise.all([processIdOf(victim), processIdOf(waiter)]);
  const now = () => clock(performance.now());
  const ended = within(
    "the victim's end",
    new Promise<number>((resolve) => {
      victim.once("error", () => resolve(now()));
      victim.once("end", () => resolve(now()));
    }),
  );
  await victim.query("begin");
  await victim.query("update public.user_session set seen = now() where id = $1", [row]);
  const released = within(
    "the waiter's return",
    waiter.query("update public.user_session set seen = now() where id = $1", [row]).then(now),
  );
  const state = await eventually("somebody waits for the victim", async () => {
    const { rows } = await witness.query<{ since: string }>(
      `select extract(epoch from v.state_change) * 1000 as since from pg_stat_get_activity($1::int) v, pg_stat_get_activity($2::int) w
        where v.state = 'idle in transaction' and w.wait_event_type = 'Lock'`,
      [pid, waiterPid],
    );
    return rows[0];
  });
  return { pid, idleSince: Number(state.since), released, ended, close: () => waiter.end() };
}

function within<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`${what} did not come within ${patienceMs} ms`)), patienceMs).unref();
  });
  return Promise.race([promise, late]);
}
