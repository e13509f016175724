import { parseDuration } from "../../src/config/duration.ts";
import type { Prepared, Relation, Session } from "../../src/core/session.ts";
import type { Hold, LockWait, Snapshot } from "../../src/core/snapshot.ts";

type Described = Partial<Omit<Session, "transaction">> &
  Readonly<{ idle?: string; xact?: string; query_age?: string; wrote?: boolean; hidden?: boolean }>;
type Waited = Readonly<{
  on: number | string | readonly number[];
  for?: string;
  table?: string;
  candidates?: readonly string[];
  mode?: string;
  locktype?: string;
  soft?: boolean;
  lock?: string;
}>;

const start = Date.UTC(2026, 0, 1, 12);

function ms(text: string | undefined): number | null {
  return text === undefined ? null : parseDuration(text);
}

/** `public.orders` or `app/public.orders<public.all_orders`. */
function relation(text: string): Relation {
  const [name = "", ...ancestors] = text.split("<");
  const [schema = "public", table = ""] = name.split(".");
  return { database: "app", schema, name: table, ancestors };
}

export type SnapshotBuilder = Readonly<{
  session(pid: number, described?: Described): SnapshotBuilder;
  waits(pid: number, waited: Waited): SnapshotBuilder;
  holds(pid: number | string, mode: string, table: string): SnapshotBuilder;
  /** Its key is `prepared/ID`, for `waits(…, { on: … })`. */
  prepared(id: number, described?: Partial<Prepared> & Readonly<{ age?: string }>): SnapshotBuilder;
  later(age: string): SnapshotBuilder;
  /** As a calm look sees it: without locks. */
  calm(): Snapshot;
  build(): Snapshot;
}>;

/** Snapshots for tests: `snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "45s" }).build()`. */
export function snapshot(): SnapshotBuilder {
  return extend([], [], [], 0, []);
}

function extend(
  sessions: readonly Session[],
  waits: readonly LockWait[],
  holds: readonly Hold[],
  elapsedMs: number,
  prepared: readonly Prepared[],
): SnapshotBuilder {
  const atMs = start + elapsedMs;
  const build = (): Snapshot => ({
    version: 1,
    target: "app",
    engine: "postgres",
    serverVersion: "18.4",
    serverId: "1",
    at: new Date(atMs).toISOString(),
    atMs,
    recovery: false,
    sessions,
    prepared,
    holds,
    waits,
    contended: waits.length > 0,
    gaps: [],
  });
  return {
    session: (pid, described = {}) =>
      extend([...sessions, session(pid, described, atMs)], waits, holds, elapsedMs, prepared),
    waits: (pid, waited) => extend(sessions, [...waits, lockWait(pid, waited, atMs)], holds, elapsedMs, prepared),
    holds: (pid, mode, table) =>
      extend(
        sessions,
        waits,
        [
          ...holds,
          { holder: String(pid), lock: `relation ${table}`, locktype: "relation", mode, relation: relation(table) },
        ],
        elapsedMs,
        prepared,
      ),
    prepared: (id, { age = "1h", ...described } = {}) =>
      extend(sessions, waits, holds, elapsedMs, [...prepared, preparedOf(id, age, described)]),
    later: (age) => extend(sessions, waits, holds, elapsedMs + (ms(age) ?? 0), prepared),
    calm: () => ({ ...build(), holds: null, waits: null }),
    build,
  };
}

function preparedOf(id: number, age: string, described: Partial<Prepared>): Prepared {
  return {
    kind: "prepared",
    key: `prepared/${id}`,
    gid: `gid-${id}`,
    transactionId: String(id),
    preparedAt: `prepared ${id}`,
    user: "app",
    database: "app",
    superuser: false,
    ageMs: ms(age),
    xminAge: 100,
    ...described,
  };
}

function session(pid: number, described: Described, atMs: number): Session {
  const { idle, xact, query_age, wrote, hidden, ...rest } = described;
  const stateMs = ms(idle) ?? 0;
  const ageMs = ms(xact) ?? stateMs;
  const inTransaction = xact !== undefined || idle !== undefined;
  return {
    kind: "session",
    key: String(pid),
    identity: `started ${pid}`,
    pid: String(pid),
    sessionId: `65a.${pid.toString(16)}`,
    role: "client",
    backendType: "client backend",
    group: null,
    own: false,
    superuser: false,
    maintenance: false,
    user: "app",
    database: "app",
    application: "web",
    client: "10.0.0.1",
    query: "update user_session set seen = now()",
    waitEvent: null,
    state: idle === undefined ? "active" : "idle in transaction",
    stateMs,
    stateAt: new Date(atMs - stateMs).toISOString(),
    queryMs: ms(query_age) ?? stateMs,
    queryAt: new Date(atMs - (ms(query_age) ?? stateMs)).toISOString(),
    connectedMs: 3_600_000,
    xminAge: null,
    transaction:
      hidden === true
        ? { kind: "unknown" }
        : inTransaction
          ? { kind: "open", startedAt: `begun ${pid}`, ageMs, writeId: wrote === false ? null : "7" }
          : { kind: "none" },
    ...(hidden === true
      ? { state: null, stateMs: null, queryMs: null, connectedMs: null, role: "unknown", query: null }
      : {}),
    ...rest,
  };
}

function lockWait(pid: number, waited: Waited, atMs: number): LockWait {
  const waitMs = ms(waited.for);
  const on = typeof waited.on === "object" ? waited.on : [waited.on];
  return {
    waiter: String(pid),
    pid: String(pid),
    lock: waited.lock ?? `transactionid ${on[0] ?? 0}`,
    locktype: waited.locktype ?? "transactionid",
    mode: waited.mode ?? "ShareLock",
    relation: waited.table === undefined ? null : relation(waited.table),
    candidates: (waited.candidates ?? []).map(relation),
    waitMs,
    waitAt: waitMs === null ? null : new Date(atMs - waitMs).toISOString(),
    blockers: on.map((node) => ({ node: String(node), soft: waited.soft === true })),
    hiddenBlocker: false,
  };
}
