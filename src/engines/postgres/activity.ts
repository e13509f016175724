import type { Session, SessionState, Transaction } from "../../core/session.ts";
import type { Connection, Row } from "./connection.ts";
import { isOfEncoding } from "./failure.ts";
import { momentOf } from "./moment.ts";
import { forVersion, progressCommands } from "./versions.ts";

/** One session as the server lists it; users and databases are still object ids. */
export type Activity = Readonly<{
  pid: string;
  /** The server hides it from our role: all but pid, ids and application is unknown. */
  hidden: boolean;
  leaderPid: string | null;
  userId: string | null;
  databaseId: string | null;
  backendType: string | null;
  waitsForLock: boolean;
  session: Omit<Session, "superuser" | "user" | "database" | "own" | "group">;
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

// An aborted transaction shows no xact_start any more. The function, not the view: with a lock on pg_authid the view hangs. No cutting of the query here: text functions
// may refuse the encoding of another database; the server itself refuses to send what is not valid in it. The clock is the left side, so that it comes without any session too.
const activitySql = (leaderPid: string, query = "a.query") => `/* lockwarden:activity */
with clock as materialized (select pg_catalog.clock_timestamp() as now)
select clock.now,
       a.pid, ${leaderPid} as leader_pid, a.datid, a.usesysid, a.backend_type, a.application_name,
       case when a.client_port = -1 then 'local' else pg_catalog.host(a.client_addr) end as client,
       a.state, ${query} as query, a.wait_event_type, a.wait_event,
       a.backend_start, a.xact_start, a.query_start, a.state_change,
       a.backend_xid, greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid)) as xmin_age,
       a.pid = any (array(
         select p.pid from pg_catalog.unnest($3::text[]) as c(command)
          cross join lateral pg_catalog.pg_stat_get_progress_info(c.command) as p)) as maintenance
  from clock
  left join pg_catalog.pg_stat_get_activity(null) as a
    on a.xact_start is not null or a.wait_event_type = 'Lock' or a.backend_xid is not null or a.backend_xmin is not null
    or a.backend_start is null or a.state = 'idle in transaction (aborted)'
    or $1::boolean and a.backend_type in ('client backend', 'walsender')
    or a.pid = pg_catalog.pg_backend_pid() or a.pid in (select pg_catalog.unnest($2::int4[]))
 limit ${mostSessions + 1}`;

const statements = [
  [120_000, activitySql("null::int4")],
  [130_000, activitySql("a.leader_pid")],
] as const;
const textless = [
  [120_000, activitySql("null::int4", "null::text")],
  [130_000, activitySql("a.leader_pid", "null::text")],
] as const;

/** What the look asks for: every client, or those in a transaction or waiting; these pids too, whatever they do. */
export type ActivityQuestion = Readonly<{ all: boolean; pids: readonly string[]; maintenance: boolean }>;

/** One statement; cheap when nobody is in a transaction. */
export async function readActivity(
  connection: Connection,
  question: ActivityQuestion,
  signal: AbortSignal,
): Promise<ActivityLook> {
  const ask = (table: typeof statements) =>
    connection.queryPrepared(forVersion(table, connection.versionNumber), values, signal);
  const commands = question.maintenance ? forVersion(progressCommands, connection.versionNumber) : [];
  const values = [String(question.all), question.pids, commands];
  // One stranger's text must not blind Lockwarden to everybody.
  const whole = await ask(statements).catch((error: unknown) => {
    if (isOfEncoding(error)) return null;
    throw error;
  });
  const rows = whole ?? (await ask(textless));
  const now = rows[0]?.["now"];
  if (now === undefined || now === null) throw new Error("the server answered without its clock");
  const at = momentOf(now);
  const atMs = Date.parse(at);
  const listed = rows.filter((row) => row["pid"] !== null).slice(0, mostSessions);
  return {
    at,
    atMs,
    rows: listed.map((row) => activityOf(row, atMs, question.maintenance)),
    capped: rows.length > mostSessions,
    textless: whole === null,
  };
}

function activityOf(row: Row, atMs: number, maintenance: boolean): Activity {
  const text = (name: string) => row[name] ?? null;
  const moment = (name: string) => {
    const shown = row[name] ?? null;
    return shown === null ? null : momentOf(shown);
  };
  // By the server's clock on both sides; a transaction that began after the clock was read is 0 old, not younger.
  const age = (at: string | null) => (at === null ? null : Math.max(0, atMs - Date.parse(at)));
  const pid = text("pid") ?? "";
  const [start, stateAt, queryAt] = [moment("backend_start"), moment("state_change"), moment("query_start")];
  const hidden = start === null;
  const state = stateOf(text("state"));
  const backendType = text("backend_type");
  return {
    pid,
    hidden,
    leaderPid: text("leader_pid"),
    userId: text("usesysid"),
    databaseId: text("datid"),
    backendType,
    waitsForLock: text("wait_event_type") === "Lock",
    session: {
      kind: "session",
      key: pid,
      identity: start ?? "",
      pid,
      sessionId: start === null ? `?.${Number(pid).toString(16)}` : sessionId(start, pid),
      role: roleOf(backendType),
      backendType,
      maintenance: maintenance ? row["maintenance"] === "t" : null,
      application: text("application_name"),
      client: text("client"),
      query: hidden ? null : (text("query")?.slice(0, longestQuery) ?? null),
      waitEvent: text("wait_event"),
      state,
      stateMs: age(stateAt),
      stateAt,
      queryMs: age(queryAt),
      queryAt,
      connectedMs: age(start),
      xminAge: row["xmin_age"] == null ? null : Number(row["xmin_age"]),
      transaction: transactionOf(row, moment("xact_start"), age),
    },
  };
}

/** As %c of log_line_prefix prints it: the start in whole seconds and the pid, both in hexadecimal. */
function sessionId(start: string, pid: string): string {
  return `${Math.floor(Date.parse(start) / 1_000).toString(16)}.${Number(pid).toString(16)}`;
}

/** `disabled` (track_activities is off) is unknown; a state that we have no word for is `other`. */
export function stateOf(state: string | null): SessionState | null {
  switch (state) {
    case "active":
    case "idle":
    case "idle in transaction":
    case "idle in transaction (aborted)":
      return state;
    case null:
    case "disabled":
      return null;
    default:
      return "other";
  }
}

function roleOf(backendType: string | null): Session["role"] {
  switch (backendType) {
    case "client backend":
      return "client";
    case "walsender":
      return "replication";
    case null:
      return "unknown";
    default:
      return "internal";
  }
}

/** A hidden session and one whose activity is not tracked may well be in a transaction that does not show. */
function transactionOf(row: Row, startedAt: string | null, age: (at: string | null) => number | null): Transaction {
  if (startedAt !== null)
    return { kind: "open", startedAt, ageMs: age(startedAt), writeId: row["backend_xid"] ?? null };
  const known = row["backend_start"] !== null && row["state"] !== "disabled" && row["backend_xid"] === null;
  return { kind: known ? "none" : "unknown" };
}
