import type { Quoting } from "./standard-text.ts";

// What a snapshot says of one session. Ids and moments are the server's own text, compared for equality only;
// `…Ms` is an age by the server's clock; null is unknown, and an unknown matches nobody.

export type Text = string | null;
export type Ms = number | null;

/** Opaque, without blanks, unique in one snapshot; a session keeps its own for as long as it lasts. */
export type NodeKey = string;

export type SessionState = "active" | "idle" | "idle in transaction" | "idle in transaction (aborted)" | "other";

export type Transaction =
  | Readonly<{ kind: "none" | "unknown" }>
  | Readonly<{
      kind: "open";
      /** Stays the same while the transaction lasts: (PostgreSQL) xact_start. */
      startedAt: Text;
      ageMs: Ms;
      /** The id it was given when it first wrote, null before. (PostgreSQL) backend_xid. */
      writeId: Text;
      /** The look did not ask: `writeId` is null and says nothing. */
      writeUnknown?: true;
    }>;

export type Relation = Readonly<{ database: string; schema: string; name: string; ancestors: readonly string[] }>;

export type Session = Readonly<{
  kind: "session";
  key: NodeKey;
  /** Opaque; what the engine re-checks besides the pid. (PostgreSQL) backend_start. */
  identity: string;
  /** null: on no thread (a pooled openGauss session). Text: openGauss pids exceed 2^53. */
  pid: Text;
  /** A handle for people and server logs, never the identity. (PostgreSQL) the %c of log_line_prefix. */
  sessionId: string;
  /** What people name it by, where that is one id and not `pid,sessionid`. */
  handle?: string;
  /** `prepared`: no session at all, but what stands in for a prepared transaction while it is judged. */
  role: "client" | "internal" | "replication" | "prepared" | "unknown";
  backendType: Text;
  /** The leader, when this is a parallel worker: it is judged as its leader. */
  group: NodeKey | null;
  /** One of Lockwarden's own sessions, or of a twin: own role and application_name. */
  own: boolean;
  superuser: boolean | null;
  /** Shows in a pg_stat_progress_* view; null when that was not read. */
  maintenance: boolean | null;
  user: Text;
  database: Text;
  application: Text;
  /** An IP address, "local" for a Unix socket. */
  client: Text;
  query: Text;
  /** How its statement writes constants; left out: as standard SQL has it. */
  quoting?: Quoting;
  waitEvent: Text;
  state: SessionState | null;
  stateMs: Ms;
  /** The moment of the last change of state, for the guard. */
  stateAt: Text;
  queryMs: Ms;
  /** The moment the statement began, for the guard. */
  queryAt: Text;
  connectedMs: Ms;
  /** Transactions begun since its own, or since the oldest one that its snapshot still sees. */
  xminAge: number | null;
  transaction: Transaction;
}>;

/** What is said of it to people is never its text alone: how constants are written in it decides what is masked. */
export type Statement = Pick<Session, "query" | "quoting">;

/** A prepared transaction: no session, never signalled. */
export type Prepared = Readonly<{
  kind: "prepared";
  key: NodeKey;
  gid: string;
  transactionId: string;
  user: string;
  database: string;
  /** Since it was prepared. */
  ageMs: Ms;
  // What older recordings do not have.
  /** The moment it was prepared, for the guard. */
  preparedAt?: Text;
  /** Its owner is a superuser. */
  superuser?: boolean | null;
  /** Transactions begun since its own. */
  xminAge?: number | null;
}>;

/** What people name a session by, and `kill` takes; of a session on no thread the pid is written 0. */
export function handleOf({ handle, pid, sessionId }: Pick<Session, "handle" | "pid" | "sessionId">): string {
  return handle ?? `${pid ?? "0"},${sessionId}`;
}

/** Names one transaction of one session for as long as it lasts; null when the session has none or it cannot be seen. */
export function transactionKey(session: Session): string | null {
  const { transaction } = session;
  if (transaction.kind !== "open" || transaction.startedAt === null || session.pid === null) return null;
  return `${session.key} ${session.identity} ${transaction.startedAt}`;
}

/** The two states in which a transaction stays open while its client does nothing. */
export function isIdleInTransaction(session: Pick<Session, "state">): boolean {
  return session.state === "idle in transaction" || session.state === "idle in transaction (aborted)";
}

/** A cancel would do nothing: no statement runs. The server answers true all the same. */
export function isIdle(session: Pick<Session, "state">): boolean {
  return session.state === "idle" || isIdleInTransaction(session);
}
