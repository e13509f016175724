import type { Ms, Session } from "../../core/session.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import { LinkLost, type Look } from "../engine.ts";
import type { Connection, Views } from "./connection.ts";
import { type Seen, seePairs, seeSessions, steadyPairs } from "./look.ts";
import { type TableNames, tableNames } from "./names.ts";
import type { Activity } from "./rows.ts";
import { readId } from "./session-id.ts";
import { agesSql, locksSql, mostLocks, mostSessions, waitersSql } from "./sql.ts";
import { type LockRow, type Locks, lockRowOf, lockWaits } from "./waits.ts";

/** What is known of the server since the connection was opened. */
export type ReaderFacts = Readonly<{ version: string; serverId: string; recovery: boolean; database: string }>;

export type ReaderOptions = Readonly<{
  connection: Connection;
  target: Readonly<{ name: string }>;
  facts: ReaderFacts;
  /** The ids of Lockwarden's own sessions on this server, the reading one included. */
  own: readonly string[];
}>;

export type Reader = Readonly<{ read(look: Look, signal: AbortSignal): Promise<Snapshot> }>;

type LockLook = Readonly<{ rows: readonly LockRow[]; capped: boolean }>;
type Ages = Readonly<{ byTransaction: ReadonlyMap<string, Ms>; gap: string | null }>;

/** Reads one target: the sessions; with locks, the sessions before and after them; ages and names where they are needed. */
export function createReader(options: ReaderOptions): Reader {
  const { connection, own } = options;
  const names = tableNames(connection);
  return {
    read: async (look, signal) => {
      const before = look.locks ? await seePairs(connection, signal) : new Map<string, string>();
      const locks = look.locks && connection.server.views.locks ? await readLocks(connection, signal) : null;
      const seen = await seeSessions(connection, { which: look.sessions, own }, signal);
      const ages = await readAges(connection, seen, signal);
      const waiting =
        locks === null ? await somebodyWaits(connection, seen, signal) : locks.rows.some((row) => row.waiting);
      const gap = locks === null ? null : await prepareNames(names, locks.rows, signal);
      const resolved = locks === null ? null : resolve(locks.rows, { before, seen, names });
      return snapshotOf(options, { look, seen, ages, locks, resolved, waiting, nameGap: gap });
    },
  };
}

async function readLocks({ query, server }: Connection, signal: AbortSignal): Promise<LockLook> {
  const rows = await query(locksSql(server.mode, server.views, true), signal);
  return { rows: rows.slice(0, mostLocks).map(lockRowOf), capped: rows.length > mostLocks };
}

/** Whoever waits runs a statement: while nobody does, the locks are not even counted. */
async function somebodyWaits({ query, server }: Connection, seen: Seen, signal: AbortSignal): Promise<boolean> {
  if (!server.views.locks) return false;
  const busy = [...seen.activities.values()].some(({ session }) => !session.own && !isAsleep(session));
  if (!busy) return false;
  const [row] = await query(waitersSql(server.mode, server.views), signal);
  return row?.["WAITERS"] !== "0";
}

function isAsleep({ state }: Session): boolean {
  return state === "idle" || state === "idle in transaction" || state === "idle in transaction (aborted)";
}

