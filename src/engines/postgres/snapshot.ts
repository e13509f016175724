import type { NodeKey, Prepared, Session } from "../../core/session.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import type { Look } from "../engine.ts";
import { type Activity, type ActivityLook, mostSessions, readActivity } from "./activity.ts";
import type { Connection } from "./connection.ts";
import { type LockLook, type LockRow, mostLocks, readLocks, waitStartSince } from "./lock-rows.ts";
import { type Locks, lockWaits } from "./lock-waits.ts";
import { type Catalog, type Database, databaseCatalog, type Role, roleCatalog } from "./names.ts";
import { type PreparedRow, preparedByVirtual, readPrepared } from "./prepared.ts";
import { type OpenOther, type RelationId, type RelationNames, relationNames } from "./relation-names.ts";
import { waitAges } from "./wait-ages.ts";

/** What is known of the server since the connection was opened. */
export type ReaderFacts = Readonly<{ version: string; serverId: string; recovery: boolean; database: string }>;

export type ReaderOptions = Readonly<{
  connection: Connection;
  target: Readonly<{ name: string }>;
  facts: ReaderFacts;
  openOther: OpenOther;
  /** Lockwarden's sessions on this server, the reading one included. */
  ownPids: readonly string[];
  /** Lock rows of one look. */
  mostLocks?: number;
}>;

export type Reader = Readonly<{ read(look: Look, signal: AbortSignal): Promise<Snapshot> }>;

/** What our sessions call themselves; with our own role it marks a twin. */
export const ownApplication = "lockwarden";

type Names = Readonly<{ roles: Catalog<Role>; databases: Catalog<Database>; relations: RelationNames }>;
type Seen = Readonly<{ activity: ActivityLook; locks: LockLook | null; prepared: readonly PreparedRow[] }>;

/** Reads one target: one statement while all is calm, two with locks, and names when they are new. */
export function createReader(options: ReaderOptions): Reader {
  const { connection, facts } = options;
  const databases = databaseCatalog(connection);
  const relations = relationNames({ connection, database: facts.database, databases, openOther: options.openOther });
  const names: Names = { roles: roleCatalog(connection), databases, relations };
  const withAges = waitAges();
  return {
    read: async (look, signal) => {
      const seen = await see(options, look, signal);
      const gaps = await prepareNames(names, seen, signal);
      const snapshot = snapshotOf(options, names, seen, gaps);
      if (snapshot.waits === null) return snapshot;
      return { ...snapshot, waits: withAges(snapshot.waits, snapshot.sessions, snapshot.atMs) };
    },
  };
}

/** Locks first: who ended in between is then missing from the sessions, and not taken for somebody who waits for nobody. */
async function see({ connection, mostLocks: most }: ReaderOptions, look: Look, signal: AbortSignal): Promise<Seen> {
  const locks = look.locks ? await readLocks(connection, signal, most) : null;
  const rows = locks?.rows ?? [];
  const wanted = look.prepared === true || rows.some((row) => row.pid === null);
  const prepared = wanted ? await readPrepared(connection, signal) : [];
  const pids = new Set(rows.filter((row) => row.contended).map((row) => row.pid));
  const question = {
    all: look.sessions === "all",
    pids: [...pids].filter((pid) => pid !== null),
    maintenance: look.locks,
  };
  return { activity: await readActivity(connection, question, signal), locks, prepared };
}

async function prepareNames(names: Names, seen: Seen, signal: AbortSignal): Promise<string[]> {
  const { activity, locks, prepared } = seen;
  const userIds = [...activity.rows.map((row) => row.userId), ...prepared.map((row) => row.ownerId)];
  const databaseIds = [
    ...activity.rows.map((row) => row.databaseId),
    ...prepared.map((row) => row.databaseId),
    ...(locks?.rows ?? []).map((row) => (row.databaseId === "0" ? null : row.databaseId)),
  ];
  const gaps = [
    await names.roles.prepare(distinct(userIds), locks !== null, signal),
    await names.databases.prepare(distinct(databaseIds), locks !== null, signal),
  ].filter((gap) => gap !== null);
  // What somebody waits for comes first, as names of other databases are limited in number.
  const wanted = (locks?.rows ?? []).toSorted((a, b) => Number(b.contended) - Number(a.contended));
  return [...gaps, ...(await names.relations.prepare(wanted.filter(isOfTable), signal))];
}

function isOfTable(row: LockRow): row is LockRow & RelationId {
  return row.relationId !== null && row.databaseId !== null;
}

function distinct(ids: readonly (string | null)[]): ReadonlySet<string> {
  return new Set(ids.filter((id) => id !== null));
}

