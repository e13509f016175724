import type { Conditions } from "../config/schema.ts";
import { anyGlob } from "./glob.ts";
import type { HeldLocks } from "./held-locks.ts";
import type { History } from "./history.ts";
import { isIdleInTransaction, type Ms, type NodeKey, type Prepared, type Session, type Text } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import type { WaitGraph } from "./wait-graph.ts";
import { hasWritten, writtenText } from "./written.ts";

/** How far a condition is from true: 0, now; n, in n ms if nothing changes; never, not by time alone; unknown. */
export type Distance = number;
export const never: Distance = Number.POSITIVE_INFINITY;
export const unknown: Distance = Number.NaN;

/** One session as the conditions see it. */
export type Subject = Readonly<{
  session: Session;
  /** The prepared transaction that `session` only stands in for. */
  prepared?: Prepared;
  snapshot: Snapshot;
  graph: WaitGraph;
  sessions: ReadonlyMap<NodeKey, Session>;
  history: History;
  /** What `subjectKey` says of the session. */
  key: string | null;
  /** Everybody's granted locks; null: not read in this look. */
  locks: HeldLocks | null;
}>;

/** What decides whom a session blocks, and since when. */
export type Blocker = Omit<Subject, "locks">;

/** One word of a session, by which rules are ruled out for all sessions that share it. */
export type Word = "state" | "transaction" | "user" | "database" | "application" | "backendType";

/** The condition is out of reach for every session with this word, unless `may` says so; the word alone decides. */
export type Gate = Readonly<{ word: Word; may(session: Session): boolean }>;

export type Condition = Readonly<{
  /** Spares most sessions the question. */
  gate?: Gate | undefined;
  /** The config key, such as `blocks.for`. */
  name: string;
  /** Wants the locks to have been read. */
  needsLocks: boolean;
  /** Our own cancel changes what it looks at; it does not count again on later steps. */
  resets: boolean;
  wanted: string;
  distance(subject: Subject): Distance;
  /** What was seen, as a phrase that can stand in a reason. */
  seen(subject: Subject): string;
}>;

/** Matchers that need more than text: a linear-time regular expression, CIDR ranges. */
export type Patterns = Readonly<{
  regex(source: string): (text: string) => boolean;
  cidr(ranges: readonly string[]): (address: string) => boolean;
}>;

export type ConditionContext = Readonly<{ rule: string; acts: boolean; patterns: Patterns }>;

type Plain = Omit<Condition, "needsLocks" | "resets"> & Partial<Pick<Condition, "needsLocks" | "resets">>;
export const plain = (condition: Plain): Condition => ({ needsLocks: false, resets: false, ...condition });

export function truth(value: boolean | null): Distance {
  return value === null ? unknown : value ? 0 : never;
}

/** Conditions on what the session itself shows. */
export function sessionConditions(source: Conditions, context: ConditionContext): Condition[] {
  const { state, query, clients, has_written: written, xmin_age: xminAge } = source;
  const conditions: Condition[] = [];
  if (state !== undefined) {
    const wanted = new Set<string>(state);
    conditions.push(
      plain({
        name: "state",
        gate: { word: "state", may: ({ state: shown }) => shown !== null && wanted.has(shown) },
        resets: true,
        wanted: state.join(" or "),
        distance: ({ session }) => truth(session.state === null ? null : wanted.has(session.state)),
        seen: ({ session }) => `is ${session.state ?? "in an unknown state"}`,
      }),
    );
  }
  const texts = [
    ["users", source.users, "user"],
    ["databases", source.databases, "database"],
    ["applications", source.applications, "application"],
    ["backend_types", source.backend_types, "backendType"],
  ] as const;
  for (const [name, patterns, word] of texts) {
    if (patterns !== undefined) conditions.push(wordCondition(name, patterns, word));
  }
  if (clients !== undefined) {
    conditions.push(
      textCondition("clients", context.patterns.cidr(clients), clients.join(" or "), (session) => session.client),
    );
  }
  if (query !== undefined) {
    // Of an idle session the text is only the last statement: it decides nothing.
    const read = (session: Session) =>
      session.state === "active" ? session.query : session.state === null ? null : "";
    const finds = context.patterns.regex(query);
    const seen = ({ session }: Subject) => statementSeen(read(session), finds);
    conditions.push({ ...textCondition("query", finds, query, read), resets: true, seen });
  }
  if (written !== undefined) {
    conditions.push(
      plain({
        name: "has_written",
        wanted: String(written),
        distance: ({ session }) => {
          const has = hasWritten(session.transaction);
          return truth(has === null ? null : has === written);
        },
        seen: ({ session }) => writtenText(hasWritten(session.transaction)),
      }),
    );
  }
  if (xminAge !== undefined) {
    conditions.push(
      plain({
        name: "xmin_age",
        wanted: `at least ${xminAge} transactions`,
        distance: ({ session }) => truth(heldBack(session) === null ? null : (heldBack(session) ?? 0) >= xminAge),
        seen: ({ session }) => `holds back ${heldBack(session) ?? "an unknown number of"} transactions`,
      }),
    );
  }
  return conditions;
}

