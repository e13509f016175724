import type { Session, SessionState, Transaction } from "../../core/session.ts";
import type { Row, Server } from "./connection.ts";
import { readId } from "./session-id.ts";

// Rows of GV$OB_PROCESSLIST in, sessions out; no clock, no server. Oracle mode has NULL where MySQL mode has ''.

/** Whose sessions are ours to judge. */
export type Viewpoint = Readonly<{
  server: Pick<Server, "mode" | "version" | "sessionId" | "tenant">;
  /** Session ids of Lockwarden's own. */
  own: readonly string[];
}>;

/** One listed session. `transactionId`: null, it has none; what it means is in session.transaction. */
export type Activity = Readonly<{ id: string; transactionId: string | null; session: Session }>;

export type Listed = Readonly<{
  activities: readonly Activity[];
  /** Listed on several servers at once, in several transactions perhaps: nobody knows which one an id means. */
  ambiguous: number;
}>;

const longestQuery = 8_192;
/** What our sessions call themselves where they can; with our own user it marks a twin. */
export const ownModule = "lockwarden";
const ownTag = /^\s*(?:SELECT\s+)?\/\* lockwarden:/;

/** The accounts that a tenant is made with. What further accounts may do cannot be read with few rights. */
const administrators = new Set(["SYS", "LBACSYS", "ORAAUDITOR", "root", "proxyro", "ocp_monitor", "standbyro"]);
const innerUser = /^__oceanbase_inner/i;

/** Transactions whose session is the one to end. */
const running = new Set(["ACTIVE", "EXPLICIT_ACTIVE", "IMPLICIT_ACTIVE", "ROLLBACK_SAVEPOINT"]);
const interrupted = new Set(["ACTIVE", "QUERY_KILLED", "QUERY_DEADLOCKED"]);
/** A statement that was interrupted leaves its word until the next one. */
const asleep = new Set(["SLEEP", "QUERY_KILLED", "QUERY_DEADLOCKED"]);

export function listSessions(rows: readonly Row[], viewpoint: Viewpoint): Listed {
  const me = rows.find((row) => row["ID"] === viewpoint.server.sessionId);
  const ours = { tenant: word(me, "TENANT") ?? viewpoint.server.tenant, user: word(me, "USER") };
  const byId = new Map<string, Row[]>();
  for (const row of rows) {
    const id = readId(row["ID"]);
    if (id !== null) byId.set(id, [...(byId.get(id) ?? []), row]);
  }
  let ambiguous = 0;
  const activities: Activity[] = [];
  for (const [id, [row, ...others]] of byId) {
    if (row === undefined) continue;
    const activity = activityOf(id, row, { ...viewpoint, ours });
    if (others.length > 0) ambiguous++;
    activities.push(others.length > 0 ? unknownOf(activity) : activity);
  }
  return { activities, ambiguous };
}

type Context = Viewpoint & Readonly<{ ours: Readonly<{ tenant: string | null; user: string | null }> }>;

function activityOf(id: string, row: Row, context: Context): Activity {
  const state = stateOf(row);
  const stateMs = state === null ? null : secondsMs(row["TIME"]);
  const active = state === "active";
  const user = word(row, "USER");
  const { role, backendType } = roleOf(row, context);
  const session: Session = {
    kind: "session",
    key: id,
    identity: identityOf(id, row),
    pid: id,
    sessionId: id,
    handle: id,
    role,
    backendType,
    group: null,
    own: isOwn(id, row, context),
    superuser: user === null ? null : administrators.has(user),
    // No view says who is in the middle of maintenance.
    maintenance: null,
    user,
    database: databaseOf(row),
    application: word(row, "MODULE") ?? "",
    client: clientOf(row),
    query: row["INFO"]?.slice(0, longestQuery) ?? null,
    quoting: context.server.mode === "mysql" ? "backslash" : "alternative",
    waitEvent: null,
    state,
    stateMs,
    // The server tells ages of whole seconds and no moments: the guard compares the ages.
    stateAt: null,
    // Begins anew whenever the statement is tried again: never more than the truth.
    queryMs: active ? stateMs : null,
    queryAt: active ? word(row, "TRACE_ID") : null,
    connectedMs: null,
    xminAge: null,
    transaction: transactionOf(row),
  };
  return { id, transactionId: readId(row["TRANS_ID"]), session };
}

