import { conflicts } from "../../../src/core/lock-mode.ts";
import type { NodeKey } from "../../../src/core/session.ts";
import type { LockWait } from "../../../src/core/snapshot.ts";
import { waitGraph } from "../../../src/core/wait-graph.ts";
import type { Left } from "./pool.ts";
import type { View } from "./server-view.ts";

/**
 * Why a soft edge may differ from what pg_blocking_pids says. All but `covered` come from the order of a lock's queue,
 * which the server shows nowhere:
 * covered      the server names everybody ahead; we draw the nearest, over whom the rest is reached.
 * unordered    before 14 nothing tells the order.
 * same-moment  two came at once: a session notes the moment only after it has been queued.
 * holder       one who holds the lock already was put ahead of a waiter whom it keeps out, and that one has left.
 * rearranged   the deadlock check has changed the order, as the server has said.
 */
export type Reason = "covered" | "unordered" | "same-moment" | "holder" | "rearranged";
export type Difference = Readonly<{
  waiter: NodeKey;
  blocker: NodeKey;
  /** We draw it and the server does not; or the other way round. */
  drawn: boolean;
  reason: Reason | null;
  text: string;
}>;

export type Circumstances = Readonly<{
  /** The server says when each wait began. */
  ordered: boolean;
  left: readonly Left[];
  /** When nobody was on the way into a queue. */
  settledAt: readonly string[];
  /** The server has said that the deadlock check has rearranged a queue. */
  rearranged: boolean;
}>;

export type Comparison = Readonly<{
  hard: number;
  soft: number;
  mistakes: readonly string[];
  differences: readonly Difference[];
}>;

type Waiter = Readonly<{ node: NodeKey; waits: readonly LockWait[]; said: ReadonlySet<string> }>;

/** Every edge of one look against every edge that the server names. */
export function compare({ snapshot, said }: View, circumstances: Circumstances): Comparison {
  const leaders = new Map(snapshot.sessions.map(({ key, group }) => [key, group ?? key]));
  const waiters = new Map<NodeKey, Waiter>();
  for (const wait of snapshot.waits ?? []) {
    const known = waiters.get(wait.waiter);
    const saidOf = new Set([...(said.get(wait.pid ?? "") ?? []), ...(known?.said ?? [])]);
    waiters.set(wait.waiter, { node: wait.waiter, waits: [...(known?.waits ?? []), wait], said: saidOf });
  }
  const mistakes: string[] = [];
  for (const pid of said.keys())
    if (!waiters.has(leaders.get(pid) ?? pid)) mistakes.push(`${pid} waits, and does not in the snapshot`);
  const differences: Difference[] = [];
  let hard = 0;
  let soft = 0;
  for (const waiter of waiters.values()) {
    const drawn = edgesOf(waiter);
    hard += drawn.hard.size;
    soft += drawn.soft.size;
    for (const wait of waiter.waits) if (wait.hiddenBlocker) mistakes.push(`${textOf(wait)} has a hidden blocker`);
    for (const one of drawn.hard)
      if (!waiter.said.has(one)) mistakes.push(`hard edge ${waiter.node} to ${one} is not the server's`);
    for (const one of drawn.soft)
      if (!waiter.said.has(one)) differences.push(orderOf(waiters, waiter.node, one, { circumstances, snapshot }));
    for (const one of waiter.said) {
      if (drawn.hard.has(one) || drawn.soft.has(one)) continue;
      if (!waitsForTheSame(waiters, waiter, one)) mistakes.push(`hard edge ${waiter.node} to ${one} is missing`);
      else if (reaches(waiters, waiter.node, one))
        differences.push({ waiter: waiter.node, blocker: one, drawn: false, reason: "covered", text: "" });
      else differences.push({ ...orderOf(waiters, one, waiter.node, { circumstances, snapshot }), drawn: false });
    }
  }
  if (differences.every(({ reason }) => reason === "covered")) mistakes.push(...shape({ snapshot, said }, waiters));
  return { hard, soft, mistakes, differences };
}

const plain = (node: NodeKey) => (node.startsWith("prepared/") ? "0" : node);

function edgesOf({ waits }: Waiter) {
  const all = waits.flatMap(({ blockers }) => blockers);
  const hard = new Set(all.filter((one) => !one.soft).map((one) => plain(one.node)));
  const soft = new Set(all.filter((one) => one.soft && !hard.has(plain(one.node))).map((one) => plain(one.node)));
  return { hard, soft };
}

function textOf({ waiter, pid, mode, lock, waitAt }: LockWait): string {
  return `${waiter}${pid === waiter ? "" : ` (its worker ${pid})`} for ${mode} on ${lock} since ${waitAt}`;
}

