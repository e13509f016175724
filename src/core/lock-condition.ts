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
import { countedWaiters } from "./counted-waiters.ts";
import type { HeldLocks } from "./held-locks.ts";
import { atMost } from "./history.ts";
import { tablePattern, waitsOn } from "./relation.ts";
import { isIdle, type NodeKey } from "./session.ts";
import type { Hold, LockWait } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";

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
  const table = holds.tables === undefined ? null : tablePattern(holds.tables);
  const modes = holds.modes === undefined ? null : new Set<string>(holds.modes);
  const fits = ({ mode, relation }: Pick<Hold, "mode" | "relation">) =>
    mode !== "SIReadLock" &&
    (modes === null || modes.has(mode)) &&
    (table === null || (relation !== null && table(relation)));
  // Of all locks of a look once, instead of each session's own locks again for each rule.
  const known = new WeakMap<HeldLocks, ReadonlySet<NodeKey>>();
  const holders = (locks: HeldLocks) => {
    const found = known.get(locks) ?? locks.holders(fits);
    known.set(locks, found);
    return found;
  };
  return [
    plain({
      name: "holds",
      needsLocks: true,
      wanted: [holds.modes?.join(" or ") ?? "a lock", holds.tables?.join(" or ")]
        .filter((part) => part !== undefined)
        .join(" on "),
      distance: ({ locks, session }) => (locks === null ? unknown : truth(holders(locks).has(session.key))),
      seen: ({ locks, session }) => {
        const hold = locks?.of(session.key).find(fits);
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

/**
 * How long this transaction has continuously blocked one that the rule counts: as seen, or as a direct waiter's own wait shows;
 * null: it blocks nobody. `direct`: those waits, null when it blocks nobody near or far.
 */
export function blockedMs(rule: string, subject: Blocker, direct: readonly LockWait[] | null): number | null {
  if (direct === null) return null;
  const { key, snapshot, history } = subject;
  const since = key === null ? undefined : history.blocking.get(rule)?.get(key);
  let longestMs = since === undefined ? 0 : snapshot.atMs - since;
  for (const wait of direct) {
    const waitMs = wait.waitMs ?? 0;
    if (waitMs > longestMs) longestMs = Math.max(longestMs, atMost(waitMs, boundMs(subject, wait)));
  }
  return longestMs;
}

/**
 * How long it can be trusted to have stood in this waiter's way as a root. A row's waiter began to wait when the row was
 * taken. In the queue for a table all wait from their own beginning, behind one holder after the other: who has just got
 * the table blocks nobody for longer than it was seen to wait for nobody itself, or has been idle.
 */
function boundMs({ session, key, snapshot, history, graph }: Blocker, wait: LockWait): number | null {
  const ageMs = session.transaction.kind === "open" ? session.transaction.ageMs : session.connectedMs;
  if (session.role === "prepared") return ageMs; // it has had all of its locks since it was prepared
  if (!graph.isRoot(session.key)) return ageMs; // a rule for waiters: in the queue it has stood all the time
  const freedom = history.freedom.get(key ?? "");
  if (wait.locktype === "transactionid" && freedom?.waited !== true) return ageMs;
  const freeMs = typeof freedom?.sinceMs === "number" ? snapshot.atMs - freedom.sinceMs : 0;
  return atMost(isIdle(session) ? Math.max(freeMs, session.stateMs ?? 0) : freeMs, ageMs);
}

function blocksConditions(source: Conditions["blocks"], context: ConditionContext): Condition[] {
  if (source === undefined) return [];
  const { counted, count, nearest } = countedWaiters(source, context.acts);
  const where = source.tables === undefined ? "" : ` on ${source.tables.join(" or ")}`;
  const { for: wantedMs } = source;
  const locks = (subject: Subject, distance: () => Distance) =>
    subject.snapshot.waits === null ? unknown : distance();
  const waiters = plain({
    name: "blocks.waiters",
    needsLocks: true,
    wanted: `at least ${source.waiters}${where}`,
    distance: (subject) => locks(subject, () => truth(counted(subject, source.waiters).length >= source.waiters)),
    seen: (subject) => `blocks ${sessionsText(count(subject))}${where}`,
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
          const ms = blockedMs(context.rule, subject, nearest(subject));
          return ms === null ? never : Math.max(0, wantedMs - ms);
        }),
      seen: (subject) => {
        const ms = blockedMs(context.rule, subject, nearest(subject));
        return ms === null ? `blocks nobody${where}` : `has blocked for ${spokenDuration(ms)}`;
      },
    }),
  ];
}

function sessionsText(count: number): string {
  if (count === 0) return "nobody";
  return count === 1 ? "1 session" : `${count} sessions`;
}
