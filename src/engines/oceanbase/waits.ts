import { createHash } from "node:crypto";
import { conflicts } from "../../core/lock-mode.ts";
import type { NodeKey, Relation } from "../../core/session.ts";
import type { Hold, LockWait } from "../../core/snapshot.ts";
import type { Row } from "./connection.ts";
import type { Activity } from "./rows.ts";
import { readId } from "./session-id.ts";

// Rows of GV$OB_LOCKS in, holds and waits with their blockers out; no clock, no server. Who is meant is found by the
// transaction's id, which is never used again; session ids are, and the one of the holder is a guess of the server's.

export type LockRow = Readonly<{
  /** Of the waiter, or of the one who holds. */
  transactionId: string | null;
  /** May be 0 or a place-holder. */
  sessionId: string | null;
  type: string;
  waiting: boolean;
  /** Whose transaction is waited for. */
  holderId: string | null;
  mode: string;
  tablet: string | null;
  object: string | null;
  lock: string;
  waitMs: number | null;
}>;

/** The modes of tables in the words of the config. Readers take none, so X keeps out what PostgreSQL's Exclusive does. */
const modes: Readonly<Record<string, string>> = {
  RS: "RowShareLock",
  RX: "RowExclusiveLock",
  S: "ShareLock",
  SRX: "ShareRowExclusiveLock",
  X: "ExclusiveLock",
};

/** A row's waiters stand behind one holder after the other, which is what `tuple` means to rules. */
const locktypes: Readonly<Record<string, string>> = { TR: "tuple", TX: "tuple", TM: "relation", UL: "advisory" };

export function lockRowOf(row: Row): LockRow {
  const type = (row["TYPE"] ?? "").toUpperCase();
  const waiting = row["BLOCK"] === "1";
  const shown = ((waiting ? row["REQUEST"] : row["LMODE"]) ?? "").toUpperCase();
  const holderId = waiting ? readId(row["ID1"]) : null;
  const id3 = row["ID3"] ?? null;
  return {
    transactionId: readId(row["TRANS_ID"]),
    sessionId: readId(row["SESSION_ID"]),
    type,
    waiting,
    holderId,
    mode: modes[shown] ?? shown,
    tablet: type === "TR" ? readId(id3?.split("-", 1)[0]) : null,
    object: type === "TM" ? readId(id3) : null,
    lock: lockText(type, id3, holderId),
    waitMs: microsecondsMs(row["CTIME"]),
  };
}

/** The key of a row is somebody's data: it is told apart, not told. */
function lockText(type: string, id3: string | null, holderId: string | null): string {
  if (id3 === null || id3 === "") return `${type} of transaction ${holderId ?? "?"}`;
  if (type !== "TR") return `${type} ${id3}`;
  const [tablet = ""] = id3.split("-", 1);
  return `${type} ${tablet} ${createHash("sha256").update(id3).digest("hex").slice(0, 16)}`;
}

function microsecondsMs(text: string | null | undefined): number | null {
  const microseconds = text === null || text === undefined || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(microseconds) && microseconds >= 0 ? Math.round(microseconds / 1_000) : null;
}

export type LockContext = Readonly<{
  /** By id, as they were after the locks had been read. */
  activities: ReadonlyMap<string, Activity>;
  /** Transaction to session, before and after the locks were read, and as far as it was the same both times. */
  before: ReadonlyMap<string, NodeKey>;
  now: ReadonlyMap<string, NodeKey>;
  steady: ReadonlyMap<string, NodeKey>;
  relationOf(row: LockRow): Relation | null;
}>;

export type Locks = Readonly<{
  holds: readonly Hold[];
  waits: readonly LockWait[];
  /** Somebody waits of whom neither transaction nor session is told: anybody may be meant. */
  nameless: number;
  /** Transactions that wait or keep others waiting, and were in neither list of sessions. */
  hidden: number;
}>;

type Building = LockWait & Readonly<{ blockers: { node: NodeKey; soft: boolean }[] }>;

