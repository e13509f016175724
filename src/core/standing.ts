import type { Standing } from "./explanation.ts";
import { relationText } from "./relation.ts";
import { handleOf, type NodeKey, type Session } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";
import type { WaitGraph } from "./wait-graph.ts";

/** Names whoever waits or blocks: the pid, what people name a session without one by, or a prepared transaction's gid. */
export type NameOf = (node: NodeKey) => string;

export function namesIn(snapshot: Snapshot): NameOf {
  const names = new Map<NodeKey, string>();
  for (const { key, gid } of snapshot.prepared) names.set(key, `prepared transaction ${gid}`);
  for (const session of snapshot.sessions) names.set(session.key, session.pid ?? handleOf(session));
  return (node) => names.get(node) ?? "somebody unseen";
}

/** Where this session, or prepared transaction, stands among those who wait. */
export function standingOf(
  node: NodeKey,
  { snapshot, graph, nameOf }: Readonly<{ snapshot: Snapshot; graph: WaitGraph; nameOf: NameOf }>,
): Standing {
  const anyType = new Set((snapshot.waits ?? []).map(({ locktype }) => locktype));
  const behind = [...graph.behind(node, anyType)];
  const direct = behind.filter(({ depth }) => depth === 1);
  const ages = direct.map(({ wait }) => wait.waitMs).filter((ms) => ms !== null);
  const [nearest] = direct;
  const waits = graph.waitsOf(node);
  return {
    kind: kindOf(node, { snapshot, graph, blocks: behind.length }),
    blocks: behind.length,
    relation: nearest === undefined ? null : relationText(nearest.wait),
    blocksMs: ages.length === 0 ? null : Math.max(...ages),
    waits: waits.map((wait) => ({
      mode: wait.mode,
      locktype: wait.locktype,
      relation: relationText(wait),
      waitMs: wait.waitMs,
      blockers: [...new Set(wait.blockers.map((blocker) => nameOf(blocker.node)))],
      hiddenBlocker: wait.hiddenBlocker,
    })),
    roots: rootsAbove(node, graph).map(nameOf),
  };
}

function kindOf(
  node: NodeKey,
  { snapshot, graph, blocks }: Readonly<{ snapshot: Snapshot; graph: WaitGraph; blocks: number }>,
): Standing["kind"] {
  if (snapshot.waits === null && snapshot.contended) return "unread";
  if (graph.inCycle(node)) return "cycle";
  if (graph.waitsOf(node).length > 0) return "waiter";
  return blocks > 0 ? "root" : "free";
}

/** Whoever stands at the end of the chain that this one waits in. */
function rootsAbove(node: NodeKey, graph: WaitGraph): readonly NodeKey[] {
  const seen = new Set([node]);
  const roots: NodeKey[] = [];
  for (const at of seen) {
    if (at !== node && graph.isRoot(at)) roots.push(at);
    for (const wait of graph.waitsOf(at)) for (const blocker of wait.blockers) seen.add(blocker.node);
  }
  return roots;
}

/** `behind 4711, the root` or `behind 4711 (the root is 4702)`. */
export function behindText({ waits, roots }: Standing): string {
  const blockers = [...new Set(waits.flatMap((wait) => wait.blockers))];
  const unseen = waits.some(({ hiddenBlocker }) => hiddenBlocker) ? ["somebody who cannot be seen"] : [];
  const direct = few([...blockers, ...unseen]);
  const [first = ""] = roots;
  const same = roots.length === 1 && blockers.length === 1 && blockers.includes(first);
  const root = same ? ", the root" : roots.length === 0 ? "" : ` (the root is ${few(roots)})`;
  return `behind ${direct === "" ? "somebody" : direct}${root}`;
}

/** Why a rule about roots is not about it. */
export function waitingText(standing: Standing): string {
  return standing.kind === "cycle"
    ? `is part of a deadlock, which the server itself ends: waits ${behindText(standing)}`
    : `waits itself ${behindText(standing)}`;
}

const mostNames = 5;

/** `1, 2 and 7 more`. */
export function few(names: readonly string[]): string {
  const more = names.length - mostNames;
  if (more > 0) return `${names.slice(0, mostNames).join(", ")} and ${more} more`;
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} and ${last}`;
}

/** Why no rule is ever about this session; null when rules are. */
export function neverText(session: Session, nameOf: NameOf, judgeable: boolean): string | null {
  if (session.group !== null) return `it is a parallel worker of ${nameOf(session.group)}, and judged as that one`;
  if (session.own) return "it is one of Lockwarden's own sessions";
  if (session.role === "unknown" || (session.role === "client" && !judgeable))
    return (
      "its state and transaction do not show, as the server does not track them, or our role may not see them (lockwarden check says what is missing); " +
      "what is unknown is spared"
    );
  return session.role === "client" ? null : `it is no client but ${session.backendType ?? "a process of the server"}`;
}
