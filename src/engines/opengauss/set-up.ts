import { TLSSocket } from "node:tls";
import pg from "pg";
import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import type { Row, Value } from "../postgres/connection.ts";
import { connectFailure } from "../postgres/failure.ts";
import type { Login, Server, SetUp } from "../postgres/set-up.ts";
import type { Wire } from "../postgres/wire.ts";
import type { Product } from "./product.ts";

/** A session of Lockwarden's own on openGauss or GaussDB. */
export type GaussSetUp = SetUp &
  Readonly<{
    kind: "gauss";
    product: Product;
    /** pg_current_sessid(): stays the same while the session lasts, when its thread does not. */
    sessionId: string;
    /** The server sees our own port: nothing stands in between. false: not known. */
    direct: boolean;
    /** Makes it a session with Lockwarden's settings, unless it is one; once nothing can stand in between any more. */
    settle(signal: AbortSignal): Promise<void>;
  }>;

type Named = Pick<Product, "name" | "version">;

/** The view that people may read; a user's own function of the name is none of the server's. */
const has = (name: string, arguments_: number) =>
  `(select pg_catalog.count(*) from pg_catalog.pg_proc as p where p.proname = '${name}' and p.pronargs = ${arguments_}
     and p.pronamespace = (select n.oid from pg_catalog.pg_namespace as n where n.nspname = 'pg_catalog'))`;

const productSql = `select /* lockwarden:product */
    (select s.setting from pg_catalog.pg_settings as s where s.name = 'enable_thread_pool') as thread_pool,
    pg_catalog.pg_current_sessid()::text as session_id,
    ${has("pg_terminate_session", 2)} as terminate_session,
    ${has("pg_cancel_session", 2)} as cancel_session,
    ${has("gs_deployment", 0)} as deployment,
    '' is null as empty_is_null,
    '1' || '0' as joined`;

const lockTagsSql = `select /* lockwarden:product */ l.locktag, s.block_sessionid
    from pg_catalog.pg_locks as l, pg_catalog.pg_thread_wait_status as s limit 0`;
const activitySql = `select /* lockwarden:product */ a.datid, a.pid, a.sessionid, a.usesysid, a.application_name, a.state, a.query,
    a.waiting, a.xact_start, a.query_start, a.backend_start, a.state_change, a.client_addr, a.client_port
    from pg_catalog.pg_stat_get_activity(null) as a limit 0`;
const walSendersSql = `select /* lockwarden:product */ pg_catalog.count(w.pid)
    from pg_catalog.pg_stat_get_wal_senders() as w where w.pid = 1::int8`;
const deploymentSql = "select /* lockwarden:product */ pg_catalog.gs_deployment() as deployment";
const killSql = "alter system kill session '1,9223372036854775807'";

// Whoever may not change a setting would fail the whole statement; what a server does not have is left out there.
const settingsSql = `select /* lockwarden:session */
    pg_catalog.count(pg_catalog.set_config(s.name, w.value, false)) as settings
  from (select pg_catalog.unnest($1::text[]) as name, pg_catalog.unnest($2::text[]) as value) as w
  join pg_catalog.pg_settings as s on pg_catalog.lower(s.name) = w.name
 where s.context = 'user'`;

// There is no system identifier to ask for; another server, or this one after a restart, began at another microsecond.
const serverSql = `select /* lockwarden:session */
    pg_catalog.pg_backend_pid()::text as pid,
    pg_catalog.pg_current_sessid()::text as session_id,
    pg_catalog.pg_is_in_recovery() as recovery,
    current_user as role,
    pg_catalog.current_database() as database,
    pg_catalog.current_setting('server_version_num') as version_number,
    pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as started,
    (select pg_catalog.min(a.client_port::text) from pg_catalog.pg_stat_activity as a
      where a.sessionid = pg_catalog.pg_current_sessid()) as client_port`;

/** What each of Lockwarden's sessions sets, where it is there and anybody may set it. */
export function settings({ statement_timeout }: Pick<Target, "statement_timeout">): Readonly<Record<string, string>> {
  return {
    search_path: "pg_catalog",
    datestyle: "ISO",
    timezone: "UTC",
    statement_timeout: String(statement_timeout),
    // Ends sessions that are idle, which Lockwarden's are most of the time; 10 min by default.
    session_timeout: "0",
    // In seconds on some servers, in milliseconds on others.
    idle_in_transaction_session_timeout: "5s",
    default_transaction_read_only: "on",
    // As on PostgreSQL: a host that is dead gives its advisory lock back after 12 s.
    tcp_keepalives_idle: "3",
    tcp_keepalives_interval: "3",
    tcp_keepalives_count: "3",
    tcp_user_timeout: "11000",
  };
}

type SettingUp = Readonly<{
  named: Named;
  login: Login;
  /** Not known yet whether a pooler stands in between: behind one, settings would be left on somebody else's session. */
  unsettled?: boolean;
}>;

