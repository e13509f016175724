import type { Lease } from "../engine.ts";
import type { Connection } from "./connection.ts";
import { unlessMissing } from "./recognise.ts";

/** Fixed for ever: daemons of different versions must ask for the same lock. Oracle mode takes numbers up to 2^30. */
export const leaseName = "lockwarden";
export const leaseId = 745_497_451;

// Never waiting: a waiting twin would look like a session that is blocked.
const askSql = {
  oracle: `SELECT /* lockwarden:lease */ DBMS_LOCK.REQUEST(${leaseId}, 6, 0) AS ANSWER FROM DUAL`,
  mysql: `SELECT /* lockwarden:lease */ GET_LOCK('${leaseName}', 0) AS ANSWER FROM DUAL`,
} as const;

const releaseSql = {
  oracle: `SELECT /* lockwarden:release */ DBMS_LOCK.RELEASE(${leaseId}) AS ANSWER FROM DUAL`,
  mysql: `SELECT /* lockwarden:release */ RELEASE_LOCK('${leaseName}') AS ANSWER FROM DUAL`,
} as const;
/** Nobody waits long for it at the end: without an answer the session is closed all the same. */
const releaseWithinMs = 1_000;

/** Granted, or ours already; DBMS_LOCK says 1 of another's, GET_LOCK says 0. */
const granted = { oracle: ["0", "4"], mysql: ["1"] } as const;
const refused = { oracle: "1", mysql: "0" } as const;

// Whether there is such a lock at all, taking none.
const trySql = {
  oracle: `${askSql.oracle} WHERE 1 = 0`,
  mysql: `SELECT /* lockwarden:lease */ IS_FREE_LOCK('${leaseName}') AS ANSWER FROM DUAL`,
} as const;

/** Whether this server, for this user, has a lock that daemons can agree on. */
export async function hasLease(actor: Connection, signal: AbortSignal): Promise<boolean> {
  return (await unlessMissing(actor.query(trySql[actor.server.mode], signal))) !== null;
}

export type LeaseOn = Readonly<{ ask(signal: AbortSignal): Promise<Lease>; release(): Promise<void> }>;

/**
 * Asks for the right to act, on the session that signals. Once held it is held for as long as that session lives, and
 * without the session there is nothing to act with: so the server is not asked again. The server may free the lock of a
 * session that has gone only ten seconds later: it is given back before, or whoever starts next would only observe.
 */
export function leaseOn(actor: Connection): LeaseOn {
  let held = false;
  return {
    ask: async (signal) => {
      if (held && actor.failure() === null) return "held";
      const answer = await ask(actor, signal);
      held = answer === "held";
      return answer;
    },
    release: async () => {
      if (!held || actor.failure() !== null) return;
      held = false;
      const sql = releaseSql[actor.server.mode];
      await actor.query(sql, AbortSignal.timeout(releaseWithinMs)).catch(() => undefined);
    },
  };
}

async function ask(actor: Connection, signal: AbortSignal): Promise<Lease> {
  const { mode } = actor.server;
  const rows = await unlessMissing(actor.query(askSql[mode], signal));
  if (rows === null) return "unsupported";
  const answer = rows[0]?.["ANSWER"] ?? null;
  if (granted[mode].some((one) => one === answer)) return "held";
  if (answer === refused[mode]) return "taken";
  throw new Error(`expected the lock among daemons to be granted or refused, got the answer ${JSON.stringify(answer)}`);
}
