import pg from "pg";
import type { Probe, Probed } from "../../core/decision.ts";
import { LinkLost } from "../engine.ts";
import { reasonOf } from "./names.ts";
import type { Opened, OpenOptions } from "./open.ts";

const limitsSql = `select /* lockwarden:probe */
    pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true)`;

/** What a rollback leaves behind: locks and settings of the session. The limits above are local, and the pid stays ours. */
const tidySql = "select /* lockwarden:probe */ pg_catalog.pg_advisory_unlock_all()";

/** lock_timeout, and NOWAIT. */
export const lockNotAvailable = "55P03";

/** Waiting for several locks, each for less than its timeout, is no proof of being stuck: it is cut, and counts as failed. */
export const patience = 2;

export type Prober = Readonly<{
  /** Opens what probes in this database will need, so that none needs a new connection in a pile-up. */
  ready(database: string | undefined, signal: AbortSignal): Promise<void>;
  probe(probe: Probe, signal: AbortSignal): Promise<Probed>;
  close(): Promise<void>;
}>;

type Open<O> = (options: OpenOptions, signal: AbortSignal) => Promise<O>;

/** Runs one probe on its session and rolls it back. */
export type RunProbe<O> = (connection: O, probe: Probe, signal: AbortSignal) => Promise<Probed>;

/**
 * Probes run on sessions of their own, one a database, opened once and kept: somebody else's statement must not be
 * able to leave anything on the session that reads or the one that signals. `open` sees to it that all are on one server.
 */
export function prober<O extends Opened>(open: Open<O>, run: RunProbe<O>): Prober {
  const sessions = new Map<string | undefined, O>();
  const session = async (database: string | undefined, signal: AbortSignal): Promise<O> => {
    const known = sessions.get(database);
    if (known?.isOpen() === true) return known;
    const opened = await open(
      database === undefined ? {} : { database, databaseSource: "the rule's probe.database" },
      signal,
    );
    sessions.set(database, opened);
    return opened;
  };
  return {
    ready: async (database, signal) => void (await session(database, signal)),
    probe: async (probe, signal) => {
      const began = performance.now();
      const ms = () => Math.round(performance.now() - began);
      try {
        const connection = await session(probe.database, signal);
        return await run(connection, probe, signal);
      } catch (error) {
        signal.throwIfAborted();
        const hint = error instanceof LinkLost && error.hint !== null ? `; ${error.hint}` : "";
        return { kind: "failed", ms: ms(), error: `${reasonOf(error)}${hint}` };
      }
    },
    close: async () => {
      await Promise.all([...sessions.values()].map((opened) => opened.close()));
    },
  };
}

/** Whether the probe is stuck is said by lock_timeout. */
export function byLockTimeout(longestMs: number): RunProbe<Opened> {
  return (connection, probe, signal) => runBounded(connection, { ...probe, longestMs }, signal);
}

type Bounded = Probe & Readonly<{ longestMs: number }>;

async function runBounded(
  connection: Opened,
  { sql, timeout, longestMs }: Bounded,
  signal: AbortSignal,
): Promise<Probed> {
  // Not before the transaction: begin itself waits for nobody.
  await connection.query("begin read write", [], signal);
  let probed: Probed;
  let began = performance.now();
  const ms = () => Math.round(performance.now() - began);
  // The lock's timer has to come first: a statement that is cut says nothing.
  const lockMs = Math.max(1, Math.min(timeout, Math.floor(longestMs / patience)));
  try {
    await connection.query(limitsSql, [String(lockMs), String(lockMs * patience)], signal);
    began = performance.now();
    await connection.query(sql, [], signal);
    probed = { kind: "works", ms: ms() };
  } catch (error) {
    if (error instanceof LinkLost || signal.aborted) throw error;
    const stuck = error instanceof pg.DatabaseError && error.code === lockNotAvailable;
    probed = stuck ? { kind: "stuck", ms: ms() } : { kind: "failed", ms: ms(), error: reasonOf(error) };
  }
  await leaveNothing(connection, signal);
  return probed;
}

/** Whatever a probe did is undone, or goes with its session. */
export async function leaveNothing(connection: Opened, signal: AbortSignal): Promise<void> {
  try {
    await connection.query("rollback", [], signal);
    await connection.query(tidySql, [], signal);
  } catch (error) {
    await connection.close();
    throw error;
  }
}