export function lockWaits(rows: readonly LockRow[], context: LockContext): Locks {
  const holds = holdsOf(rows, context);
  const waits = new Map<string, Building>();
  const hidden = new Set<string>();
  let nameless = 0;
  for (const row of rows) {
    if (!row.waiting) continue;
    for (const id of [row.transactionId, row.holderId])
      if (id !== null && !context.before.has(id) && !context.now.has(id)) hidden.add(id);
    const waiter = waiterOf(row, context);
    if (waiter === "nameless") nameless++;
    if (waiter === null || waiter === "nameless") continue;
    const key = `${waiter.id} ${row.lock} ${row.mode}`;
    const wait = waits.get(key) ?? begin(row, waiter.id, context);
    const holder = row.holderId === null ? undefined : context.steady.get(row.holderId);
    const seen = holder !== undefined && holder !== waiter.id;
    if (seen && !wait.blockers.some(({ node }) => node === holder)) wait.blockers.push({ node: holder, soft: false });
    waits.set(key, { ...wait, waitMs: longer(wait.waitMs, row.waitMs), hiddenBlocker: wait.hiddenBlocker || !seen });
  }
  const all = [...waits.values()];
  return {
    holds,
    waits: all.map((wait) =>
      wait.relation === null ? { ...wait, candidates: candidatesOf(wait, holds, context) } : wait,
    ),
    nameless,
    hidden: hidden.size,
  };
}

function begin(row: LockRow, waiter: NodeKey, { relationOf }: LockContext): Building {
  const { lock, type, mode, waitMs } = row;
  const locktype = locktypes[type] ?? "other";
  const relation = relationOf(row);
  const nobody = { blockers: [], hiddenBlocker: false, candidates: [], waitAt: null };
  return { waiter, pid: waiter, lock, locktype, mode, relation, waitMs, ...nobody };
}

/** null: its transaction is over by now, or its session hidden from us, and then nobody's victim. */
function waiterOf(row: LockRow, { activities, now }: LockContext): Activity | "nameless" | null {
  const { transactionId, sessionId } = row;
  const known = transactionId === null ? undefined : now.get(transactionId);
  if (known !== undefined) return activities.get(known) ?? null;
  const listed = sessionId === null ? undefined : activities.get(sessionId);
  if (transactionId === null) return listed ?? "nameless";
  return listed !== undefined && listed.transactionId === null ? listed : null;
}

function holdsOf(rows: readonly LockRow[], { now, relationOf }: LockContext): readonly Hold[] {
  const found = new Map<string, Hold>();
  for (const row of rows) {
    const holder = row.waiting || row.transactionId === null ? undefined : now.get(row.transactionId);
    if (holder === undefined) continue;
    const { lock, type, mode } = row;
    found.set(`${holder} ${lock} ${mode}`, {
      holder,
      lock,
      locktype: locktypes[type] ?? "other",
      mode,
      relation: relationOf(row),
    });
  }
  return [...found.values()];
}

/** Where the server names no table: those that the holders have locked so that it keeps out the waiter, or for a row those that both have. */
function candidatesOf(wait: LockWait, holds: readonly Hold[], { activities }: LockContext): readonly Relation[] {
  if (wait.hiddenBlocker || wait.blockers.length === 0 || !activities.has(wait.waiter)) return [];
  const tables = (node: NodeKey) => holds.filter((hold) => hold.holder === node && hold.locktype === "relation");
  const found = new Map<string, Relation>();
  const isTable = wait.locktype === "relation";
  const mine = new Set(tables(wait.waiter).map(({ relation }) => nameOf(relation)));
  for (const { node } of wait.blockers) {
    for (const { relation, mode } of tables(node)) {
      if (isTable && !conflicts(mode, wait.mode)) continue;
      // One of them without a name may be the one: then nothing is certain.
      if (relation === null) return [];
      if (isTable || mine.has(nameOf(relation))) found.set(nameOf(relation), relation);
    }
  }
  return [...found.values()];
}

function nameOf(relation: Relation | null): string {
  return relation === null ? "" : JSON.stringify([relation.schema, relation.name]);
}

function longer(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