/** By the server's clock; of whom no age is told, none is guessed. */
async function readAges({ query, server }: Connection, seen: Seen, signal: AbortSignal): Promise<Ages> {
  const { schedulers, participants } = server.views;
  const none = { byTransaction: new Map<string, Ms>() };
  const open = [...seen.activities.values()].some(({ session }) => session.transaction.kind === "open");
  if (!open) return { ...none, gap: null };
  if (!schedulers && !participants)
    return {
      ...none,
      gap: "the ages of transactions cannot be read (GV$OB_TRANSACTION_SCHEDULERS), so transaction_for matches nobody",
    };
  try {
    const rows = await query(agesSql(server.mode, schedulers ? "schedulers" : "participants"), signal);
    const found = new Map<string, Ms>();
    for (const row of rows) {
      const transaction = readId(row["TX_ID"]);
      const text = row["AGE_US"] ?? "";
      const microseconds = text === "" ? Number.NaN : Number(text);
      if (transaction === null || !Number.isFinite(microseconds)) continue;
      const ageMs = Math.max(0, Math.round(microseconds / 1_000));
      // A transaction is at least as old as the oldest of its parts; of a scheduler there is one.
      found.set(transaction, Math.max(found.get(transaction) ?? 0, ageMs));
    }
    return { byTransaction: found, gap: null };
  } catch (error) {
    if (error instanceof LinkLost || signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    return {
      ...none,
      gap: `the ages of transactions cannot be read (${reason}), so transaction_for matches nobody in this look`,
    };
  }
}

function prepareNames(names: TableNames, rows: readonly LockRow[], signal: AbortSignal): Promise<string | null> {
  // What somebody waits for comes first, as names are limited in number.
  const wanted = rows.toSorted((one, other) => Number(other.waiting) - Number(one.waiting));
  const tablets = wanted.flatMap(({ tablet }) => tablet ?? []);
  return names.prepare({ tablets, objects: wanted.flatMap(({ object }) => object ?? []) }, signal);
}

type Around = Readonly<{ before: ReadonlyMap<string, string>; seen: Seen; names: TableNames }>;

function resolve(rows: readonly LockRow[], { before, seen, names }: Around): Locks {
  return lockWaits(rows, {
    activities: seen.activities,
    before,
    now: seen.now,
    steady: steadyPairs(before, seen.now),
    relationOf: ({ tablet, object }) => {
      if (tablet !== null) return names.ofTablet(tablet);
      return object === null ? null : names.ofObject(object);
    },
  });
}

type Read = Readonly<{
  look: Look;
  seen: Seen;
  ages: Ages;
  locks: LockLook | null;
  resolved: Locks | null;
  waiting: boolean;
  nameGap: string | null;
}>;

function snapshotOf({ connection, target, facts }: ReaderOptions, read: Read): Snapshot {
  const { seen, ages, locks, resolved, waiting } = read;
  // Somebody who was not read may be in everybody's way: then who waits for whom is unknown.
  const trusted = locks !== null && resolved !== null && !locks.capped && !seen.capped && resolved.nameless === 0;
  const { views } = connection.server;
  const blind = !views.locks || !views.lockId3;
  return {
    version: 1,
    target: target.name,
    engine: "oceanbase",
    serverVersion: facts.version,
    serverId: facts.serverId,
    at: seen.at,
    atMs: seen.atMs,
    recovery: facts.recovery,
    sessions: [...seen.activities.values()].map((activity) => sessionOf(activity, ages, blind)),
    prepared: [],
    holds: trusted ? resolved.holds : null,
    waits: trusted ? resolved.waits : null,
    contended: waiting || seen.capped || (locks !== null && !trusted),
    gaps: gapsOf(read, views),
  };
}

/** Where not all locks can be read, whoever runs something may be waiting: nothing is known of it then. */
function sessionOf({ session, transactionId }: Activity, { byTransaction }: Ages, blind: boolean): Session {
  if (blind && !isAsleep(session)) return { ...session, state: null, transaction: { kind: "unknown" } };
  const { transaction } = session;
  if (transaction.kind !== "open") return session;
  return { ...session, transaction: { ...transaction, ageMs: byTransaction.get(transactionId ?? "") ?? null } };
}

function gapsOf({ look, seen, ages, locks, resolved, nameGap }: Read, views: Views): readonly string[] {
  const gaps: string[] = [];
  const spared = "and whoever runs a statement is spared";
  if (!views.locks) gaps.push(`locks cannot be read (GV$OB_LOCKS), so who blocks whom is unknown, ${spared}`);
  else if (!views.lockId3)
    gaps.push(`who waits for a row cannot be read on this version (GV$OB_LOCKS has no ID3), ${spared}`);
  if (seen.capped)
    gaps.push(
      `there are more than ${mostSessions} sessions; the rest was not read, so nobody is acted on in this look`,
    );
  if (locks?.capped === true)
    gaps.push(`there are more than ${mostLocks} locks; who blocks whom is unknown, so nobody is acted on in this look`);
  if (seen.ambiguous > 0)
    gaps.push(
      `${countOf(seen.ambiguous, "session id is", "session ids are")} listed on several servers at once, and never acted on`,
    );
  if (resolved !== null && resolved.nameless > 0)
    gaps.push(
      `the server does not say who waits in ${countOf(resolved.nameless, "case", "cases")}, so nobody is acted on in this look`,
    );
  if (resolved !== null && resolved.hidden > 0)
    gaps.push(
      `${countOf(resolved.hidden, "transaction", "transactions")} among those that wait or are waited for belong to sessions that our user is not shown; without SHOW PROCESS (PROCESS in MySQL mode) the server leaves them out and does not say so`,
    );
  return [...gaps, ages.gap, look.locks ? nameGap : null].filter((gap) => gap !== null);
}

function countOf(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
