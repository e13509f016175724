import type { NodeKey } from "../../core/session.ts";
import type { Connection } from "./connection.ts";
import { momentOf } from "./moment.ts";
import { type Activity, listSessions } from "./rows.ts";
import { readId } from "./session-id.ts";
import { mostSessions, pairsSql, sessionsSql, type Which } from "./sql.ts";

/** The sessions of one moment. */
export type Seen = Readonly<{
  at: string;
  atMs: number;
  activities: ReadonlyMap<string, Activity>;
  ambiguous: number;
  capped: boolean;
  /** Transaction to session; those of several sessions are left out. */
  now: ReadonlyMap<string, NodeKey>;
}>;

export async function seeSessions(
  connection: Connection,
  { which, own }: Readonly<{ which: Which; own: readonly string[] }>,
  signal: AbortSignal,
): Promise<Seen> {
  const { server } = connection;
  const rows = await connection.query(sessionsSql(server, which, server.sessionId), signal);
  // Not even our own session is listed: then nobody knows what an empty list means.
  if (!rows.some((row) => row["ID"] === server.sessionId))
    throw new Error(
      `GV$OB_PROCESSLIST does not list Lockwarden's own session ${server.sessionId}; a proxy that numbers sessions itself may stand in between: connect to the server directly`,
    );
  const at = momentOf(rows[0]?.["SERVER_NOW"]);
  const { activities, ambiguous } = listSessions(rows.slice(0, mostSessions), { server, own });
  return {
    at,
    atMs: Date.parse(at),
    activities: new Map(activities.map((activity) => [activity.id, activity])),
    ambiguous,
    capped: rows.length > mostSessions,
    now: onlyOnce(activities.map(({ id, transactionId }) => [transactionId, id])),
  };
}

/** Who had which transaction before the locks are read. */
export async function seePairs(connection: Connection, signal: AbortSignal): Promise<ReadonlyMap<string, NodeKey>> {
  const rows = await connection.query(pairsSql(connection.server.mode), signal);
  return onlyOnce(rows.map((row) => [readId(row["TRANS_ID"]), readId(row["ID"])]));
}

/** What was the same both times. */
export function steadyPairs(
  before: ReadonlyMap<string, NodeKey>,
  after: ReadonlyMap<string, NodeKey>,
): ReadonlyMap<string, NodeKey> {
  return new Map([...after].filter(([transaction, id]) => before.get(transaction) === id));
}

function onlyOnce(pairs: readonly (readonly [string | null, string | null])[]): ReadonlyMap<string, NodeKey> {
  const found = new Map<string, NodeKey>();
  const twice = new Set<string>();
  for (const [transaction, id] of pairs) {
    if (transaction === null || id === null) continue;
    if (found.has(transaction)) twice.add(transaction);
    found.set(transaction, id);
  }
  for (const transaction of twice) found.delete(transaction);
  return found;
}
