import { once } from "./once.ts";
import type { NodeKey } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";

/** Somebody behind a blocker, and the wait and the blocker through which it was reached. */
export type Behind = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean; depth: number }>;

/** True: enough. It asks the graph nothing meanwhile. */
export type Visit = (hop: Omit<Behind, "depth">, depth: number) => boolean;

/** Who waits for whom in one snapshot. A parallel worker stands for its leader, whichever of the two is asked for. */
export type WaitGraph = Readonly<{
  waitsOf(node: NodeKey): readonly LockWait[];
  /** Goes to everybody behind it over waits of these lock types, nearest first, each once, by the wait and the blocker through which it was reached. */
  walk(node: NodeKey, locktypes: ReadonlySet<string>, visit: Visit): void;
  /** Everybody that `walk` goes to, or only the first `most`. */
  behind(node: NodeKey, locktypes: ReadonlySet<string>, most?: number): readonly Behind[];
  /** Everybody that waits. */
  waiters(): Iterable<NodeKey>;
  /** Is one of these behind the node over waits of these lock types (null: any)? Linear in the snapshot for all nodes together. */
  aheadOf(waiters: Iterable<NodeKey>, locktypes: ReadonlySet<string> | null): (node: NodeKey) => boolean;
  /** Is in the snapshot and waits for nobody, whatever the lock type. Nobody is, when somebody waits but who was not read. */
  isRoot(node: NodeKey): boolean;
  /** Waits, over others, for itself: the server's deadlock detector will end it. */
  inCycle(node: NodeKey): boolean;
  /** Everybody who waits, over others, for each other together with it; nobody when it is in no cycle. */
  cycle(node: NodeKey): readonly NodeKey[];
  /** Those who block somebody and wait for nobody. */
  roots(): readonly NodeKey[];
}>;

/** `from` and `to` are the places of the waiter and the blocker: a walk marks places, which is much cheaper than a set of names. */
type Edge = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean; from: number; to: number }>;

/** Everybody who waits or blocks has a place. The edges from a place stand side by side; `behind` lists those to it. */
type Edges = Readonly<{
  places: ReadonlyMap<NodeKey, number>;
  nodes: readonly NodeKey[];
  edges: readonly Edge[];
  /** The edges from a place: from here, as far as the next one's. */
  ahead: Int32Array;
  behind: Lists;
}>;

/** For each place a list of edges by their index, all in one array: a list of its own for each would fill the memory. */
type Lists = Readonly<{ starts: Int32Array; items: Int32Array }>;

const noWaits: readonly LockWait[] = [];

/** Linear in the snapshot to build; `walk` is linear in what is taken of it. */
export function waitGraph(snapshot: Snapshot): WaitGraph {
  const leaders = new Map<NodeKey, NodeKey>();
  for (const { key, group } of snapshot.sessions) if (group !== null) leaders.set(key, group);
  const nodeOf = leaders.size === 0 ? (key: NodeKey) => key : (key: NodeKey) => leaders.get(key) ?? key;
  const waits = new Map<NodeKey, LockWait[]>();
  for (const wait of snapshot.waits ?? []) push(waits, nodeOf(wait.waiter), wait);

  const edges = once(() => edgesOf(waits, nodeOf));
  const walker = once(() => walkerOf(edges()));
  const cyclic = once(() => nodesInCycles(edges()));
  const present = once(() => new Set([...snapshot.sessions, ...snapshot.prepared].map(({ key }) => key)));
  const unread = snapshot.waits === null && snapshot.contended;
  const isRoot = (node: NodeKey) => !unread && !waits.has(nodeOf(node)) && present().has(nodeOf(node));
  const walk: WaitGraph["walk"] = (node, locktypes, visit) => {
    const place = edges().places.get(nodeOf(node));
    if (place !== undefined) walker()(place, locktypes, visit);
  };
  return {
    waitsOf: (node) => waits.get(nodeOf(node)) ?? noWaits,
    walk,
    behind: (node, locktypes, most) => firstOf(walk, node, locktypes, most),
    waiters: () => waits.keys(),
    aheadOf: (waiters, locktypes) => {
      const { places } = edges();
      const starts = Array.from(waiters, (waiter) => places.get(nodeOf(waiter)));
      const ahead = allAhead(starts, locktypes, edges());
      return (node) => ahead[places.get(nodeOf(node)) ?? -1] === 1;
    },
    isRoot,
    inCycle: (node) => waits.has(nodeOf(node)) && cyclic().has(nodeOf(node)),
    cycle: (node) => cyclic().get(nodeOf(node)) ?? [],
    roots: () => blockersOf(edges()).filter(isRoot),
  };
}

/** The same graph, which walks only once for each node and kind of locks: for whoever asks the same again and again. */
export function remembering(graph: WaitGraph): WaitGraph {
  const known = new Map<string, readonly Behind[]>();
  const all = (node: NodeKey, locktypes: ReadonlySet<string>) => {
    const question = JSON.stringify([node, ...[...locktypes].toSorted()]);
    const before = known.get(question);
    if (before !== undefined) return before;
    const found = graph.behind(node, locktypes);
    known.set(question, found);
    return found;
  };
  return {
    ...graph,
    walk: (node, locktypes, visit) => {
      for (const hop of all(node, locktypes)) if (visit(hop, hop.depth)) return;
    },
    behind: (node, locktypes, most) => all(node, locktypes).slice(0, most),
  };
}

function firstOf(
  walk: WaitGraph["walk"],
  node: NodeKey,
  locktypes: ReadonlySet<string>,
  most = Number.POSITIVE_INFINITY,
): readonly Behind[] {
  const found: Behind[] = [];
  walk(node, locktypes, ({ waiter, wait, blocker, soft }, depth) => {
    found.push({ waiter, wait, blocker, soft, depth });
    return found.length >= most;
  });
  return found;
}

