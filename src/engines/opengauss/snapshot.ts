import type { Prepared, Session } from "../../core/session.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import type { Look } from "../engine.ts";
import type { Connection } from "../postgres/connection.ts";
import { type LockRow, mostLocks } from "../postgres/lock-rows.ts";
import type { Locks } from "../postgres/lock-waits.ts";
import { type Catalog, type Database, databaseCatalog, type Role } from "../postgres/names.ts";
import { type OpenOther, type RelationId, type RelationNames, relationNames } from "../postgres/relation-names.ts";
import { ownApplication, type ReaderFacts } from "../postgres/snapshot.ts";
import { waitAges } from "../postgres/wait-ages.ts";
import { type Activity, type ActivityLook, mostSessions, readActivity } from "./activity.ts";
import { type GaussLocks, readLocks, writer } from "./lock-rows.ts";
import { readPrepared } from "./prepared.ts";
import type { Product } from "./product.ts";
import { readRelations } from "./relations.ts";
import { unseenHolders } from "./unseen.ts";
import { userCatalog } from "./users.ts";
import { hiddenSessions } from "./visibility.ts";
import { waitsOf } from "./waits.ts";

export type ReaderOptions = Readonly<{
  connection: Connection;
  target: Readonly<{ name: string }>;
  product: Product;
  facts: ReaderFacts;
  openOther: OpenOther;
  /** Session ids of Lockwarden's own sessions, the reading one included. */
  own: readonly string[];
  /** Lock rows of one look. */
  mostLocks?: number;
}>;

export type Reader = Readonly<{ read(look: Look, signal: AbortSignal): Promise<Snapshot> }>;

type Names = Readonly<{ users: Catalog<Role>; databases: Catalog<Database>; relations: RelationNames }>;
type Seen = Readonly<{ activity: ActivityLook; locks: GaussLocks | null; prepared: readonly Prepared[] }>;

/** Reads one target: one statement while all is calm, two with locks, and names when they are new. */
export function createReader(options: ReaderOptions): Reader {
  const { connection, facts, openOther } = options;
  const databases = databaseCatalog(connection);
  const relations = relationNames({ connection, database: facts.database, databases, openOther, readRelations });
  const names: Names = { users: userCatalog(connection), databases, relations };
  const withAges = waitAges();
  const unseen = unseenHolders();
  return {
    read: async (look, signal) => {
      const seen = await see(options, look, signal);
      const hidden = await unseen(seen.locks, seen.activity, () => hiddenSessions(connection, options.product, signal));
      const gaps = [...hidden, ...(await prepareNames(names, seen, signal))];
      const snapshot = snapshotOf(options, names, seen, gaps);
      if (snapshot.waits === null) return snapshot;
      return { ...snapshot, waits: withAges(snapshot.waits, snapshot.sessions, snapshot.atMs) };
    },
  };
}

/** Locks first: who ended in between is then missing from the sessions, and not taken for somebody who waits for nobody. */
async function see(options: ReaderOptions, look: Look, signal: AbortSignal): Promise<Seen> {
  const { connection, product, own, mostLocks: most } = options;
  const locks = look.locks ? await readLocks({ connection, product, most }, signal) : null;
  const rows = locks?.rows ?? [];
  const wanted = look.prepared === true || rows.some((row) => row.pid === null);
  const prepared = wanted ? await readPrepared(connection, signal) : [];
  const contended = rows.filter((row) => row.contended).map((row) => row.sessionId ?? null);
  const sessionIds = [...new Set([...own, ...contended.filter((id) => id !== null)])];
  const question = { all: look.sessions === "all", sessionIds, locks: look.locks, written: look.written === true };
  return { activity: await readActivity({ connection, product }, question, signal), locks, prepared };
}

