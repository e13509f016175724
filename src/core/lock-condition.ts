import type { Conditions } from "../config/schema.ts";
import {
  type Blocker,
  type Condition,
  type ConditionContext,
  type Distance,
  never,
  plain,
  type Subject,
  truth,
  unknown,
} from "./condition.ts";
import { anyGlob } from "./glob.ts";
import { atMost, incidentKey, subjectKey } from "./history.ts";
import { tablePattern, waitsOn } from "./relation.ts";
import { isIdle, type NodeKey, type Relation, type Session } from "./session.ts";
import type { Hold, LockWait } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import type { Behind, WaitGraph } from "./wait-graph.ts";

/** Conditions on the locks that a session holds, waits for, or blocks others with. */
export function lockConditions(source: Conditions, context: ConditionContext): Condition[] {
  return [
    ...holdsConditions(source.holds),
    ...waitsConditions(source.waits, context),
    ...blocksConditions(source.blocks, context),
  ];
}

function holdsConditions(holds: Conditions["holds"]): Condition[] {
  if (holds === undefined) return [];
  const table = holds.tables === undefined ? () => true : tablePattern(holds.tables);
  const modes = holds.modes === undefined ? null : new Set<string>(holds.modes);
  const fits = (hold: Hold) =>
    hold.mode !== "SIReadLock" &&
    (modes === null || modes.has(hold.mode)) &&
    (holds.tables === undefined || (hold.relation !== null && table(hold.relation)));
  const found = (subject: Subject) => subject.holds?.find(fits);
  return [
    plain({
      name: "holds",
      needsLocks: true,
      wanted: [holds.modes?.join(" or ") ?? "a lock", holds.tables?.join(" or ")]
        .filter((part) => part !== undefined)
        .join(" on "),
      distance: (subject) => (subject.holds === null ? unknown : truth(found(subject) !== undefined)),
      seen: (subject) => {
        const hold = found(subject);
        if (hold === undefined) return "holds no such lock";
        return `holds ${hold.mode}${hold.relation === null ? "" : ` on ${hold.relation.schema}.${hold.relation.name}`}`;
      },
    }),
  ];
}

type WaitsSource = NonNullable<Conditions["waits"]>;

/** The session's own wait that a rule's `waits` is about; null when there is none. */
export function matchingWait(source: WaitsSource, certain: boolean): (subject: Subject) => LockWait | null {
  const table = source.tables === undefined ? null : tablePattern(source.tables);
  const modes = source.modes === undefined ? null : new Set<string>(source.modes);
  const locktypes = new Set<string>(source.locktypes);
  return ({ session, graph }) =>
    graph
      .waitsOf(session.key)
      .find(
        (wait) =>
          locktypes.has(wait.locktype) &&
          (modes === null || modes.has(wait.mode)) &&
          (table === null || waitsOn(wait, table, certain)),
      ) ?? null;
}

function waitsConditions(source: Conditions["waits"], context: ConditionContext): Condition[] {
  if (source === undefined) return [];
  const find = matchingWait(source, context.acts);
  const what = [source.modes?.join(" or ") ?? "a lock", source.tables?.join(" or ")]
    .filter((part) => part !== undefined)
    .join(" on ");
  return [
    plain({
      name: "waits",
      needsLocks: true,
      wanted: source.for === undefined ? what : `${what} for at least ${spokenDuration(source.for)}`,
      distance: (subject) => {
        if (subject.snapshot.waits === null) return unknown;
        const wait = find(subject);
        if (wait === null) return never;
        // A waitstart that is not there yet means that the wait has just begun.
        return source.for === undefined ? 0 : Math.max(0, source.for - (wait.waitMs ?? 0));
      },
      seen: (subject) => {
        const wait = find(subject);
        return wait === null
          ? "waits for no such lock"
          : `waits for ${wait.mode} for ${spokenDuration(wait.waitMs ?? 0)}`;
      },
    }),
  ];
}

type BlocksSource = NonNullable<Conditions["blocks"]>;

/** Whose waiters, and in which graph. */
export type CountedFrom = Pick<Blocker, "graph" | "sessions"> & Readonly<{ session: Pick<Session, "key"> }>;

