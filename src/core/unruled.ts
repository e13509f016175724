import { atMost } from "./history.ts";
import type { Look } from "./judge.ts";
import { blockedMs } from "./lock-condition.ts";
import { relationText } from "./relation.ts";
import type { NodeKey, Prepared, Session } from "./session.ts";
import type { LockWait } from "./snapshot.ts";
import type { WaitGraph } from "./wait-graph.ts";

/** Shorter waits are what locks are for. */
const patienceMs = 5_000;

export type Unruled = Readonly<{ blocker: Session | Prepared; relation: string | null }>;

/** Roots that have long stood in somebody's way and that no rule is about, in an order that stays the same. */
export function unruledRoots({ snapshot, evaluation }: Look): readonly Unruled[] {
  if (snapshot.waits === null) return [];
  const { findings, untouchables } = evaluation;
  const ruled = new Set([
    ...findings.map(({ subject }) => subject.session.key),
    ...untouchables.map(({ victim }) => victim.key),
  ]);
  const people = new Map<NodeKey, Session | Prepared>(
    [...snapshot.sessions, ...snapshot.prepared].map((one) => [one.key, one]),
  );
  const locktypes = new Set(snapshot.waits.map(({ locktype }) => locktype));
  return evaluation.graph
    .roots()
    .flatMap((node): readonly Unruled[] => {
      const blocker = people.get(node);
      if (blocker === undefined || ruled.has(node)) return [];
      const direct = nearest(node, evaluation.graph, { people, locktypes });
      const [first] = direct;
      // Not how long others have queued: in a busy queue each of its holders has just begun to hold.
      if (first === undefined || inTheWayMs(blocker, direct, evaluation) < patienceMs) return [];
      return [{ blocker, relation: relationText(first) }];
    })
    .toSorted((a, b) => (a.blocker.key < b.blocker.key ? -1 : 1));
}

type Around = Readonly<{ people: ReadonlyMap<NodeKey, Session | Prepared>; locktypes: ReadonlySet<string> }>;

/** The direct waits; where the server does not say since when they last, the waiter's statement bounds it. */
function nearest(node: NodeKey, graph: WaitGraph, { people, locktypes }: Around): readonly LockWait[] {
  const direct: LockWait[] = [];
  graph.walk(node, locktypes, ({ waiter, wait }, depth) => {
    if (depth > 1) return true; // the nearest come first
    const person = people.get(waiter);
    const statementMs = person?.kind === "session" ? person.queryMs : null;
    direct.push({ ...wait, waitMs: wait.waitMs ?? statementMs });
    return false;
  });
  return direct;
}

function inTheWayMs(
  blocker: Session | Prepared,
  direct: readonly LockWait[],
  { subjectOf }: Pick<Look["evaluation"], "subjectOf">,
): number {
  // No rule has this name: only what the waits and the session itself show counts.
  if (blocker.kind === "session") return blockedMs("", subjectOf(blocker), direct) ?? 0;
  return Math.max(...direct.map(({ waitMs }) => atMost(waitMs ?? 0, blocker.ageMs)));
}
