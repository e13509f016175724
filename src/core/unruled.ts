import { atMost } from "./history.ts";
import type { Look } from "./judge.ts";
import { blockedMs } from "./lock-condition.ts";
import { relationText } from "./relation.ts";
import type { NodeKey, Prepared, Session } from "./session.ts";
import type { Behind } from "./wait-graph.ts";

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
      const direct = nearest(evaluation.graph.behind(node, locktypes), people);
      const [first] = direct;
      // Not how long others have queued: in a busy queue each of its holders has just begun to hold.
      if (first === undefined || inTheWayMs(blocker, direct, evaluation) < patienceMs) return [];
      return [{ blocker, relation: relationText(first.wait) }];
    })
    .toSorted((a, b) => (a.blocker.key < b.blocker.key ? -1 : 1));
}

/** The direct waiters; where the server does not say since when they wait, their statement bounds it. */
function nearest(behind: Iterable<Behind>, people: ReadonlyMap<NodeKey, Session | Prepared>): readonly Behind[] {
  const direct: Behind[] = [];
  for (const one of behind) {
    if (one.depth > 1) break; // the nearest come first
    const waiter = people.get(one.waiter);
    const statementMs = waiter?.kind === "session" ? waiter.queryMs : null;
    direct.push({ ...one, wait: { ...one.wait, waitMs: one.wait.waitMs ?? statementMs } });
  }
  return direct;
}

function inTheWayMs(
  blocker: Session | Prepared,
  direct: readonly Behind[],
  { subjectOf }: Pick<Look["evaluation"], "subjectOf">,
): number {
  // No rule has this name: only what the waits and the session itself show counts.
  if (blocker.kind === "session") return blockedMs("", subjectOf(blocker), direct) ?? 0;
  return Math.max(...direct.map(({ wait }) => atMost(wait.waitMs ?? 0, blocker.ageMs)));
}
