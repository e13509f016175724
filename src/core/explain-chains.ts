import type { Explanation } from "./explanation.ts";
import type { NodeKey, Prepared, Session } from "./session.ts";
import type { NameOf } from "./standing.ts";
import type { WaitGraph } from "./wait-graph.ts";

/** So many of those who only wait are told of each chain, unless all are asked for: the others are much like them. */
const mostOfOneChain = 5;

type One = Session | Prepared;

/** Leaves out of each chain most of those who only wait; `behind` says how many, and at whom their chain ends. */
export function foldChains(
  ranked: readonly One[],
  { graph, nameOf, onlyWaits }: Readonly<{ graph: WaitGraph; nameOf: NameOf; onlyWaits(one: One): boolean }>,
): Readonly<{ listed: readonly One[]; behind: Explanation["rest"]["behind"] }> {
  const endOf = chainEnds(graph);
  const waiters = new Map<NodeKey, number>();
  const listed = ranked.filter((one) => {
    if (!onlyWaits(one)) return true;
    const end = endOf(one.key);
    const number = (waiters.get(end) ?? 0) + 1;
    waiters.set(end, number);
    return number <= mostOfOneChain;
  });
  const behind = Array.from(waiters, ([end, number]) => ({
    root: end === hiddenEnd ? "somebody who cannot be seen" : nameOf(end),
    sessions: number - mostOfOneChain,
  }));
  return { listed, behind: behind.filter(({ sessions }) => sessions > 0) };
}

const hiddenEnd: NodeKey = "hidden";

/** At whom the chain ends in which somebody waits, over the first that holds what it waits for. Linear for all together. */
function chainEnds(graph: WaitGraph): (node: NodeKey) => NodeKey {
  const known = new Map<NodeKey, NodeKey>();
  return (node) => {
    const path = new Set<NodeKey>();
    let at = node;
    for (let next: NodeKey | null = at; next !== null && !known.has(at) && !path.has(at); ) {
      path.add(at);
      next = aboveOf(at, graph);
      at = next ?? at;
    }
    const end = known.get(at) ?? at;
    for (const one of path) known.set(one, end);
    return end;
  };
}

function aboveOf(node: NodeKey, graph: WaitGraph): NodeKey | null {
  const [wait] = graph.waitsOf(node);
  if (wait === undefined) return null;
  const [first] = wait.blockers;
  const holder = wait.blockers.find(({ soft }) => !soft) ?? first;
  return holder?.node ?? (wait.hiddenBlocker ? hiddenEnd : null);
}
