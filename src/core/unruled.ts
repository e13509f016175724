import type { Decision } from "./decision.ts";
import type { Look } from "./judge.ts";
import { relationText } from "./relation.ts";
import type { NodeKey, Prepared, Session } from "./session.ts";

/** Shorter waits are what locks are for. */
const patienceMs = 5_000;

export type Unruled = Readonly<{ blocker: Session | Prepared; relation: string | null }>;

/** Roots that somebody has long been waiting behind and that no rule is about, in an order that stays the same. */
export function unruledRoots({ snapshot, evaluation }: Look, decisions: readonly Decision[]): readonly Unruled[] {
  if (snapshot.waits === null) return [];
  const ruled = new Set(decisions.map(({ evidence }) => evidence.victim.key));
  const people = new Map<NodeKey, Session | Prepared>(
    [...snapshot.sessions, ...snapshot.prepared].map((one) => [one.key, one]),
  );
  const locktypes = new Set(snapshot.waits.map(({ locktype }) => locktype));
  return evaluation.graph
    .roots()
    .flatMap((node): readonly Unruled[] => {
      const blocker = people.get(node);
      if (blocker === undefined || ruled.has(node)) return [];
      for (const { wait, depth } of evaluation.graph.behind(node, locktypes)) {
        if (depth > 1) break; // the nearest come first
        const waiter = people.get(wait.waiter);
        const statementMs = waiter?.kind === "session" ? waiter.queryMs : null;
        // Where the server does not say since when it waits, its statement bounds it.
        if ((wait.waitMs ?? statementMs ?? 0) >= patienceMs) return [{ blocker, relation: relationText(wait) }];
      }
      return [];
    })
    .toSorted((a, b) => (a.blocker.key < b.blocker.key ? -1 : 1));
}
