import type { NodeKey } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";

/** One waiter behind a blocker, by the wait and the hop through which it was reached first. */
export type Behind = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean; depth: number }>;

/** Who waits for whom in one snapshot. */
export type WaitGraph = Readonly<{
  waitsOf(node: NodeKey): readonly LockWait[];
  /** Everybody behind it over waits of these lock types, nearest first, each once. */
  behind(node: NodeKey, locktypes: ReadonlySet<string>): readonly Behind[];
  /** Waits for nobody. */
  isRoot(node: NodeKey): boolean;
  /** Waits, in the end, for itself: the deadlock detector's business. */
  inCycle(node: NodeKey): boolean;
  /** Blockers that wait for nobody. */
  roots(): readonly NodeKey[];
}>;

type Hop = Readonly<{ wait: LockWait; soft: boolean }>;

export function waitGraph(snapshot: Snapshot): WaitGraph {
  const waitsOf = new Map<NodeKey, LockWait[]>();
  const waitersOf = new Map<NodeKey, Hop[]>();
  for (const wait of snapshot.waits ?? []) {
    push(waitsOf, wait.waiter, wait);
    for (const { node, soft } of wait.blockers) push(waitersOf, node, { wait, soft });
  }
  const behind = (node: NodeKey, locktypes: ReadonlySet<string> | null): Behind[] => {
    const found: Behind[] = [];
    const seen = new Set<NodeKey>([node]);
    let edge: readonly Readonly<{ node: NodeKey; depth: number }>[] = [{ node, depth: 0 }];
    while (edge.length > 0) {
      const next: { node: NodeKey; depth: number }[] = [];
      for (const { node: blocker, depth } of edge) {
        for (const { wait, soft } of waitersOf.get(blocker) ?? []) {
          if (seen.has(wait.waiter) || (locktypes !== null && !locktypes.has(wait.locktype))) continue;
          seen.add(wait.waiter);
          found.push({ waiter: wait.waiter, wait, blocker, soft, depth: depth + 1 });
          next.push({ node: wait.waiter, depth: depth + 1 });
        }
      }
      edge = next;
    }
    return found;
  };
  return {
    waitsOf: (node) => waitsOf.get(node) ?? [],
    behind,
    isRoot: (node) => !waitsOf.has(node),
    // A cycle leads from a waiter back to it: one of those behind it is what it waits for.
    inCycle: (node) => {
      const mine = new Set((waitsOf.get(node) ?? []).flatMap((wait) => wait.blockers.map((blocker) => blocker.node)));
      return mine.size > 0 && (mine.has(node) || behind(node, null).some(({ waiter }) => mine.has(waiter)));
    },
    roots: () => [...waitersOf.keys()].filter((node) => !waitsOf.has(node)),
  };
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