/** The waiters behind a session that a rule's `blocks` counts, nearest first; there may be thousands, so take only what is needed. */
export function countedWaiters(source: BlocksSource, certain: boolean): (subject: CountedFrom) => Iterable<Behind> {
  const table: ((relation: Relation) => boolean) | null =
    source.tables === undefined ? null : tablePattern(source.tables);
  const users = source.users === undefined ? null : anyGlob(source.users);
  const applications = source.applications === undefined ? null : anyGlob(source.applications);
  const locktypes = new Set<string>(source.locktypes);
  const counts = ({ waiter, wait }: Pick<Behind, "waiter" | "wait">, sessions: Blocker["sessions"]): boolean => {
    const person = sessions.get(waiter);
    if (person === undefined || person.role !== "client" || person.own) return false;
    if (users !== null && (person.user === null || !users(person.user))) return false;
    if (applications !== null && (person.application === null || !applications(person.application))) return false;
    return table === null || waitsOn(wait, table, certain);
  };
  const anybody = table === null && users === null && applications === null;
  // Where most waiters do not count, one pass over them says who has some that do. Without it, each of a long queue would be
  // asked about everybody behind it.
  const lookedAt = new WeakMap<WaitGraph, (node: NodeKey) => boolean>();
  const hasSome = (graph: WaitGraph, sessions: Blocker["sessions"]) => {
    const known = lookedAt.get(graph);
    if (known !== undefined) return known;
    const waiters = [...graph.waiters()].filter((waiter) =>
      graph.waitsOf(waiter).some((wait) => counts({ waiter, wait }, sessions)),
    );
    const found = graph.aheadOf(waiters, locktypes);
    lookedAt.set(graph, found);
    return found;
  };
  function* all({ session, graph, sessions }: CountedFrom) {
    for (const behind of graph.behind(session.key, locktypes)) if (counts(behind, sessions)) yield behind;
  }
  return (from) => (anybody || hasSome(from.graph, from.sessions)(from.session.key) ? all(from) : none);
}

const none: readonly Behind[] = [];

/** How long this transaction has continuously blocked one that the rule counts: as seen, or as a direct waiter's own wait shows; null: it blocks nobody. */
export function blockedMs(rule: string, subject: Blocker, counted: Iterable<Behind>): number | null {
  const { session, snapshot, history } = subject;
  const direct: LockWait[] = [];
  let blocks = false;
  for (const { wait, depth } of counted) {
    blocks = true;
    if (depth > 1) break; // the nearest come first
    direct.push(wait);
  }
  if (!blocks) return null;
  const key = subjectKey(session);
  const since = key === null ? undefined : history.blocking.get(incidentKey(rule, key));
  const seen = since === undefined ? 0 : snapshot.atMs - since;
  return direct.reduce((longest, wait) => Math.max(longest, atMost(wait.waitMs ?? 0, boundMs(subject, wait))), seen);
}

/**
 * How long it can be trusted to have stood in this waiter's way as a root. A row's waiter began to wait when the row was
 * taken. In the queue for a table all wait from their own beginning, behind one holder after the other: who has just got
 * the table blocks nobody for longer than it was seen to wait for nobody itself, or has been idle.
 */
function boundMs({ session, snapshot, history, graph }: Blocker, wait: LockWait): number | null {
  const ageMs = session.transaction.kind === "open" ? session.transaction.ageMs : session.connectedMs;
  if (session.role === "prepared") return ageMs; // it has had all of its locks since it was prepared
  if (!graph.isRoot(session.key)) return ageMs; // a rule for waiters: in the queue it has stood all the time
  const freedom = history.freedom.get(subjectKey(session) ?? "");
  if (wait.locktype === "transactionid" && freedom?.waited !== true) return ageMs;
  const freeMs = typeof freedom?.sinceMs === "number" ? snapshot.atMs - freedom.sinceMs : 0;
  return atMost(isIdle(session) ? Math.max(freeMs, session.stateMs ?? 0) : freeMs, ageMs);
}

function blocksConditions(source: Conditions["blocks"], context: ConditionContext): Condition[] {
  if (source === undefined) return [];
  const count = countedWaiters(source, context.acts);
  const where = source.tables === undefined ? "" : ` on ${source.tables.join(" or ")}`;
  const { for: wantedMs } = source;
  const locks = (subject: Subject, distance: () => Distance) =>
    subject.snapshot.waits === null ? unknown : distance();
  const waiters = plain({
    name: "blocks.waiters",
    needsLocks: true,
    wanted: `at least ${source.waiters}${where}`,
    distance: (subject) => locks(subject, () => truth(hasAtLeast(source.waiters, count(subject)))),
    seen: (subject) => `blocks ${sessionsText([...count(subject)].length)}${where}`,
  });
  if (wantedMs === undefined) return [waiters];
  return [
    waiters,
    plain({
      name: "blocks.for",
      needsLocks: true,
      wanted: `at least ${spokenDuration(wantedMs)}`,
      distance: (subject) =>
        locks(subject, () => {
          const ms = blockedMs(context.rule, subject, count(subject));
          return ms === null ? never : Math.max(0, wantedMs - ms);
        }),
      seen: (subject) => {
        const ms = blockedMs(context.rule, subject, count(subject));
        return ms === null ? `blocks nobody${where}` : `has blocked for ${spokenDuration(ms)}`;
      },
    }),
  ];
}

function hasAtLeast(wanted: number, items: Iterable<unknown>): boolean {
  let found = 0;
  for (const _ of items) if (++found >= wanted) return true;
  return false;
}

function sessionsText(count: number): string {
  if (count === 0) return "nobody";
  return count === 1 ? "1 session" : `${count} sessions`;
}