function wordCondition(
  name: string,
  patterns: readonly string[],
  word: "user" | "database" | "application" | "backendType",
): Condition {
  const test = anyGlob(patterns);
  const may = (session: Session) => session[word] !== null && test(session[word]);
  return { ...textCondition(name, test, patterns.join(" or "), (session) => session[word]), gate: { word, may } };
}

function textCondition(
  name: string,
  test: (text: string) => boolean,
  wanted: string,
  read: (session: Session) => Text,
): Condition {
  const noun = name.replace(/s$/, "").replace("_", " ");
  return plain({
    name,
    wanted,
    distance: ({ session }) => {
      const text = read(session);
      return truth(text === null ? null : test(text));
    },
    seen: ({ session }) => `${noun} ${read(session) ?? "unknown"}`,
  });
}

/** Never the text itself: a reason goes to the log, the journal and people, and the text may hold secrets. */
function statementSeen(text: Text, finds: (text: string) => boolean): string {
  if (text === null) return "its statement is unknown";
  if (text === "") return "runs no statement";
  return finds(text) ? "its statement matches" : "its statement does not match";
}

/** Who shows a state and neither snapshot nor id holds nothing back. */
function heldBack({ xminAge, state }: Session): number | null {
  return xminAge ?? (state === null ? null : 0);
}

/** Conditions that time alone can make true. */
export function ageConditions(source: Conditions): Condition[] {
  const idleToo = source.state?.includes("idle") === true;
  const idle = (session: Session) => idleMs(session, idleToo);
  // Who is idle between transactions is idle for all that people see, and not meant.
  const notIdle = idleToo ? "not idle" : "not idle in a transaction";
  const ages: [string, number | undefined, boolean, (session: Session) => Ms, Phrases, Word?][] = [
    ["connected_for", source.connected_for, false, (session) => session.connectedMs, ["connected", "not connected"]],
    ["transaction_for", source.transaction_for, false, transactionMs, openPhrases, "transaction"],
    ["query_for", source.query_for, true, queryMs, ["statement running", "no statement running"], "state"],
    ["idle_for", source.idle_for, true, idle, ["idle", notIdle], "state"],
  ];
  return ages.flatMap(([name, wantedMs, resets, read, phrases, word]) =>
    wantedMs === undefined
      ? []
      : [
          plain({
            name,
            resets,
            // In another state the age does not count at all.
            gate: word === undefined ? undefined : { word, may: (session) => read(session) !== never },
            wanted: `at least ${spokenDuration(wantedMs)}`,
            distance: ({ session }) => remaining(read(session), wantedMs),
            seen: ({ session }) => agePhrase(phrases, read(session)),
          }),
        ],
  );
}

/** never, when the age does not count in this state. */
export function remaining(ageMs: Ms, wantedMs: number): Distance {
  if (ageMs === null) return unknown;
  if (ageMs === never) return never;
  return Math.max(0, wantedMs - ageMs);
}

/** With an age, and where the age does not count. */
type Phrases = readonly [phrase: string, without: string];
const openPhrases: Phrases = ["transaction open", "no transaction open"];

function agePhrase([phrase, without]: Phrases, ageMs: Ms): string {
  if (ageMs === null) return `${phrase} for an unknown time`;
  if (ageMs === never) return without;
  return `${phrase} for ${spokenDuration(ageMs)}`;
}

function transactionMs(session: Session): Ms {
  const { transaction } = session;
  if (transaction.kind === "open") return transaction.ageMs;
  return transaction.kind === "none" ? never : null;
}

/** A plain idle session still shows query_start: only a running statement counts. */
function queryMs(session: Session): Ms {
  if (session.state === null) return null;
  return session.state === "active" ? session.queryMs : never;
}

function idleMs(session: Session, idleToo: boolean): Ms {
  if (session.state === null) return null;
  return isIdleInTransaction(session) || (idleToo && session.state === "idle") ? session.stateMs : never;
}
