import type { Conditions } from "../config/schema.ts";
import type { Blocker } from "./condition.ts";
import { anyGlob } from "./glob.ts";
import { tablePattern, waitsOn } from "./relation.ts";
import type { NodeKey, Session } from "./session.ts";
import type { LockWait } from "./snapshot.ts";
import type { Behind, Visit, WaitGraph } from "./wait-graph.ts";

type BlocksSource = NonNullable<Conditions["blocks"]>;

/** Whose waiters, and in which graph. `sessions` are those of one look. */
export type CountedFrom = Pick<Blocker, "graph" | "sessions"> & Readonly<{ session: Pick<Session, "key"> }>;

/** The waiters behind a session that a rule's `blocks` counts. */
export type CountedWaiters = Readonly<{
  /** Nearest first; there may be thousands, so ask for no more than is needed. */
  counted(from: CountedFrom, most?: number): readonly Behind[];
  /** How many there are; asked several times of whoever is told of. */
  count(from: CountedFrom): number;
  /** What the direct ones among them wait for; null when it counts nobody, near or far. */
  nearest(from: CountedFrom): readonly LockWait[] | null;
}>;

type Counts = (hop: Pick<Behind, "waiter" | "wait">, sessions: Blocker["sessions"]) => boolean;

export function countedWaiters(source: BlocksSource, certain: boolean): CountedWaiters {
  const locktypes = new Set<string>(source.locktypes);
  const counts = countsOf(source, certain);
  const hasSome = isAboutAnybody(source) ? () => true : someCounted(counts, locktypes);
  const walk = (from: CountedFrom, visit: Visit) => {
    if (hasSome(from)) from.graph.walk(from.session.key, locktypes, visit);
  };
  const numbers = new WeakMap<Blocker["sessions"], Map<NodeKey, number>>();
  return {
    counted: (from, most = Number.POSITIVE_INFINITY) => {
      const found: Behind[] = [];
      walk(from, (hop, depth) => {
        if (!counts(hop, from.sessions)) return false;
        const { waiter, wait, blocker, soft } = hop;
        return found.push({ waiter, wait, blocker, soft, depth }) >= most;
      });
      return found;
    },
    count: (from) => {
      const known = numbers.get(from.sessions) ?? new Map<NodeKey, number>();
      const before = known.get(from.session.key);
      if (before !== undefined) return before;
      let number = 0;
      walk(from, (hop) => {
        if (counts(hop, from.sessions)) number++;
        return false;
      });
      numbers.set(from.sessions, known.set(from.session.key, number));
      return number;
    },
    nearest: (from) => {
      const direct: LockWait[] = [];
      let some = false;
      walk(from, (hop, depth) => {
        if (depth > 1 && some) return true;
        if (!counts(hop, from.sessions)) return false;
        some = true;
        if (depth === 1) direct.push(hop.wait);
        return depth > 1;
      });
      return some ? direct : null;
    },
  };
}

function isAboutAnybody({ tables, users, applications }: BlocksSource): boolean {
  return tables === undefined && users === undefined && applications === undefined;
}

function countsOf(source: BlocksSource, certain: boolean): Counts {
  const table = source.tables === undefined ? null : tablePattern(source.tables);
  const users = source.users === undefined ? null : anyGlob(source.users);
  const applications = source.applications === undefined ? null : anyGlob(source.applications);
  return ({ waiter, wait }, sessions) => {
    const person = sessions.get(waiter);
    if (person === undefined || person.role !== "client" || person.own) return false;
    if (users !== null && (person.user === null || !users(person.user))) return false;
    if (applications !== null && (person.application === null || !applications(person.application))) return false;
    return table === null || waitsOn(wait, table, certain);
  };
}

/**
 * Where most waiters do not count, one pass over them says who has some that do. Without it, each of a long queue would be
 * asked about everybody behind it.
 */
function someCounted(counts: Counts, locktypes: ReadonlySet<string>): (from: CountedFrom) => boolean {
  const lookedAt = new WeakMap<Blocker["sessions"], (node: NodeKey) => boolean>();
  return ({ graph, sessions, session }) => {
    const known = lookedAt.get(sessions) ?? graph.aheadOf(waitersThat(counts, graph, sessions), locktypes);
    lookedAt.set(sessions, known);
    return known(session.key);
  };
}

function waitersThat(counts: Counts, graph: WaitGraph, sessions: Blocker["sessions"]): readonly NodeKey[] {
  const found: NodeKey[] = [];
  for (const waiter of graph.waiters()) {
    if (graph.waitsOf(waiter).some((wait) => counts({ waiter, wait }, sessions))) found.push(waiter);
  }
  return found;
}
