import type { Session, Transaction } from "../../core/session.ts";
import { stateOf } from "../postgres/activity.ts";
import type { Connection, Row } from "../postgres/connection.ts";
import { isOfEncoding } from "../postgres/failure.ts";
import { momentOf } from "../postgres/moment.ts";
import {
  initialUserId,
  internalApplications,
  isMaintenance,
  maintenanceStatuses,
  syncStatus,
  walSender,
  walSenderThreads,
} from "./never-victims.ts";
import type { Product } from "./product.ts";

/** One session as the server lists it. */
export type Activity = Readonly<{
  sessionId: string;
  /** When it connected; null: not shown. */
  start: string | null;
  userId: string | null;
  databaseId: string | null;
  waitsForLock: boolean;
  /** The session ahead of it, or that holds what it waits for: one of them. null: not read, or none. */
  blockSessionId: string | null;
  session: Omit<Session, "superuser" | "user" | "database" | "own">;
}>;

export type ActivityLook = Readonly<{
  at: string;
  atMs: number;
  rows: readonly Activity[];
  /** There were more sessions than one look reads. */
  capped: boolean;
  /** Some statement is in another encoding, so none could be read. */
  textless: boolean;
}>;

export const mostSessions = 20_000;
const longestQuery = 8_192;

type Parts = Readonly<{ activity: string; query: string; columns: string; join: string }>;

// The clock is the left side, so that it comes without any session too. An aborted transaction shows no xact_start any more.
// A row without an id is of somebody whom our role may not see.
const activitySql = ({ activity, query, columns, join }: Parts) => `/* lockwarden:activity */
select clock.now::text as now, a.pid::text as pid, a.sessionid::text as sessionid, a.datid::text as datid,
       a.usesysid::text as usesysid, a.application_name, a.client_port,
       case when a.client_port = -1 then 'local' else pg_catalog.host(a.client_addr) end as client,
       a.state, ${query} as query, a.waiting, a.backend_start::text as backend_start, a.xact_start::text as xact_start,
       a.query_start::text as query_start, a.state_change::text as state_change, ${columns}
  from (select pg_catalog.clock_timestamp() as now) as clock
  left join ${activity} as a
    on a.sessionid is not null
   and (a.xact_start is not null or a.waiting or a.backend_start is null or a.state = 'idle in transaction (aborted)'
     or $1::bool and a.client_port is not null
     or a.sessionid = any ($2::int8[]))
  ${join}
 limit ${mostSessions + 1}`;

/** With locks: what each thread waits for. */
const waiting = ({ lockTags, walSenders }: Product): Pick<Parts, "columns" | "join"> => ({
  columns: `s.wait_status, s.wait_event, ${lockTags ? "s.block_sessionid::text" : "null::text"} as block_sessionid, null::text as write_id,
       ${walSenders === true ? `a.pid in (${walSenderThreads})` : "null::bool"} as walsender`,
  join: "left join pg_catalog.pg_thread_wait_status as s on s.tid = a.pid and s.sessionid = a.sessionid",
});

/** Without, and without the transaction ids of those who have written. */
const calm: Pick<Parts, "columns" | "join"> = {
  columns:
    "null::text as wait_status, null::text as wait_event, null::text as block_sessionid, null::text as write_id, null::bool as walsender",
  join: "",
};

/** With these: no lock rows say them here. */
const calmWithIds: Pick<Parts, "columns" | "join"> = {
  columns:
    "null::text as wait_status, null::text as wait_event, null::text as block_sessionid, w.write_id, null::bool as walsender",
  join: `left join (
    select l.pid, l.sessionid, min(l.transactionid::text) as write_id from pg_catalog.pg_locks as l
     where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock' and l.pid is not null
     group by l.pid, l.sessionid) as w on w.pid = a.pid and w.sessionid = a.sessionid`,
};

/** What the look asks for: every client, or those in a transaction or waiting; these sessions too, whatever they do. */
export type ActivityQuestion = Readonly<{
  all: boolean;
  sessionIds: readonly string[];
  locks: boolean;
  /** Without locks: who has written. */
  written: boolean;
}>;

type Asking = Readonly<{ connection: Connection; product: Product }>;

/** One statement. */
export async function readActivity(
  { connection, product }: Asking,
  question: ActivityQuestion,
  signal: AbortSignal,
): Promise<ActivityLook> {
  const { locks, written } = question;
  const parts = locks ? waiting(product) : written ? calmWithIds : calm;
  const { activity } = product;
  const values = [String(question.all), question.sessionIds];
  const ask = (query: string) => connection.queryPrepared(activitySql({ activity, query, ...parts }), values, signal);
  // One stranger's text must not blind Lockwarden to everybody.
  const whole = await ask("a.query").catch((error: unknown) => {
    if (isOfEncoding(error)) return null;
    throw error;
  });
  const rows = whole ?? (await ask("null::text"));
  return activityLook(rows, { product, locks, written, textless: whole === null });
}