/** Nothing that could make a rule match, or a signal hit. */
function unknownOf({ id, session }: Activity): Activity {
  const { own, user, superuser } = session;
  const nothing = { identity: "", database: null, application: null, client: null, query: null, queryMs: null };
  const unknown = {
    role: "unknown",
    state: null,
    stateMs: null,
    queryAt: null,
    transaction: { kind: "unknown" },
  } as const;
  return { id, transactionId: null, session: { ...session, ...nothing, ...unknown, own, user, superuser } };
}

/** There is no serial number: what stays the same for as long as a connection lasts. An empty text is no identity. */
function identityOf(id: string, row: Row): string {
  const parts = ["TENANT", "SVR_IP", "SVR_PORT", "USER", "HOST"].map((name) => word(row, name));
  return parts.includes(null) ? "" : [...parts, id].join(" ");
}

export function transactionOf(row: Row): Transaction {
  const id = readId(row["TRANS_ID"]);
  const state = word(row, "TRANS_STATE")?.toUpperCase() ?? "";
  const open = running.has(state) || state === "ABORTED";
  // The server does not say whether it has written, so it counts as if it had.
  if (id !== null && open) return { kind: "open", startedAt: id, ageMs: null, writeId: id };
  // Made but not begun: it holds nothing.
  if (!open && (state === "IDLE" || (id === null && state === ""))) return { kind: "none" };
  return { kind: "unknown" };
}

function stateOf(row: Row): SessionState | null {
  const command = word(row, "COMMAND")?.toUpperCase() ?? null;
  const state = word(row, "STATE")?.toUpperCase() ?? null;
  if (command === null || state === null) return null;
  if (state === "SESSION_KILLED" || state === "INIT") return "other";
  if (command !== "SLEEP") return interrupted.has(state) ? "active" : null;
  return asleep.has(state) ? sleepingState(row) : null;
}

/** What the client that says nothing has left open. */
function sleepingState(row: Row): SessionState | null {
  const transaction = transactionOf(row);
  if (transaction.kind === "none") return "idle";
  if (transaction.kind === "unknown") return null;
  return word(row, "TRANS_STATE")?.toUpperCase() === "ABORTED"
    ? "idle in transaction (aborted)"
    : "idle in transaction";
}

function roleOf(row: Row, { server, ours }: Context): Pick<Session, "role" | "backendType"> {
  const [tenant, user] = [word(row, "TENANT"), word(row, "USER")];
  const internal = (backendType: string) => ({ role: "internal", backendType }) as const;
  if (tenant === null || user === null || ours.tenant === null) return { role: "unknown", backendType: null };
  if (tenant !== ours.tenant) return internal(`a session of tenant ${tenant}`);
  // In one that has a single tenant, that is called so.
  if (tenant.toLowerCase() === "sys" && !/seekdb/i.test(server.version))
    return internal("a session of the system tenant");
  if (innerUser.test(user)) return internal("a session of the server's own");
  const state = word(row, "TRANS_STATE")?.toUpperCase() ?? "";
  if (state.startsWith("XA")) return internal(`a session with a branch of an XA transaction (${state})`);
  if (
    state !== "" &&
    state !== "IDLE" &&
    state !== "ABORTED" &&
    !running.has(state) &&
    readId(row["TRANS_ID"]) !== null
  )
    return internal(`a session whose transaction is ending (${state})`);
  return { role: "client", backendType: "client backend" };
}

function isOwn(id: string, row: Row, { own, server, ours }: Context): boolean {
  if (own.includes(id) || id === server.sessionId) return true;
  const twin = word(row, "MODULE") === ownModule || ownTag.test(row["INFO"] ?? "");
  return twin && ours.user !== null && word(row, "USER") === ours.user && word(row, "TENANT") === ours.tenant;
}

/** Where no database is chosen some versions say so in this word. */
function databaseOf(row: Row): string | null {
  const database = word(row, "DB");
  return database === "NULL" ? null : database;
}

/** Behind a proxy HOST is the proxy; the last colon stands before the port. */
function clientOf(row: Row): string | null {
  const shown = word(row, "USER_CLIENT_IP") ?? word(row, "HOST")?.replace(/:\d+$/, "") ?? null;
  return shown === null ? null : shown.replace(/^\[(.*)\]$/, "$1");
}

/** Whole seconds, or with a fraction. */
function secondsMs(text: string | null | undefined): number | null {
  const seconds = text === null || text === undefined || text.trim() === "" ? Number.NaN : Number(text);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.round(seconds * 1_000) : null;
}

function word(row: Row | undefined, name: string): string | null {
  const text = row?.[name] ?? null;
  return text === "" ? null : text;
}