function snapshotOf(options: ReaderOptions, names: Names, seen: Seen, nameGaps: readonly string[]): Snapshot {
  const { facts } = options;
  const sessions = sessionsOf(options, names, seen);
  const prepared = preparedOf(names, seen.prepared);
  const locks = locksOf(options.connection, names, seen, new Set([...sessions, ...prepared].map((one) => one.key)));
  const waiting = seen.activity.rows.some((row) => row.waitsForLock);
  return {
    version: 1,
    target: options.target.name,
    engine: "postgres",
    serverVersion: facts.version,
    serverId: facts.serverId,
    at: seen.activity.at,
    atMs: seen.activity.atMs,
    recovery: facts.recovery,
    sessions,
    prepared,
    holds: seen.locks?.holdsCapped === true ? null : (locks?.holds ?? null),
    waits: locks?.waits ?? null,
    contended: waiting || isCapped(seen) || (locks?.waits.length ?? 0) > 0,
    gaps: [...gapsOf(seen, options.mostLocks), ...nameGaps],
  };
}

function sessionsOf({ connection, ownPids }: ReaderOptions, names: Names, seen: Seen): readonly Session[] {
  const { rows } = seen.activity;
  const ownUser = rows.find((row) => row.pid === connection.pid)?.userId ?? null;
  const inGraph = new Set((seen.locks?.rows ?? []).map((row) => row.pid));
  const own = (row: Activity) =>
    ownPids.includes(row.pid) ||
    row.pid === connection.pid ||
    (row.session.application === ownApplication && row.userId !== null && row.userId === ownUser);
  // Nothing is known of a hidden session, so it is listed only where others wait for it, or it for them.
  return rows
    .filter((row) => !row.hidden || inGraph.has(row.pid))
    .map((row) => {
      const role = names.roles.get(row.userId);
      const database = names.databases.get(row.databaseId)?.name ?? null;
      return {
        ...row.session,
        group: row.leaderPid === row.pid ? null : row.leaderPid,
        own: own(row),
        superuser: role?.superuser ?? null,
        user: role?.name ?? null,
        database,
      };
    });
}

function preparedOf(names: Names, rows: readonly PreparedRow[]): readonly Prepared[] {
  return rows.map(({ ownerId, databaseId, prepared }) => ({
    kind: "prepared",
    ...prepared,
    superuser: names.roles.get(ownerId)?.superuser ?? null,
    user: names.roles.get(ownerId)?.name ?? "",
    database: names.databases.get(databaseId)?.name ?? "",
  }));
}

/** Of those who were not read, nobody knows whether they wait, lead or hold: no graph can be trusted then. */
function isCapped({ activity, locks }: Seen): boolean {
  return activity.capped || locks?.waitsCapped === true;
}

/** null: not read, or so many that no graph could be trusted. */
function locksOf(connection: Connection, names: Names, seen: Seen, nodes: ReadonlySet<NodeKey>): Locks | null {
  if (seen.locks === null || isCapped(seen)) return null;
  const { rows, holdsCapped } = seen.locks;
  const leaders = new Map(seen.activity.rows.map((row) => [row.pid, row.leaderPid]));
  const prepared = preparedByVirtual(rows, nodes);
  const named = (row: LockRow) => (isOfTable(row) ? names.relations.get(row) : null);
  return lockWaits(rows, {
    nodeOf: (row) => {
      const key = row.pid === null ? prepared.get(row.virtualTransaction) : (leaders.get(row.pid) ?? row.pid);
      return key !== undefined && nodes.has(key) ? key : null;
    },
    relationOf: (row) => named(row)?.relation ?? null,
    isRowless: (row) => named(row)?.rowless ?? false,
    ordered: connection.versionNumber >= waitStartSince,
    holdsComplete: !holdsCapped,
  });
}

function gapsOf({ activity, locks }: Seen, most = mostLocks): readonly string[] {
  const gaps: string[] = [];
  const hidden = activity.rows.filter((row) => row.hidden).length;
  if (hidden > 0)
    gaps.push(`${hidden} sessions are hidden from our role, and never acted on; grant it pg_read_all_stats`);
  if (activity.textless) gaps.push("a statement is in another encoding, so no statements could be read in this look");
  if (activity.capped)
    gaps.push(
      `more than ${mostSessions} sessions are in a transaction or wait; the rest was not read, so nobody is acted on in this look`,
    );
  if (locks?.waitsCapped === true)
    gaps.push(`more than ${most} locks are waited for; who blocks whom is unknown, so nobody is acted on in this look`);
  else if (locks?.holdsCapped === true)
    gaps.push(`there are more than ${most} locks; who holds what is unknown where nobody waits for it`);
  return gaps;
}
