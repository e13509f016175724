import pg from "pg";
import type { Probe, Probed } from "../../core/decision.ts";
import { LinkLost } from "../engine.ts";
import type { Connection } from "../postgres/connection.ts";
import { reasonOf } from "../postgres/names.ts";
import type { Opened } from "../postgres/open.ts";
import { leaveNothing, lockNotAvailable, patience, type RunProbe } from "../postgres/probe.ts";
import type { GaussSetUp } from "./set-up.ts";

const limitSql = "select /* lockwarden:probe */ pg_catalog.set_config('statement_timeout', $1, true)";

// A whole row as text: the same text is the same wait. Everybody may read it.
const waitSql = `select /* lockwarden:probe-wait */ l::text as wait from pg_catalog.pg_locks as l
 where l.sessionid = $1::int8 and not l.granted limit 1`;

const cancelled = "57014";
/** lockwait_timeout of the server. */
const lockWaitTimeout = "YY003";

type Session = Opened & GaussSetUp;

/**
 * There is no lock_timeout here, so another session watches: a probe that has waited for one lock as long as its timeout is
 * stuck. It is left to its statement_timeout, twice that, as nothing of it may be signalled.
 */
export function byWatching(watcher: Connection, longestMs: number): RunProbe<Session> {
  return async (connection, { sql, timeout }: Probe, signal) => {
    await connection.query("begin read write", [], signal);
    const lockMs = Math.max(1, Math.min(timeout, Math.floor(longestMs / patience)));
    await connection.query(limitSql, [String(lockMs * patience)], signal);
    const watch = watchWaits(watcher, connection.sessionId, signal);
    const began = performance.now();
    const ms = () => Math.round(performance.now() - began);
    let probed: Probed;
    try {
      await connection.query(sql, [], signal);
      probed = { kind: "works", ms: ms() };
    } catch (error) {
      if (error instanceof LinkLost || signal.aborted) throw error;
      const waitedMs = watch.waitedMs();
      probed = isStuck(error, waitedMs >= lockMs)
        ? { kind: "stuck", ms: ms() }
        : { kind: "failed", ms: ms(), error: reasonOf(error) };
    } finally {
      await watch.end();
    }
    await leaveNothing(connection, signal);
    return probed;
  };
}

function isStuck(error: unknown, waitedLong: boolean): boolean {
  const code = error instanceof pg.DatabaseError ? error.code : undefined;
  return code === lockNotAvailable || code === lockWaitTimeout || (code === cancelled && waitedLong);
}

type Seen = Readonly<{ wait: string; since: number; until: number }>;
type Watch = Readonly<{
  /** Between the first and the last look that saw the present wait. */
  waitedMs(): number;
  end(): Promise<void>;
}>;

const betweenLooksMs = 25;

function watchWaits(watcher: Connection, sessionId: string, signal: AbortSignal): Watch {
  const ending = new AbortController();
  let wake: () => void = () => undefined;
  let seen = null as Seen | null;
  const watching = (async () => {
    while (!ending.signal.aborted && !signal.aborted) {
      const [row] = await watcher.query(waitSql, [sessionId], signal);
      const wait = row?.["wait"] ?? null;
      const now = performance.now();
      if (ending.signal.aborted) break;
      if (wait === null) seen = null;
      else seen = seen?.wait === wait ? { ...seen, until: now } : { wait, since: now, until: now };
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, betweenLooksMs);
      });
    }
  })();
  // Who cannot watch calls nobody stuck; a connection that is lost shows by itself.
  const quiet = watching.catch(() => undefined);
  return {
    waitedMs: () => (seen === null ? 0 : seen.until - seen.since),
    end: async () => {
      ending.abort();
      wake();
      await quiet;
    },
  };
}
