import type { Ms, NodeKey, Prepared, Session } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";
import { type WaitGraph, waitGraph } from "./wait-graph.ts";

/** Stands for every blocker that cannot be seen or named. */
export const hiddenNode: NodeKey = "hidden";

/** One waits for the other: behind a hidden blocker it is `hiddenNode`. */
export type Edge = Readonly<{ waiter: NodeKey; blocker: NodeKey; soft: boolean; wait: LockWait }>;

/** A waiter as it is drawn under a blocker. */
export type Branch = Edge &
  Readonly<{
    /** Drawn here, with all that waits behind it; else only named, as it is drawn under another. */
    here: boolean;
    /** Who queues ahead of it for the same lock, beside the one who holds it. */
    ahead: readonly NodeKey[];
    /** The others that it waits for and that wait for it, when its blocker is one of them. */
    cycle: readonly NodeKey[];
  }>;

export type Root = Readonly<{
  /** `blocker` waits for nobody. `hidden` cannot be seen. `cycle`: nobody but its members holds them up. */
  kind: "blocker" | "hidden" | "cycle";
  node: NodeKey;
  /** Of a cycle; one alone waits for the workers of its own query. */
  members: readonly NodeKey[];
  /** Distinct sessions behind it, directly or not; the members of a cycle among them. */
  waiters: number;
  longestMs: Ms;
}>;

/** The wait-for forest of one look, biggest damage first. */
export type Forest = Readonly<{
  snapshot: Snapshot;
  /** Somebody waits, but who waits for whom was not read. */
  unread: boolean;
  /** Distinct sessions that wait, a parallel worker standing for its leader. */
  waiters: number;
  longestMs: Ms;
  roots: readonly Root[];
  /** Each with its members in the order of who waits for whom. */
  cycles: readonly (readonly NodeKey[])[];
  /** What is drawn under each root and waiter. */
  branches: ReadonlyMap<NodeKey, readonly Branch[]>;
  /** Under whom each waiter is drawn, and how many are drawn under each node, directly or not. */
  under: ReadonlyMap<NodeKey, NodeKey>;
  sizes: ReadonlyMap<NodeKey, number>;
  parties: ReadonlyMap<NodeKey, Session | Prepared>;
  /** Everything that is known of who waits for whom, the drawn and the undrawn. */
  edges: readonly Edge[];
}>;

/** Who waits behind whom, each session once: what a person is shown. No recursion: a chain may be as long as the server has sessions. */
export function treeOf(snapshot: Snapshot): Forest {
  const graph = waitGraph(snapshot);
  const edges = edgesOf(snapshot);
  const plants = plantsOf(edges, graph);
  const grown = grow(plants, edges, graph);
  const parties = new Map<NodeKey, Session | Prepared>();
  for (const one of [...snapshot.sessions, ...snapshot.prepared]) parties.set(one.key, one);
  return {
    snapshot,
    unread: snapshot.waits === null && snapshot.contended,
    waiters: new Set(edges.map(({ waiter }) => waiter)).size,
    longestMs: longest(edges.map(({ wait }) => wait)),
    cycles: [...new Set(edges.map(({ waiter }) => graph.cycle(waiter)))].filter((members) => members.length > 0),
    parties,
    edges,
    ...grown,
  };
}

function edgesOf(snapshot: Snapshot): readonly Edge[] {
  const leaders = new Map(snapshot.sessions.map(({ key, group }) => [key, group ?? key]));
  const nodeOf = (key: NodeKey) => leaders.get(key) ?? key;
  return (snapshot.waits ?? []).flatMap((wait): readonly Edge[] => {
    const waiter = nodeOf(wait.waiter);
    const seen = wait.blockers.map(({ node, soft }) => ({ waiter, blocker: nodeOf(node), soft, wait }));
    // Workers of one query may wait for each other. Such an edge is kept only where there is no other.
    const others = seen.filter(({ blocker }) => blocker !== waiter);
    const hidden = wait.hiddenBlocker ? [{ waiter, blocker: hiddenNode, soft: false, wait }] : [];
    const all = [...others, ...hidden];
    return all.length > 0 ? all : [{ waiter, blocker: waiter, soft: false, wait }];
  });
}

type Damage = Readonly<{ waiters: number; longestMs: Ms }>;
type Plant = Pick<Root, "kind" | "node" | "members"> & Damage;

/** Where trees may begin: at whoever blocks and does not wait, at members of cycles, at those who wait for nobody else. */
function plantsOf(edges: readonly Edge[], graph: WaitGraph): readonly Plant[] {
  const behind = groupBy(edges, ({ blocker }) => blocker);
  const waiting = new Set(edges.map(({ waiter }) => waiter));
  const plants = [...new Set(edges.map(({ blocker }) => blocker))].flatMap((node): readonly Plant[] => {
    if (!waiting.has(node)) {
      return [{ kind: node === hiddenNode ? "hidden" : "blocker", node, members: [], ...damage(node, behind) }];
    }
    const members = graph.cycle(node);
    const alone = (behind.get(node) ?? []).some(({ waiter }) => waiter === node);
    if (members.length === 0 && !alone) return [];
    return [{ kind: "cycle", node, members: members.length === 0 ? [node] : members, ...damage(node, behind) }];
  });
  return plants.toSorted(byDamage);
}