/** The wait of the other one for the same lock, in a mode that conflicts. */
function rival(waiters: ReadonlyMap<NodeKey, Waiter>, own: LockWait, other: NodeKey): LockWait | undefined {
  return waiters.get(other)?.waits.find((one) => one.lock === own.lock && conflicts(one.mode, own.mode));
}

function waitsForTheSame(waiters: ReadonlyMap<NodeKey, Waiter>, waiter: Waiter, other: NodeKey): boolean {
  return waiter.waits.some((own) => rival(waiters, own, other) !== undefined);
}

/** Over waiters for the same lock only. */
function reaches(waiters: ReadonlyMap<NodeKey, Waiter>, from: NodeKey, to: NodeKey): boolean {
  const locks = new Set(waiters.get(from)?.waits.map(({ lock }) => lock));
  const seen = new Set([from]);
  for (const node of seen) {
    for (const wait of waiters.get(node)?.waits ?? []) {
      if (!locks.has(wait.lock)) continue;
      for (const one of wait.blockers) seen.add(one.node);
    }
  }
  return seen.has(to);
}

type Known = Readonly<{ circumstances: Circumstances; snapshot: View["snapshot"] }>;

/** `ahead` is before `behind` by the server's word, and not by ours. */
function orderOf(waiters: ReadonlyMap<NodeKey, Waiter>, ahead: NodeKey, behind: NodeKey, known: Known): Difference {
  const difference = { waiter: ahead, blocker: behind, drawn: true };
  for (const first of waiters.get(ahead)?.waits ?? []) {
    const second = rival(waiters, first, behind);
    if (second === undefined) continue;
    const text = `${textOf(first)} is ahead of ${textOf(second)}; ${queueText(waiters, first.lock, known.snapshot)}`;
    if (known.circumstances.ordered && !waiters.get(behind)?.said.has(ahead)) break;
    return { ...difference, reason: reasonOf(first, second, known), text };
  }
  return { ...difference, reason: null, text: `${ahead} and ${behind} stand in no queue together` };
}

/** All that is known of one lock's queue. */
function queueText(waiters: ReadonlyMap<NodeKey, Waiter>, lock: string, { holds }: View["snapshot"]): string {
  const held = holds?.filter((hold) => hold.lock === lock).map(({ holder, mode }) => `${holder} holds ${mode}`) ?? [];
  const queued = [...waiters.values()].flatMap(({ waits, said }) =>
    waits
      .filter((wait) => wait.lock === lock)
      .map((wait) => `${textOf(wait)} behind ${[...said].join()}`)
      .toSorted(),
  );
  return [...held, ...queued].join("; ");
}

function reasonOf(ahead: LockWait, behind: LockWait, { circumstances, snapshot }: Known): Reason | null {
  const { ordered, left, settledAt, rearranged } = circumstances;
  if (!ordered) return "unordered";
  const holds = snapshot.holds?.some((hold) => hold.holder === ahead.waiter && hold.lock === ahead.lock) === true;
  if (holds && left.some(({ lock }) => lock === null || lock === ahead.lock)) return "holder";
  const [first = "", second = ""] = [ahead.waitAt ?? "", behind.waitAt ?? ""].toSorted();
  if (!settledAt.some((moment) => first < moment && moment < second)) return "same-moment";
  return rearranged ? "rearranged" : null;
}

/** Who is a root, who is in a cycle, and who stands behind whom, against the same made of the server's edges. */
function shape({ snapshot }: View, waiters: ReadonlyMap<NodeKey, Waiter>): readonly string[] {
  const graph = waitGraph(snapshot);
  const types = new Set((snapshot.waits ?? []).map(({ locktype }) => locktype));
  const mistakes: string[] = [];
  const behind = new Map<NodeKey, NodeKey[]>();
  for (const { node, said } of waiters.values())
    for (const one of said) behind.set(one, [...(behind.get(one) ?? []), node]);
  const roots = [...behind.keys()].filter((one) => !waiters.has(one)).toSorted();
  const drawnRoots = [...new Set(graph.roots().map(plain))].toSorted();
  if (roots.join() !== drawnRoots.join()) mistakes.push(`roots are ${drawnRoots.join()}, the server's ${roots.join()}`);
  for (const [node, first] of behind) {
    const all = new Set(first);
    for (const one of all) for (const next of behind.get(one) ?? []) all.add(next);
    if (graph.inCycle(node) !== all.has(node)) mistakes.push(`${node}: in a cycle is ${graph.inCycle(node)}`);
    all.delete(node);
    const drawn = new Set(Array.from(graph.behind(node, types), ({ waiter }) => waiter));
    if (node !== "0" && [...all].toSorted().join() !== [...drawn].toSorted().join())
      mistakes.push(`behind ${node} are ${[...drawn].join()}, the server's ${[...all].join()}`);
  }
  return mistakes;
}
