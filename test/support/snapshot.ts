import { parseDuration } from "../../src/config/duration.ts";
import { describedHold, describedSession, describedSnapshot, describedWait } from "../../src/core/described.ts";
import type { Prepared, Session } from "../../src/core/session.ts";
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

/** `public.orders`, or `public.orders_2026<public.orders`: a partition and its parents. */
function tableOf(text: string): Readonly<{ table: string; partition_of: readonly string[] }> {
  const [table = "", ...parents] = text.split("<");
  return { table, partition_of: parents };
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
  const build = (): Snapshot => {
    return { ...describedSnapshot("app", atMs, { sessions, prepared, holds, waits }), serverId: "1" };
  };
  return {
    session: (pid, described = {}) =>
      extend([...sessions, session(pid, described, atMs)], waits, holds, elapsedMs, prepared),
    waits: (pid, waited) => extend(sessions, [...waits, lockWait(pid, waited, atMs)], holds, elapsedMs, prepared),
    holds: (pid, mode, table) =>
      extend(
        sessions,
        waits,
        [...holds, describedHold(String(pid), "app", { ...tableOf(table), mode })],
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

/** The same transaction in every snapshot, however old it is said to be. */
function session(pid: number, described: Described, atMs: number): Session {
  const { idle, xact, query_age, wrote = true, hidden = false, ...rest } = described;
  const ago = (age: string | undefined, fallback: number): number => atMs - (ms(age) ?? fallback);
  const stateMs = ago(idle, 0);
  const since = {
    state: idle === undefined ? ("active" as const) : ("idle in transaction" as const),
    stateMs,
    queryMs: query_age === undefined ? stateMs : ago(query_age, 0),
    connectedMs: atMs - 3_600_000,
    transactionMs: xact === undefined && idle === undefined ? null : ago(xact, atMs - stateMs),
  };
  const query = "update user_session set seen = now()";
  const said = { pid: String(pid), application: "web", query, has_written: wrote, hidden };
  const seen = describedSession(said, since, atMs, false);
  const { transaction } = seen;
  return {
    ...seen,
    identity: `started ${pid}`,
    sessionId: `65a.${pid.toString(16)}`,
    transaction: transaction.kind === "open" ? { ...transaction, startedAt: `begun ${pid}` } : transaction,
    ...rest,
  };
}

function lockWait(pid: number, waited: Waited, atMs: number): LockWait {
  const waitMs = ms(waited.for);
  const on = (typeof waited.on === "object" ? waited.on : [waited.on]).map(String);
  const contended = waited.table === undefined ? null : tableOf(waited.table);
  const table = contended === null ? waited.candidates : [contended.table];
  const { mode = "ShareLock", locktype } = waited;
  const wait = describedWait(
    String(pid),
    "app",
    {
      said: { on, table, partition_of: contended?.partition_of, mode, locktype },
      sinceMs: waitMs === null ? null : atMs - waitMs,
      blockers: on.map((node) => ({ node, soft: waited.soft === true })),
    },
    atMs,
  );
  return { ...wait, lock: waited.lock ?? `transactionid ${on[0] ?? 0}` };
}
