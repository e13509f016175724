import { isAtLeast } from "./lock-mode.ts";
import type { Ms, NodeKey, Prepared, Relation, Session, SessionState, Text } from "./session.ts";
import type { Hold, LockWait, Snapshot } from "./snapshot.ts";

// A server as somebody describes it by hand: what is not said has a default, null is what the server does not show.

type Said<Facts> = { readonly [Key in keyof Facts]?: Facts[Key] | undefined };

export type SaidHold = Readonly<{ table: string }> &
  Said<{ mode: string; locktype: string; partition_of: readonly string[] }>;

/** `on`: pids, or gids of prepared transactions. Several tables: the server does not say which of them it is. */
export type SaidWait = Readonly<{ on: readonly string[] }> &
  Said<{
    table: readonly string[];
    partition_of: readonly string[];
    locktype: string;
    mode: string;
    for: Ms;
    lock: string;
  }>;

export type SaidSession = Readonly<{ pid: string }> &
  Said<{
    state: SessionState | null;
    idle_for: Ms;
    transaction_for: Ms;
    query_for: Ms;
    connected_for: Ms;
    user: Text;
    database: Text;
    application: Text;
    client: Text;
    query: Text;
    wait_event: Text;
    backend_type: Text;
    has_written: boolean;
    xmin_age: number | null;
    superuser: boolean | null;
    maintenance: boolean | null;
    role: Session["role"];
    leader: string;
    own: boolean;
    hidden: boolean;
    holds: readonly SaidHold[];
    waits: SaidWait | null;
  }>;

export type SaidPrepared = Readonly<{ gid: string }> &
  Said<{
    user: string;
    database: string;
    for: Ms;
    superuser: boolean | null;
    xmin_age: number | null;
    holds: readonly SaidHold[];
  }>;

/** Since when things are as they are, in ms since 1970; null: the server does not show it. */
export type Since = Readonly<{
  state: SessionState | null;
  stateMs: Ms;
  queryMs: Ms;
  connectedMs: Ms;
  /** null: none; `unknown`: it cannot be seen. */
  transactionMs: number | "unknown" | null;
}>;

export function moment(ms: Ms): Text {
  return ms === null ? null : new Date(ms).toISOString();
}

export function preparedKey(gid: string): NodeKey {
  return `prepared ${gid}`;
}

const unlessSaid = <T>(said: T | undefined, fallback: T): T => (said === undefined ? fallback : said);

/** `wrote`: somebody waits for its transaction, which therefore has an id. */
export function describedSession(said: SaidSession, since: Since, atMs: number, wrote: boolean): Session {
  const { pid, hidden = false } = said;
  const seen = <T>(value: T): T | null => (hidden ? null : value);
  const age = (ms: Ms): Ms => (ms === null || hidden ? null : atMs - ms);
  return {
    kind: "session",
    key: pid,
    identity: `connected ${moment(since.connectedMs) ?? "at an unknown time"}`,
    pid,
    sessionId: `${Math.floor((since.connectedMs ?? 0) / 1_000).toString(16)}.${Number(pid).toString(16)}`,
    role: said.role ?? (hidden ? "unknown" : "client"),
    backendType: seen(unlessSaid(said.backend_type, backendTypes[said.role ?? "client"])),
    group: said.leader ?? null,
    own: said.own === true,
    superuser: unlessSaid(said.superuser, false),
    maintenance: unlessSaid(said.maintenance, false),
    user: unlessSaid(said.user, "app"),
    database: unlessSaid(said.database, "app"),
    application: unlessSaid(said.application, "app"),
    client: seen(unlessSaid(said.client, "10.0.0.1")),
    query: seen(unlessSaid(said.query, "select 1")),
    waitEvent: unlessSaid(said.wait_event, null),
    state: seen(since.state),
    stateMs: age(since.stateMs),
    stateAt: seen(moment(since.stateMs)),
    queryMs: age(since.queryMs),
    queryAt: seen(moment(since.queryMs)),
    connectedMs: age(since.connectedMs),
    xminAge: unlessSaid(said.xmin_age, null),
    transaction: hidden ? { kind: "unknown" } : transactionOf(said, since, atMs, wrote),
  };
}

