import type { NodeKey } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";

/** Somebody behind a blocker, and the wait and the blocker through which it was reached. */
export type Behind = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean; depth: number }>;

/** Who waits for whom in one snapshot. A parallel worker stands for its leader, whichever of the two is asked for. */
export type WaitGraph = Readonly<{
  waitsOf(node: NodeKey): readonly LockWait[];
  /** Everybody behind it over waits of these lock types, nearest first, each once, by the wait and the blocker through which it was reached. */
  behind(node: NodeKey, locktypes: ReadonlySet<string>): Iterable<Behind>;
  /** Everybody that waits. */
  waiters(): Iterable<NodeKey>;
  /** Is one of these behind the node over waits of these lock types? Linear in the snapshot for all nodes together. */
  aheadOf(waiters: Iterable<NodeKey>, locktypes: ReadonlySet<string>): (node: NodeKey) => boolean;
  /** Is in the snapshot and waits for nobody, whatever the lock type. Nobody is, when somebody waits but who was not read. */
  isRoot(node: NodeKey): boolean;
  /** Waits, over others, for itself: the server's deadlock detector will end it. */
  inCycle(node: NodeKey): boolean;
  /** Everybody who waits, over others, for each other together with it; nobody when it is in no cycle. */
  cycle(node: NodeKey): readonly NodeKey[];
  /** Those who block somebody and wait for nobody. */
  roots(): readonly NodeKey[];
}>;

type Edge = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean }>;
type Edges = ReadonlyMap<NodeKey, readonly Edge[]>;

/** Linear in the snapshot to build; `behind` is linear in what is taken of it. */
export function waitGraph(snapshot: Snapshot): WaitGraph {
  const leaders = new Map<NodeKey, NodeKey>();
  const present = new Set<NodeKey>(snapshot.prepared.map((one) => one.key));
  for (const { key, group } of snapshot.sessions) {
    present.add(key);
    if (group !== null) leaders.set(key, group);
  }
  const nodeOf = leaders.size === 0 ? (key: NodeKey) => key : (key: NodeKey) => leaders.get(key) ?? key;
  const waits = new Map<NodeKey, LockWait[]>();
  for (const wait of snapshot.waits ?? []) push(waits, nodeOf(wait.waiter), wait);

  const behindOf = once(() => edgesBy(waits, nodeOf));
  const cyclic = once(() => nodesInCycles(waits, nodeOf));
  const unread = snapshot.waits === null && snapshot.contended;
  const isRoot = (node: NodeKey) => !unread && present.has(nodeOf(node)) && !waits.has(nodeOf(node));
  return {
    waitsOf: (node) => waits.get(nodeOf(node)) ?? [],
    behind: (node, locktypes) => {
      const start = nodeOf(node);
      return behindOf().has(start) ? breadthFirst(start, behindOf(), locktypes) : [];
    },
    waiters: () => waits.keys(),
    aheadOf: (waiters, locktypes) => {
      const ahead = allAhead(waiters, locktypes, waits, nodeOf);
      return (node) => ahead.has(nodeOf(node));
    },
    isRoot,
    inCycle: (node) => waits.has(nodeOf(node)) && cyclic().has(nodeOf(node)),
    cycle: (node) => cyclic().get(nodeOf(node)) ?? [],
    roots: () => [...behindOf().keys()].filter(isRoot),
  };
}

/** The same graph, which walks only once for each node and kind of locks: for whoever asks the same again and again. */
export function remembering(graph: WaitGraph): WaitGraph {
  const known = new Map<string, readonly Behind[]>();
  return {
    ...graph,
    behind: (node, locktypes) => {
      const question = JSON.stringify([node, ...[...locktypes].toSorted()]);
      const before = known.get(question);
      if (before !== undefined) return before;
      const found = [...graph.behind(node, locktypes)];
      known.set(question, found);
      return found;
    },
  };
}

