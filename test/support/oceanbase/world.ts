import type { Socket } from "node:net";
import type pg from "pg";
import type { Accounts } from "./accounts.ts";

export type Mode = "oracle" | "mysql";
/** How OBProxy names sessions: v1 by numbers of its own, v2 by client session ids that the servers know too. */
export type ProxyKind = "none" | "v1" | "v2";

/** What arrives, before it runs. */
export type Statement = Readonly<{ sessionId: number; user: string; tenant: string; sql: string }>;

/** What a test may change while the double runs. */
export type Switches = {
  /** g_enable_ob_error_msg_style. */
  prefix: "ORA" | "OBE";
  /** enable_rich_error_msg: time and trace behind every message. */
  richErrors: boolean;
  /** ID2 of GV$OB_LOCKS: the holder's session id, 4294967295, 0, or a session that held it once. */
  holderIds: "exact" | "invalid" | "zero" | number;
  /** SESSION_ID of a waiter in GV$OB_LOCKS: its own, or a placeholder as newer servers may show. */
  waiterIds: "exact" | "placeholder";
  /** A kill answers OK and ends the session, or answers OK and leaves it listed, locks and all, until `reap()`. */
  killed: "end" | "linger";
  /** Whether DBMS_LOCK is there (Oracle mode), and GET_LOCK (MySQL mode). */
  dbmsLock: boolean;
  userLocks: boolean;
  /** DBA_OB_TENANTS: a standby's data comes from a primary elsewhere. */
  tenantRole: "PRIMARY" | "STANDBY";
  /** The ids of the next sessions to come, reused or not, before the double counts on by itself. */
  nextIds: number[];
  /** Called with every statement before it runs; it may change the world in between. */
  before: ((statement: Statement) => void | Promise<void>) | null;
};

/** One transaction; `id` is what the views show as TRANS_ID and TX_ID. */
export type Transaction = Readonly<{ id: bigint; explicit: boolean; startedAt: number }>;

/** One session: what OBServer knows of it, the client's socket in front and PostgreSQL's session behind. */
export type Session = {
  /** What GV$OB_PROCESSLIST shows and KILL takes. */
  readonly id: number;
  readonly mode: Mode;
  readonly tenant: string;
  readonly user: string;
  /** The client's ip:port; the proxy's behind a proxy. */
  readonly host: string;
  /** How the proxy in between names it; null without one. */
  readonly proxyId: number | null;
  readonly socket: Socket;
  readonly backend: pg.Client;
  readonly backendPid: number;
  database: string | null;
  autocommit: boolean;
  transaction: Transaction | null;
  command: "Sleep" | "Query";
  state: "SLEEP" | "ACTIVE" | "QUERY_KILLED" | "SESSION_KILLED";
  info: string | null;
  /** DBMS_APPLICATION_INFO.SET_MODULE. */
  module: string;
  /** performance.now() of the last change of state. */
  since: number;
  /** How often the state has changed by a statement's beginning or end. */
  statements: number;
  /** schema.table of the running statement, as PostgreSQL names it. */
  table: string | null;
  /** Why the running statement was cancelled behind the double. */
  interruption: "killed" | "timeout" | null;
  cancelling: Promise<unknown> | null;
  ended: boolean;
  readonly variables: Map<string, string>;
};

export type Ask = <Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]) => Promise<readonly Row[]>;

export type World = Readonly<{
  mode: Mode;
  /** Such as 4.2.5.3. */
  version: string;
  edition: "EE" | "CE";
  tenant: string;
  cluster: string;
  /** ALTER SYSTEM KILL SESSION 'id, serial#' IMMEDIATE: not documented, so refused unless a test wants otherwise. */
  killGrammar: "documented" | "both";
  proxy: ProxyKind;
  switches: Switches;
  accounts: Accounts;
  sessions: Map<number, Session>;
  variables: Map<string, string>;
  statements: Statement[];
  /** The double's own session at PostgreSQL, one statement after the other: looks at locks, cancels and ends. */
  ask: Ask;
  port(): number;
  nextTransaction(): bigint;
}>;

/** Whether the server is at least this version. */
export function isFrom(world: Pick<World, "version">, wanted: string): boolean {
  const have = world.version.split(".").map(Number);
  for (const [at, part] of wanted.split(".").map(Number).entries()) {
    const difference = (have[at] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

export function tenantId({ tenant }: Pick<Session, "tenant">): number {
  return tenant === "sys" ? 1 : 1002;
}

/** PostgreSQL's schema of what the session calls its own: its database, or in Oracle mode its user. */
export function schemaOf({ database }: Pick<Session, "database">): string {
  return (database ?? "").toLowerCase();
}

export function may(session: Session, world: World, privilege: "super" | "alterSystem" | "showProcess"): boolean {
  const account = world.accounts.find(session.tenant, session.user);
  return account?.administrator === true || account?.[privilege] === true;
}