const backendTypes: Readonly<Record<Session["role"], string>> = {
  client: "client backend",
  replication: "walsender",
  internal: "autovacuum worker",
  prepared: "prepared transaction",
  unknown: "client backend",
};

function transactionOf(
  said: SaidSession,
  { transactionMs }: Since,
  atMs: number,
  wrote: boolean,
): Session["transaction"] {
  if (transactionMs === null) return { kind: "none" };
  if (transactionMs === "unknown") return { kind: "unknown" };
  const written = said.has_written ?? (wrote || writes(said.holds ?? []));
  const writeId = written ? `of ${said.pid}` : null;
  return { kind: "open", startedAt: moment(transactionMs), ageMs: atMs - transactionMs, writeId };
}

function writes(holds: readonly SaidHold[]): boolean {
  return holds.some(({ mode = defaultHold }) => isAtLeast(mode, "RowExclusiveLock"));
}

export function describedPrepared(
  { gid, user, database, superuser, xmin_age }: SaidPrepared,
  sinceMs: Ms,
  atMs: number,
): Prepared {
  return {
    kind: "prepared",
    key: preparedKey(gid),
    gid,
    transactionId: `of ${gid}`,
    user: user ?? "app",
    database: database ?? "app",
    ageMs: sinceMs === null ? null : atMs - sinceMs,
    preparedAt: moment(sinceMs),
    superuser: unlessSaid(superuser, false),
    xminAge: unlessSaid(xmin_age, null),
  };
}

const defaultHold = "RowExclusiveLock";

export function describedHold(holder: NodeKey, database: Text, said: SaidHold): Hold {
  const { table, mode = defaultHold, locktype = "relation", partition_of: parents } = said;
  return { holder, lock: `${locktype} ${table}`, locktype, mode, relation: relation(table, database, parents) };
}

const defaultModes: Readonly<Record<string, string>> = {
  relation: "AccessShareLock",
  tuple: "ExclusiveLock",
  advisory: "ExclusiveLock",
};

/** One lock of a kind for each transaction that is waited for, one for each table; `lock` tells others apart. */
export function lockOf({ on, table, locktype = "transactionid", lock }: SaidWait): string {
  const perTable = locktype === "relation" || locktype === "tuple";
  return `${locktype} ${lock ?? (perTable ? table?.[0] : undefined) ?? on[0] ?? ""}`;
}

export type Waiting = Readonly<{
  said: SaidWait;
  sinceMs: Ms;
  /** The nodes in its way, and whether each only queues ahead. */
  blockers: LockWait["blockers"];
}>;

export function describedWait(
  pid: string,
  database: Text,
  { said, sinceMs, blockers }: Waiting,
  atMs: number,
): LockWait {
  const { table = [], locktype = "transactionid", partition_of: parents } = said;
  const relations = table.map((one) => relation(one, database, parents));
  const [only = null, ...others] = relations;
  return {
    waiter: pid,
    pid,
    lock: lockOf(said),
    locktype,
    mode: said.mode ?? defaultModes[locktype] ?? "ShareLock",
    relation: others.length === 0 ? only : null,
    candidates: others.length === 0 ? [] : relations,
    waitMs: sinceMs === null ? null : atMs - sinceMs,
    waitAt: moment(sinceMs),
    blockers,
    hiddenBlocker: false,
  };
}

function relation(table: string, database: Text, parents: readonly string[] = []): Relation {
  const dot = table.indexOf(".");
  return { database: database ?? "", schema: table.slice(0, dot), name: table.slice(dot + 1), ancestors: parents };
}

/** A look that saw all of it, locks included. */
export function describedSnapshot(
  target: string,
  atMs: number,
  seen: Readonly<{
    sessions: readonly Session[];
    prepared: readonly Prepared[];
    holds: readonly Hold[];
    waits: readonly LockWait[];
  }>,
): Snapshot {
  return {
    version: 1,
    target,
    engine: "postgres",
    serverVersion: "18.4",
    serverId: "described",
    at: new Date(atMs).toISOString(),
    atMs,
    recovery: false,
    contended: seen.waits.length > 0,
    gaps: [],
    ...seen,
  };
}