function edgesOf(waits: ReadonlyMap<NodeKey, readonly LockWait[]>, nodeOf: (key: NodeKey) => NodeKey): Edges {
  const places = new Map<NodeKey, number>();
  // Who waits comes first, so that their edges are in the order of their places.
  for (const waiter of waits.keys()) places.set(waiter, places.size);
  const edges: Edge[] = [];
  const ahead: number[] = [];
  for (const [waiter, own] of waits) {
    const from = ahead.push(edges.length) - 1;
    for (const wait of own) {
      for (const { node, soft } of wait.blockers) {
        const blocker = nodeOf(node);
        // Workers of one query may wait for each other (to extend a table, say): nobody else can help there.
        if (blocker === waiter) continue;
        const to = places.get(blocker) ?? places.size;
        if (to === places.size) places.set(blocker, to);
        edges.push({ waiter, wait, blocker, soft, from, to });
      }
    }
  }
  const ends = new Int32Array(places.size + 1).fill(edges.length);
  ends.set(ahead);
  return { places, nodes: [...places.keys()], edges, ahead: ends, behind: listsByBlocker(edges, places.size) };
}

function listsByBlocker(edges: readonly Edge[], size: number): Lists {
  const starts = new Int32Array(size + 1);
  for (const { to } of edges) starts[to + 1] = (starts[to + 1] ?? 0) + 1;
  for (let at = 0; at < size; at++) starts[at + 1] = (starts[at + 1] ?? 0) + (starts[at] ?? 0);
  const next = starts.slice();
  const items = new Int32Array(edges.length);
  for (const [index, { to }] of edges.entries()) {
    const at = next[to] ?? 0;
    items[at] = index;
    next[to] = at + 1;
  }
  return { starts, items };
}

/** In the order in which they first block somebody. */
function blockersOf({ edges }: Edges): readonly NodeKey[] {
  return [...new Set(edges.map(({ blocker }) => blocker))];
}

function allAhead(
  starts: readonly (number | undefined)[],
  locktypes: ReadonlySet<string> | null,
  { edges, ahead, nodes }: Edges,
): Uint8Array {
  const found = new Uint8Array(nodes.length);
  const left = starts.filter((place) => place !== undefined);
  for (let place = left.pop(); place !== undefined; place = left.pop()) {
    const end = ahead[place + 1] ?? 0;
    for (let at = ahead[place] ?? 0; at < end; at++) {
      const edge = edges[at];
      if (edge === undefined || found[edge.to] === 1) continue;
      if (locktypes !== null && !locktypes.has(edge.wait.locktype)) continue;
      found[edge.to] = 1;
      left.push(edge.to);
    }
  }
  return found;
}

/** Breadth first. Whom the current walk has seen is marked with its number, so that nothing has to be cleared for the next one. */
function walkerOf({ edges, behind: { starts, items }, nodes }: Edges) {
  const seen = new Uint32Array(nodes.length);
  const queue = new Int32Array(nodes.length);
  let walks = 0;
  return (start: number, locktypes: ReadonlySet<string>, visit: Visit): void => {
    const walk = ++walks;
    seen[start] = walk;
    queue[0] = start;
    let length = 1;
    let depth = 0;
    let layerEnd = 0;
    for (let next = 0; next < length; next++) {
      if (next === layerEnd) {
        depth++;
        layerEnd = length;
      }
      const place = queue[next] ?? 0;
      const end = starts[place + 1] ?? 0;
      for (let at = starts[place] ?? 0; at < end; at++) {
        const edge = edges[items[at] ?? 0];
        if (edge === undefined || seen[edge.from] === walk || !locktypes.has(edge.wait.locktype)) continue;
        seen[edge.from] = walk;
        queue[length++] = edge.from;
        if (visit(edge, depth)) return;
      }
    }
  };
}

type Place = { place: number; next: number; end: number };

/** Tarjan's strongly connected components, without recursion: a chain may be as long as the server has sessions. */
function nodesInCycles({ nodes, edges, ahead }: Edges): ReadonlyMap<NodeKey, readonly NodeKey[]> {
  const order = new Int32Array(nodes.length).fill(-1);
  const low = new Int32Array(nodes.length);
  const isOpen = new Uint8Array(nodes.length);
  const open: number[] = [];
  const path: Place[] = [];
  const cyclic = new Map<NodeKey, readonly NodeKey[]>();
  let entered = 0;

  const lower = (place: number, to: number) => {
    low[place] = Math.min(low[place] ?? to, to);
  };
  const enter = (place: number) => {
    order[place] = low[place] = entered++;
    isOpen[place] = 1;
    open.push(place);
    path.push({ place, next: ahead[place] ?? 0, end: ahead[place + 1] ?? 0 });
  };
  const leave = ({ place }: Place) => {
    path.pop();
    const parent = path.at(-1);
    if (parent !== undefined) lower(parent.place, low[place] ?? 0);
    if (low[place] !== order[place]) return;
    const component = open.splice(open.lastIndexOf(place));
    for (const member of component) isOpen[member] = 0;
    if (component.length === 1) return;
    const names = component.map((member) => nodes[member] ?? "");
    for (const name of names) cyclic.set(name, names);
  };

  for (const start of nodes.keys()) {
    if (order[start] === -1) enter(start);
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const target = visit.next < visit.end ? edges[visit.next++]?.to : undefined;
      if (target === undefined) leave(visit);
      else if (order[target] === -1) enter(target);
      else if (isOpen[target] === 1) lower(visit.place, order[target] ?? 0);
    }
  }
  return cyclic;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
