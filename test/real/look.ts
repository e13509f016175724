import type { Order } from "../../src/core/decision.ts";
import type { NodeKey, Session } from "../../src/core/session.ts";
import type { LockWait, Snapshot } from "../../src/core/snapshot.ts";
import type { Link } from "../../src/engines/engine.ts";
import { eventually } from "../support/eventually.ts";
import { patience } from "../support/targets.ts";

// A real server has sessions of others too: here everybody is looked up by the key of a session that the test opened.

export const look = (link: Link): Promise<Snapshot> => link.read({ sessions: "transactions", locks: true }, patience());

/** The first look in which each of them waits for somebody. */
export async function lookAtWaits(link: Link, ...waiters: readonly NodeKey[]): Promise<Snapshot> {
  return await eventually(`${waiters.join(", ")} wait`, async () => {
    const snapshot = await look(link);
    const waits = (key: NodeKey) => snapshot.waits?.some((wait) => wait.waiter === key && wait.blockers.length > 0);
    return waiters.every(waits) ? snapshot : null;
  });
}

export async function lookAtIdleHolder(link: Link, key: NodeKey): Promise<Snapshot> {
  return await eventually(`${key} is idle in its transaction`, async () => {
    const snapshot = await look(link);
    return snapshot.sessions.find((one) => one.key === key)?.state === "idle in transaction" ? snapshot : null;
  });
}

export function sessionAt(snapshot: Snapshot, key: NodeKey): Session {
  const found = snapshot.sessions.find((one) => one.key === key);
  if (found === undefined) throw new Error(`session ${key} is not in the snapshot`);
  return found;
}

export function waitAt(snapshot: Snapshot, key: NodeKey): LockWait {
  const found = snapshot.waits?.find((one) => one.waiter === key);
  if (found === undefined) throw new Error(`${key} waits for nothing in the snapshot`);
  return found;
}

export function blockersAt(snapshot: Snapshot, key: NodeKey, soft: boolean): readonly NodeKey[] {
  return waitAt(snapshot, key)
    .blockers.filter((blocker) => blocker.soft === soft)
    .map(({ node }) => node)
    .toSorted();
}

/** As a rule on the session alone orders it: its transaction and, while it is idle, its last change of state. */
export function orderAt(snapshot: Snapshot, key: NodeKey, action: Order["action"] = "terminate"): Order {
  const victim = sessionAt(snapshot, key);
  const idle = victim.state === "idle in transaction";
  return {
    action,
    evidence: { at: snapshot.at, serverId: snapshot.serverId, victim, holds: [], waits: [], waiters: [] },
    guard: { sinceState: idle, sinceQuery: false, blocks: null, waits: null, notMaintenance: true },
  };
}

/** As a rule on blockers orders it: who waits behind the victim is part of what is checked again. */
export function orderOnBlocker(snapshot: Snapshot, blocker: NodeKey, waiter: NodeKey): Order {
  const order = orderAt(snapshot, blocker);
  const wait = waitAt(snapshot, waiter);
  const { lock, mode, pid } = wait;
  const blockerPid = sessionAt(snapshot, blocker).pid ?? "";
  const edges = [{ waiterPid: pid ?? "", blockerPid, lock, mode, counts: true }];
  return {
    ...order,
    evidence: { ...order.evidence, waits: [wait], waiters: [sessionAt(snapshot, waiter)] },
    guard: { ...order.guard, blocks: { edges, waiters: 1 } },
  };
}

/** The same order against a transaction that the session does not have. */
export function onAnotherTransaction(order: Order, startedAt: string): Order {
  const { victim } = order.evidence;
  if (victim.kind !== "session" || victim.transaction.kind !== "open") throw new Error("the victim has no transaction");
  return {
    ...order,
    evidence: { ...order.evidence, victim: { ...victim, transaction: { ...victim.transaction, startedAt } } },
  };
}

/** Nothing of the victim is left, and nobody waits behind it any more. */
export async function isProved(link: Link, order: Order): Promise<void> {
  await eventually("the proof says that it is gone and that nobody waits behind it", async () => {
    const { alive, sameTransaction, stillBlocked } = await link.prove(order.evidence, patience());
    return !alive && !sameTransaction && stillBlocked.length === 0;
  });
}