/** What the rows say; pure. */
export function activityLook(
  rows: readonly Row[],
  {
    product,
    locks,
    written = true,
    textless,
  }: Readonly<{ product: Product; locks: boolean; written?: boolean; textless: boolean }>,
): ActivityLook {
  const now = rows[0]?.["now"];
  if (now === undefined || now === null) throw new Error("the server answered without its clock");
  const at = momentOf(now);
  const atMs = Date.parse(at);
  const seen = new Set<string>();
  const found: Activity[] = [];
  for (const row of rows.slice(0, mostSessions)) {
    const { sessionid, pid } = row;
    // A statement that runs in parallel may show more threads of one session: the first speaks for it.
    if (sessionid == null || pid == null || seen.has(sessionid)) continue;
    seen.add(sessionid);
    found.push(activityOf(row, { sessionId: sessionid, pid, atMs, locks, written, product }));
  }
  return { at, atMs, rows: found, capped: rows.length > mostSessions, textless };
}

type Seen = Readonly<{
  sessionId: string;
  pid: string;
  atMs: number;
  locks: boolean;
  written: boolean;
  product: Product;
}>;

function activityOf(row: Row, { sessionId, pid, atMs, locks, written, product }: Seen): Activity {
  const text = (name: string) => row[name] ?? null;
  const moment = (name: string) => {
    const shown = row[name] ?? null;
    return shown === null ? null : momentOf(shown);
  };
  const age = (at: string | null) => (at === null ? null : Math.max(0, atMs - Date.parse(at)));
  const [start, stateAt, queryAt] = [moment("backend_start"), moment("state_change"), moment("query_start")];
  const hidden = start === null;
  const state = stateOf(text("state"));
  const query = hidden ? null : (text("query")?.slice(0, longestQuery) ?? null);
  return {
    sessionId,
    start,
    userId: idOf(text("usesysid")),
    databaseId: idOf(text("datid")),
    waitsForLock: text("waiting") === "t",
    blockSessionId: text("block_sessionid") === "0" ? null : text("block_sessionid"),
    session: {
      kind: "session",
      key: sessionId,
      identity: start === null ? "" : identityOf(start, sessionId),
      // A session of the pool that is on no thread shows 0.
      pid: pid === "0" ? null : pid,
      sessionId,
      ...roleOf(row, { hidden, threadPool: product.threadPool }),
      group: null,
      maintenance: locks ? maintains(row) : null,
      // Of a session that is shown, no name is an empty one, which such a database calls NULL.
      application: text("application_name") ?? (product.emptyIsNull && !hidden ? "" : null),
      client: text("client"),
      query,
      waitEvent: waitEventOf(row),
      state,
      stateMs: age(stateAt),
      stateAt,
      queryMs: age(queryAt),
      queryAt,
      connectedMs: age(start),
      xminAge: null,
      transaction: transactionOf(row, moment("xact_start"), { age, unread: !locks && !written }),
    },
  };
}

/** A session id is used again, without a thread pool at once; a session is one id from one moment on. */
export function identityOf(start: string, sessionId: string): string {
  return `${start} ${sessionId}`;
}

/** The moment when the session of this identity connected; null: it is none. */
export function startOf(identity: string): string | null {
  const [start = ""] = identity.split(" ");
  return /^\d{4,}-\d\d-\d\dT[\d:]+\.\d{6}Z$/.test(start) ? start : null;
}

/** 0: a thread of the server. */
function idOf(text: string | null): string | null {
  return text === "0" ? null : text;
}

type Told = Readonly<{ hidden: boolean; threadPool: boolean }>;

function roleOf(row: Row, { hidden, threadPool }: Told): Pick<Session, "role" | "backendType"> {
  const application = row["application_name"] ?? null;
  if (hidden) return { role: "unknown", backendType: null };
  if (row["client_port"] == null) return { role: "internal", backendType: application ?? "a thread of the server" };
  if (application !== null && internalApplications.includes(application))
    return { role: "internal", backendType: application };
  // A pool numbers its sessions; one that is called as its thread is none of it, as the server's own threads are.
  if (threadPool && row["pid"] === row["sessionid"])
    return { role: "internal", backendType: "a session outside of the thread pool" };
  if (row["walsender"] === "t" || application?.startsWith(walSender) === true)
    return { role: "replication", backendType: "walsender" };
  // It owns the cluster, and the server itself runs as this user: its sessions are never a victim.
  if (row["usesysid"] === initialUserId) return { role: "internal", backendType: "a session of the initial user" };
  return idOf(row["usesysid"] ?? null) === null
    ? { role: "unknown", backendType: null }
    : { role: "client", backendType: "client backend" };
}

function maintains(row: Row): boolean {
  const status = row["wait_status"] ?? null;
  if (status !== null && maintenanceStatuses.some((one) => status === one || status.startsWith(`${one}:`))) return true;
  return row["state"] === "active" && isMaintenance(row["query"] ?? "");
}

/** As elsewhere in the field: `SyncRep` is the wait of a commit for its standby. */
function waitEventOf(row: Row): string | null {
  const status = row["wait_status"] ?? null;
  if (status?.startsWith(syncStatus) === true) return "SyncRep";
  return status === "none" ? null : (row["wait_event"] ?? status);
}

type Reading = Readonly<{ age(at: string | null): number | null; unread: boolean }>;

/** A session whose activity is not tracked may well be in a transaction that does not show. */
function transactionOf(row: Row, startedAt: string | null, { age, unread }: Reading): Transaction {
  if (startedAt !== null) {
    const open = { kind: "open", startedAt, ageMs: age(startedAt), writeId: row["write_id"] ?? null } as const;
    return unread ? { ...open, writeUnknown: true } : open;
  }
  const state = row["state"] ?? null;
  const known = row["backend_start"] != null && state !== null && state !== "disabled" && row["write_id"] == null;
  return { kind: known ? "none" : "unknown" };
}