/** Learns what this server can do, reads who answers, and sets Lockwarden's settings. */
export async function setUpGauss(
  wire: Wire,
  { named, login, unsettled = false }: SettingUp,
  signal: AbortSignal,
): Promise<GaussSetUp> {
  const { product, first } = await readProduct(wire, { ...named, killWith: login.target.kill_with }, signal);
  const [row = {}] = await wire.query(serverSql, [], signal);
  const { stream } = login.client.connection;
  const { pid, session_id: sessionId } = row;
  if (pid == null || sessionId == null || sessionId === "0")
    throw new LinkLost("refused", `expected a session id of ${named.name}, got ${sessionId ?? "none"}`, {
      hint: "Lockwarden tells sessions apart by pg_current_sessid(); without it no session is safe from it",
    });
  if (first !== sessionId) throw pooled(`one connection is two sessions (${first ?? "none"} and ${sessionId})`);
  const direct = "localPort" in stream && row["client_port"] === String(stream.localPort);
  const settle = settler(wire, login);
  if (direct || !unsettled) await settle(signal);
  return {
    kind: "gauss",
    product,
    pid,
    sessionId,
    direct,
    settle,
    versionNumber: Number(row["version_number"]),
    facts: readServer(row, product, stream instanceof TLSSocket),
  };
}

function settler(wire: Wire, { target, place }: Login): GaussSetUp["settle"] {
  const wanted = settings(target);
  let isSettled = false;
  return async (signal) => {
    if (isSettled) return;
    await wire.query(settingsSql, [Object.keys(wanted), Object.values(wanted)], signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error instanceof LinkLost ? error : connectFailure(error, place, "login");
    });
    isSettled = true;
  };
}

export function pooled(what: string): LinkLost {
  return new LinkLost(
    "refused",
    `a connection pooler stands in between: ${what} on the server. ` +
      "The lock that makes Lockwarden the only one to act belongs to one server session, and a pooler hands sessions around",
    { hint: "connect to the server directly: its own host and port, not the pooler's" },
  );
}

type Configured = Named & Readonly<{ killWith: Target["kill_with"] | undefined }>;

type Learnt = Readonly<{ product: Product; first: string | null }>;

async function readProduct(wire: Wire, { killWith, ...named }: Configured, signal: AbortSignal): Promise<Learnt> {
  const [row = {}] = await wire.query(productSql, [], signal);
  if (Number(row["deployment"]) > 0) refuseDistributed(named, await wire.query(deploymentSql, [], signal));
  if (row["joined"] !== "10") throw notJoining(named);
  const count = (name: string) => Number(row[name]) > 0;
  const terminateSession = count("terminate_session");
  // Unknown is taken for on: then nobody is signalled by the thread alone.
  const threadPool = row["thread_pool"] !== "off";
  const lockTags = await works(wire, lockTagsSql, signal);
  const product: Product = {
    ...named,
    threadPool,
    terminateSession,
    cancelSession: count("cancel_session"),
    // Before 1.1, which has no lock tags either, the function leaves a little memory behind in the session each time it is called.
    activity:
      lockTags && (await works(wire, activitySql, signal))
        ? "pg_catalog.pg_stat_get_activity(null)"
        : "pg_catalog.pg_stat_activity",
    lockTags,
    walSenders: await works(wire, walSendersSql, signal),
    emptyIsNull: row["empty_is_null"] === "t",
    // Asked only where it is the last way that is left, or the one that is wanted.
    killSession: terminateSession && killWith !== "kill-session" ? null : await readKillSession(wire, signal),
  };
  return { product, first: row["session_id"] ?? null };
}

/**
 * What ALTER SYSTEM KILL SESSION calls on this server: its column says. No thread is called 1 and no session has the highest
 * of all numbers, so nobody is hit, whichever of the two it looks at. Where it looks at the thread, an ordinary user is
 * refused, as nobody is there whom he might signal; by session he would only be told that there is none.
 */
export async function readKillSession(wire: Pick<Wire, "query">, signal: AbortSignal): Promise<Product["killSession"]> {
  const rows = await wire.query(killSql, [], signal).catch((error: unknown) => {
    if (error instanceof pg.DatabaseError && error.code === "42501") return [{ pg_terminate_backend: null }];
    return ofServer(error);
  });
  const [column] = Object.keys(rows?.[0] ?? {});
  return column === "pg_terminate_session" || column === "pg_terminate_backend" ? column : null;
}

async function works(wire: Wire, sql: string, signal: AbortSignal, values: readonly Value[] = []): Promise<boolean> {
  return (await wire.query(sql, values, signal).catch(ofServer)) !== null;
}

/** null: the server refused the statement; a connection that is lost is not taken for that. */
function ofServer(error: unknown): null {
  if (error instanceof pg.DatabaseError) return null;
  throw error;
}

/** The names of locks are joined from their parts: where that yields a truth value, all locks would be one, and everybody a blocker. */
function notJoining({ name, version }: Named): LinkLost {
  return new LinkLost("refused", `expected || to join texts, got a session of ${name} ${version} where it means or`, {
    hint: "add pipes_as_concat to sql_mode for Lockwarden's role, or name a database of another compatibility in the url and as leader_database",
  });
}

function refuseDistributed({ name, version }: Named, [row]: readonly Row[]): void {
  const deployment = row?.["deployment"] ?? "";
  if (!/distribute/i.test(deployment)) return;
  throw new LinkLost("refused", `expected one server, got a distributed ${name} ${version} (${deployment})`, {
    hint: "a coordinator shows and ends only its own sessions, so who blocks whom cannot be known there",
  });
}

function readServer(row: Row, { name, version, threadPool }: Product, encrypted: boolean): Server {
  return {
    engine: name.toLowerCase(),
    // With the pool a pid is that of a thread which serves many sessions: whoever reads a handle is to know.
    version: `${version} (thread pool ${threadPool ? "on" : "off"})`,
    role: row["role"] ?? "",
    database: row["database"] ?? "",
    recovery: row["recovery"] === "t",
    encrypted,
    serverId: `${name}/${row["started"] ?? "-"}`,
  };
}
