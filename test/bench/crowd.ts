import type { Relation, Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import type { LockRow } from "../../src/engines/postgres/lock-rows.ts";
import { type LockContext, lockWaits } from "../../src/engines/postgres/lock-waits.ts";
import { randomNumbers } from "./statistics.ts";

// A crowded server without a server: sessions, and the lock rows that it would show. Of ten sessions two wait (half of
// them in one queue for one row, the others in chains of five), two are idle in a transaction, four run a statement, two
// are idle. Each holds about thirteen locks more on ordinary tables, on two hundred of them all in all.

const tables = 200;
const locksEach = 13;
const chain = 5;
const atMs = Date.UTC(2026, 0, 1, 12);

type Part = "waiter" | "idle in transaction" | "active" | "idle";
const parts: readonly Part[] = [
  "waiter",
  "idle in transaction",
  "active",
  "idle",
  "active",
  "waiter",
  "idle in transaction",
  "active",
  "idle",
  "active",
];
const partOf = (index: number): Part => parts[index % parts.length] ?? "idle";

export type Crowd = Readonly<{ sessions: readonly Session[]; rows: readonly LockRow[] }>;

export function crowd(size: number): Crowd {
  const random = randomNumbers(size);
  const sessions = Array.from({ length: size }, (_, index) => session(index, random));
  const held = sessions.flatMap(({ pid }, index) =>
    partOf(index) === "idle"
      ? []
      : Array.from({ length: locksEach }, () => tableLock(pid, Math.floor(random() * tables))),
  );
  return { sessions, rows: [...queueRows(sessions), ...chainRows(sessions), ...held] };
}

/** The locks of the rows as an engine makes them of what the server shows. */
export function locksOf({ rows }: Crowd) {
  const relations = Array.from({ length: tables }, (_, at) => relation(at));
  const context: LockContext = {
    nodeOf: (row) => row.pid,
    relationOf: (row) => relations[Number(row.relationId) - 20_000] ?? null,
    isRowless: () => false,
    ordered: true,
    holdsComplete: true,
  };
  return lockWaits(rows, context);
}

export function snapshotOf({ sessions }: Crowd, locks: ReturnType<typeof locksOf>): Snapshot {
  return {
    version: 1,
    target: "app",
    engine: "postgres",
    serverVersion: "18.4",
    serverId: "1",
    at: new Date(atMs).toISOString(),
    atMs,
    recovery: false,
    sessions,
    prepared: [],
    holds: locks.holds,
    waits: locks.waits,
    contended: true,
    gaps: [],
  };
}

function session(index: number, random: () => number): Session {
  const part = partOf(index);
  const pid = String(1_000 + index);
  const one = (of: number) => Math.floor(random() * of);
  const age = one(60_000);
  const ago = (ms: number) => new Date(atMs - ms).toISOString();
  return {
    kind: "session",
    key: pid,
    identity: ago(3_600_000 + index),
    pid,
    sessionId: `65a.${index.toString(16)}`,
    role: "client",
    backendType: "client backend",
    group: null,
    own: false,
    superuser: false,
    maintenance: false,
    user: `service_${one(20)}`,
    database: `app_${one(4)}`,
    application: `worker-${one(50)}`,
    client: `10.0.${one(250)}.${one(250)}`,
    query: `update table_${one(tables)} set seen = now(), visits = visits + 1 where id = ${index} returning id, seen`,
    waitEvent: part === "waiter" ? "transactionid" : null,
    state: part === "waiter" ? "active" : part,
    stateMs: age,
    stateAt: ago(age),
    queryMs: age,
    queryAt: ago(age),
    connectedMs: 3_600_000 + index,
    xminAge: part === "active" ? one(1_000) : null,
    transaction:
      part === "idle"
        ? { kind: "none" }
        : { kind: "open", startedAt: ago(age + 500), ageMs: age + 500, writeId: String(700 + index) },
  };
}

/** Half of the waiters behind one idle transaction, for one row: the first waits for it, the others for the first one's place. */
function queueRows(sessions: readonly Session[]): readonly LockRow[] {
  const holder = sessions.findIndex((_, index) => partOf(index) === "idle in transaction");
  const waiters = waitersOf(sessions).filter((_, at) => at % 2 === 0);
  const place = { lock: "tuple 5/20000/0/1", locktype: "tuple", relationId: "20000", mode: "ExclusiveLock" };
  return [
    lockRow(sessions[holder]?.pid ?? null, { ...transactionLock(holder), granted: true }),
    ...waiters.flatMap(({ pid }, at) =>
      at === 0
        ? [
            lockRow(pid, { ...place, granted: true }),
            lockRow(pid, { ...transactionLock(holder), mode: "ShareLock", ...waiting(at) }),
          ]
        : [lockRow(pid, { ...place, ...waiting(at) })],
    ),
  ];
}

/** The other half in chains: five, each waiting for the transaction of the one before, the first for an idle one. */
function chainRows(sessions: readonly Session[]): readonly LockRow[] {
  const indexes = new Map(sessions.map(({ key }, index) => [key, index]));
  const waiters = waitersOf(sessions).filter((_, at) => at % 2 === 1);
  const roots = sessions.flatMap((_, index) => (partOf(index) === "idle in transaction" ? [index] : [])).slice(1);
  const holders = new Set<number>();
  const rows = waiters.map(({ pid }, at) => {
    const before = at % chain === 0 ? roots[Math.floor(at / chain)] : indexes.get(waiters[at - 1]?.key ?? "");
    if (before === undefined) throw new Error("expected an idle transaction for each chain");
    holders.add(before);
    return lockRow(pid, { ...transactionLock(before), mode: "ShareLock", ...waiting(at) });
  });
  const granted = [...holders].map((index) =>
    lockRow(sessions[index]?.pid ?? null, { ...transactionLock(index), granted: true }),
  );
  return [...rows, ...granted];
}

function waitersOf(sessions: readonly Session[]): readonly Session[] {
  return sessions.filter((_, index) => partOf(index) === "waiter");
}

function transactionLock(index: number) {
  const id = String(700 + index);
  return { lock: `transactionid ${id}`, locktype: "transactionid", transactionId: id, mode: "ExclusiveLock" };
}

function waiting(order: number) {
  const waitMs = 30_000 - order;
  return { granted: false, waitMs, waitAt: new Date(atMs - waitMs).toISOString() };
}

function tableLock(pid: string | null, table: number): LockRow {
  const relationId = String(20_000 + table);
  return lockRow(pid, {
    lock: `relation 5/${relationId}`,
    locktype: "relation",
    relationId,
    mode: table % 3 === 0 ? "AccessShareLock" : "RowExclusiveLock",
    granted: true,
    contended: false,
  });
}

type Told = Pick<LockRow, "lock" | "locktype" | "mode" | "granted"> & Partial<LockRow>;

function lockRow(pid: string | null, told: Told): LockRow {
  return {
    pid,
    databaseId: "5",
    relationId: null,
    transactionId: null,
    virtualTransaction: `3/${pid}`,
    contended: true,
    waitAt: null,
    waitMs: null,
    ...told,
  };
}

function relation(at: number): Relation {
  return { database: "app_0", schema: "public", name: `table_${at}`, ancestors: [] };
}