async function prepareNames(names: Names, { activity, locks }: Seen, signal: AbortSignal): Promise<string[]> {
  const [users, databases] = [new Set<string>(), new Set<string>()];
  for (const { userId, databaseId } of activity.rows) {
    if (userId !== null) users.add(userId);
    if (databaseId !== null) databases.add(databaseId);
  }
  // What somebody waits for comes first, as names of other databases are limited in number.
  const wanted = (locks?.rows ?? []).filter(isOfTable).toSorted((a, b) => Number(b.contended) - Number(a.contended));
  for (const { databaseId } of wanted) if (databaseId !== "0") databases.add(databaseId);
  const gaps = [await names.users.prepare(users, true, signal), await names.databases.prepare(databases, true, signal)];
  return [...gaps.filter((gap) => gap !== null), ...(await names.relations.prepare(wanted, signal))];
}

function isOfTable(row: LockRow): row is LockRow & RelationId {
  return row.relationId !== null && row.databaseId !== null;
}

function snapshotOf(options: ReaderOptions, names: Names, seen: Seen, moreGaps: readonly string[]): Snapshot {
  const { facts, product, target } = options;
  const { activity, prepared } = seen;
  const locks = locksOf(product, names, seen);
  const waiting = activity.rows.some((row) => row.waitsForLock);
  return {
    version: 1,
    target: target.name,
    engine: product.name.toLowerCase(),
    serverVersion: facts.version,
    serverId: facts.serverId,
    at: activity.at,
    atMs: activity.atMs,
    recovery: facts.recovery,
    sessions: sessionsOf(options, names, seen),
    prepared,
    holds: seen.locks?.holdsCapped === true ? null : (locks?.holds ?? null),
    waits: locks?.waits ?? null,
    contended: waiting || isCapped(seen) || (locks?.waits.length ?? 0) > 0,
    gaps: [...gapsOf(seen, options.mostLocks), ...moreGaps],
  };
}

function sessionsOf({ own }: ReaderOptions, names: Names, { activity, locks }: Seen): readonly Session[] {
  const { rows } = activity;
  const ownUsers = new Set(rows.filter((row) => own.includes(row.sessionId)).map((row) => row.userId));
  ownUsers.delete(null);
  const isOwn = (row: Activity) =>
    own.includes(row.sessionId) || (row.session.application === ownApplication && ownUsers.has(row.userId));
  return rows.map((row) => {
    const user = names.users.get(row.userId);
    return {
      ...withWriteId(row.session, locks),
      superuser: user?.superuser ?? null,
      user: user?.name ?? null,
      database: names.databases.get(row.databaseId)?.name ?? null,
      own: isOwn(row),
    };
  });
}

/** With locks the transaction's id is that of its lock rows. */
function withWriteId(session: Activity["session"], locks: GaussLocks | null): Activity["session"] {
  const { transaction, pid, sessionId } = session;
  const writeId = locks?.written.get(writer(pid, sessionId)) ?? null;
  return transaction.kind === "open" && writeId !== null
    ? { ...session, transaction: { ...transaction, writeId } }
    : session;
}

/** Of those who were not read, nobody knows whether they wait, lead or hold: no graph can be trusted then. */
function isCapped({ activity, locks }: Seen): boolean {
  return activity.capped || locks?.waitsCapped === true;
}

/** null: not read, or so many that no graph could be trusted. */
function locksOf(product: Product, names: Names, seen: Seen): Locks | null {
  const { locks, activity, prepared } = seen;
  if (locks === null || isCapped(seen)) return null;
  const named = (row: LockRow) => (isOfTable(row) ? names.relations.get(row) : null);
  return waitsOf({
    locks,
    activity,
    namesBlocker: product.lockTags,
    prepared: new Set(prepared.map(({ key }) => key)),
    relationOf: (row) => named(row)?.relation ?? null,
    isRowless: (row) => named(row)?.rowless ?? false,
  });
}

function gapsOf({ activity, locks }: Seen, most = mostLocks): readonly string[] {
  const gaps: string[] = [];
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