/** Everybody behind it; itself too, when it waits for itself over others. */
function damage(start: NodeKey, behind: ReadonlyMap<NodeKey, readonly Edge[]>): Damage {
  const reached = new Set<NodeKey>();
  const waits: LockWait[] = [];
  const queue = [start];
  for (const node of queue) {
    for (const { waiter, wait } of behind.get(node) ?? []) {
      waits.push(wait);
      if (reached.has(waiter)) continue;
      reached.add(waiter);
      queue.push(waiter);
    }
  }
  return { waiters: reached.size, longestMs: longest(waits) };
}

type Grown = Pick<Forest, "roots" | "branches" | "under" | "sizes">;

/** Each waiter is drawn under the first that reaches it. Cycles come last: most of them hang on a root. */
function grow(plants: readonly Plant[], edges: readonly Edge[], graph: WaitGraph): Grown {
  const drawn = groupBy(distinct(drawnEdges(edges)), ({ blocker }) => blocker);
  const branchOf = branching(edges, graph);
  const under = new Map<NodeKey, NodeKey>();
  const found = new Map<NodeKey, Branch[]>();
  const spread = (start: NodeKey) => {
    const queue = [start];
    for (const node of queue) {
      for (const edge of drawn.get(node) ?? []) {
        if (edge.waiter === node) continue;
        const here = !under.has(edge.waiter);
        push(found, node, branchOf(edge, here));
        if (!here) continue;
        under.set(edge.waiter, node);
        queue.push(edge.waiter);
      }
    }
  };
  const roots: Root[] = [];
  for (const plant of plants.filter(({ kind }) => kind !== "cycle")) {
    roots.push(plant);
    spread(plant.node);
  }
  for (const plant of plants.filter(({ kind }) => kind === "cycle")) {
    const entry = plant.members
      .flatMap((member) => drawn.get(member) ?? [])
      .find(({ waiter }) => waiter === plant.node);
    if (under.has(plant.node) || entry === undefined) continue;
    const node = `cycle ${plant.node}`;
    roots.push({ ...plant, node });
    under.set(plant.node, node);
    push(found, node, branchOf(entry, true));
    spread(plant.node);
  }
  const sizes = sizesOf(under);
  const branches = new Map(Array.from(found, ([node, own]) => [node, own.toSorted(bySize(sizes))]));
  return { roots: roots.toSorted(byDamage), branches, under, sizes };
}

/** Not drawn is who queues ahead for a lock that another holds: in the queue of a hot row that would be a line for each place. */
function drawnEdges(edges: readonly Edge[]): readonly Edge[] {
  const held = new Set(edges.filter(({ soft, blocker }) => !soft && blocker !== hiddenNode).map(({ wait }) => wait));
  return edges.filter(({ soft, wait }) => !soft || !held.has(wait));
}

/** Two workers of one query may wait for one blocker: one edge, the hard one, else the longest. */
function distinct(edges: readonly Edge[]): readonly Edge[] {
  const found = new Map<string, Edge>();
  for (const edge of edges) {
    const key = `${edge.waiter} ${edge.blocker}`;
    const known = found.get(key);
    if (known === undefined || weight(edge) > weight(known)) found.set(key, edge);
  }
  return [...found.values()];
}

function weight({ soft, wait }: Edge): number {
  return (soft ? 0 : 1e15) + (wait.waitMs ?? 0);
}

function branching(edges: readonly Edge[], graph: WaitGraph): (edge: Edge, here: boolean) => Branch {
  const softly = groupBy(
    edges.filter(({ soft }) => soft),
    ({ wait }) => wait,
  );
  return (edge, here) => {
    const { waiter, blocker, soft, wait } = edge;
    const members = graph.cycle(waiter);
    const closed = members.length > 0 && members === graph.cycle(blocker);
    const ahead = soft ? [] : (softly.get(wait) ?? []).map((one) => one.blocker);
    return { ...edge, here, ahead, cycle: closed ? members.filter((member) => member !== waiter) : [] };
  };
}

/** `under` lists whoever is above before those under it. */
function sizesOf(under: ReadonlyMap<NodeKey, NodeKey>): ReadonlyMap<NodeKey, number> {
  const sizes = new Map<NodeKey, number>();
  for (const [node, above] of [...under].toReversed()) {
    sizes.set(above, (sizes.get(above) ?? 0) + 1 + (sizes.get(node) ?? 0));
  }
  return sizes;
}

const { compare: byName } = new Intl.Collator("en", { numeric: true });

function byDamage(one: Plant, other: Plant): number {
  return other.waiters - one.waiters || (other.longestMs ?? -1) - (one.longestMs ?? -1) || byName(one.node, other.node);
}

/** Those drawn here first, biggest damage first, then the longest wait. */
function bySize(sizes: ReadonlyMap<NodeKey, number>): (one: Branch, other: Branch) => number {
  return (one, other) =>
    Number(other.here) - Number(one.here) ||
    Number(other.here) * (sizes.get(other.waiter) ?? 0) - Number(one.here) * (sizes.get(one.waiter) ?? 0) ||
    (other.wait.waitMs ?? -1) - (one.wait.waitMs ?? -1) ||
    byName(one.waiter, other.waiter);
}

function longest(waits: readonly LockWait[]): Ms {
  let most: Ms = null;
  for (const { waitMs } of waits) if (waitMs !== null && waitMs > (most ?? -1)) most = waitMs;
  return most;
}

function groupBy<K, V>(items: readonly V[], keyOf: (item: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const item of items) push(groups, keyOf(item), item);
  return groups;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