/** Every edge, by its blocker. */
function edgesBy(waits: ReadonlyMap<NodeKey, readonly LockWait[]>, nodeOf: (key: NodeKey) => NodeKey): Edges {
  const edges = new Map<NodeKey, Edge[]>();
  for (const [waiter, own] of waits) {
    for (const wait of own) {
      for (const { node, soft } of wait.blockers) {
        const blocker = nodeOf(node);
        // Workers of one query may wait for each other (to extend a table, say): nobody else can help there.
        if (blocker !== waiter) push(edges, blocker, { waiter, wait, blocker, soft });
      }
    }
  }
  return edges;
}

function allAhead(
  waiters: Iterable<NodeKey>,
  locktypes: ReadonlySet<string>,
  waits: ReadonlyMap<NodeKey, readonly LockWait[]>,
  nodeOf: (key: NodeKey) => NodeKey,
): ReadonlySet<NodeKey> {
  const ahead = new Set<NodeKey>();
  const left = Array.from(waiters, nodeOf);
  for (let waiter = left.pop(); waiter !== undefined; waiter = left.pop()) {
    for (const { locktype, blockers } of waits.get(waiter) ?? []) {
      if (!locktypes.has(locktype)) continue;
      for (const { node } of blockers) {
        const blocker = nodeOf(node);
        if (ahead.has(blocker)) continue;
        ahead.add(blocker);
        left.push(blocker);
      }
    }
  }
  return ahead;
}

function* breadthFirst(start: NodeKey, edges: Edges, locktypes: ReadonlySet<string>): Generator<Behind> {
  const seen = new Set([start]);
  let layer: readonly NodeKey[] = [start];
  for (let depth = 1; layer.length > 0; depth++) {
    const next: NodeKey[] = [];
    for (const node of layer) {
      for (const { waiter, wait, blocker, soft } of edges.get(node) ?? []) {
        if (seen.has(waiter) || !locktypes.has(wait.locktype)) continue;
        seen.add(waiter);
        next.push(waiter);
        yield { waiter, wait, blocker, soft, depth };
      }
    }
    layer = next;
  }
}

type Visit = { node: NodeKey; next: number; targets: readonly NodeKey[] };

/** Tarjan's strongly connected components, without recursion: a chain may be as long as the server has sessions. */
function nodesInCycles(
  waits: ReadonlyMap<NodeKey, readonly LockWait[]>,
  nodeOf: (key: NodeKey) => NodeKey,
): ReadonlyMap<NodeKey, readonly NodeKey[]> {
  const order = new Map<NodeKey, number>();
  const low = new Map<NodeKey, number>();
  const open: NodeKey[] = [];
  const isOpen = new Set<NodeKey>();
  const cyclic = new Map<NodeKey, readonly NodeKey[]>();
  const path: Visit[] = [];

  const lower = (node: NodeKey, to: number) => low.set(node, Math.min(low.get(node) ?? to, to));
  const enter = (node: NodeKey) => {
    order.set(node, order.size);
    lower(node, order.size - 1);
    open.push(node);
    isOpen.add(node);
    const targets = (waits.get(node) ?? []).flatMap((wait) => wait.blockers.map((blocker) => nodeOf(blocker.node)));
    path.push({ node, next: 0, targets });
  };
  const leave = ({ node }: Visit) => {
    path.pop();
    const parent = path.at(-1);
    if (parent !== undefined) lower(parent.node, low.get(node) ?? 0);
    if (low.get(node) !== order.get(node)) return;
    const component = open.splice(open.lastIndexOf(node));
    for (const member of component) {
      isOpen.delete(member);
      if (component.length > 1) cyclic.set(member, component);
    }
  };

  for (const start of waits.keys()) {
    if (!order.has(start)) enter(start);
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const target = visit.targets[visit.next++];
      if (target === undefined) leave(visit);
      else if (!order.has(target)) enter(target);
      else if (isOpen.has(target)) lower(visit.node, order.get(target) ?? 0);
    }
  }
  return cyclic;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

function once<T>(compute: () => T): () => T {
  let value: { of: T } | null = null;
  return () => (value ??= { of: compute() }).of;
}
