import type { Probe, Probed } from "../../core/decision.ts";
import { LinkLost } from "../engine.ts";
import { isLockTimeout, reasonOf } from "./errors.ts";
import type { Opened } from "./open.ts";

/** Waiting for several locks, each for less than its timeout, is no proof of being stuck: it is cut, and counts as failed. */
const patience = 2;

export type Prober = Readonly<{
  /** Opens what probes in this database will need, so that none needs a new connection in a pile-up. */
  ready(database: string | undefined, signal: AbortSignal): Promise<void>;
  probe(probe: Probe, signal: AbortSignal): Promise<Probed>;
  close(): Promise<void>;
}>;

type Open = (database: string | undefined, signal: AbortSignal) => Promise<Opened>;

/**
 * Probes run on sessions of their own, one a database, opened once and kept: somebody else's statement must not be
 * able to leave anything on the session that reads or the one that signals.
 */
export function prober(longestMs: number, open: Open): Prober {
  const sessions = new Map<string | undefined, Opened>();
  const session = async (database: string | undefined, signal: AbortSignal): Promise<Opened> => {
    const known = sessions.get(database);
    if (known?.failure() === null) return known;
    const opened = await open(database, signal);
    sessions.set(database, opened);
    return opened;
  };
  return {
    ready: async (database, signal) => void (await session(database, signal)),
    probe: async (probe, signal) => {
      const began = performance.now();
      const ms = () => Math.round(performance.now() - began);
      if (!canBeUndone(probe.sql)) return { kind: "failed", ms: 0, error: commits };
      try {
        return await run(await session(probe.database, signal), probe, longestMs, signal);
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

const commits =
  "expected a probe that begins with select, insert, update, delete, merge, replace or with: on this server other statements may commit, and could not be rolled back";

/** DDL commits here, before itself and after, and so may a block. */
export function canBeUndone(sql: string): boolean {
  const bare = sql.replace(/^(?:\s|\(|--[^\n\r]*(?:[\n\r]|$)|\/\*[^]*?\*\/)+/u, "");
  return /^(?:select|insert|update|delete|merge|replace|with)\b/iu.test(bare);
}

async function run(
  connection: Opened,
  { sql, timeout }: Probe,
  longestMs: number,
  signal: AbortSignal,
): Promise<Probed> {
  // The lock's timer has to come first: a statement that is cut says nothing. In microseconds.
  const lockMs = Math.max(1, Math.min(timeout, Math.floor(longestMs / patience)));
  await connection.query("SET SESSION autocommit = 0", signal);
  await connection.query(`SET SESSION ob_trx_lock_timeout = ${lockMs * 1_000}`, signal);
  await connection.query(`SET SESSION ob_query_timeout = ${lockMs * patience * 1_000}`, signal);
  const began = performance.now();
  const ms = () => Math.round(performance.now() - began);
  let probed: Probed;
  try {
    await connection.query(sql, signal);
    probed = { kind: "works", ms: ms() };
  } catch (error) {
    if (error instanceof LinkLost || signal.aborted) throw error;
    probed = isLockTimeout(error) ? { kind: "stuck", ms: ms() } : { kind: "failed", ms: ms(), error: reasonOf(error) };
  }
  try {
    await connection.query("ROLLBACK", signal);
  } catch (error) {
    // Whatever it has left behind goes with its session.
    await connection.close();
    throw error;
  }
  return probed;
}
