import type { NodeKey } from "./session.ts";
import type { LockWait, Snapshot } from "./snapshot.ts";

export type Behind = Readonly<{ waiter: NodeKey; wait: LockWait; blocker: NodeKey; soft: boolean; depth: number }>;

export type WaitGraph = Readonly<{
  waitsOf(node: NodeKey): readonly LockWait[];
  behind(node: NodeKey, locktypes: ReadonlySet<string>): readonly Behind[];
  isRoot(node: NodeKey): boolean;
  inCycle(node: NodeKey): boolean;
  roots(): readonly NodeKey[];
}>;

export declare function waitGraph(snapshot: Snapshot): WaitGraph;
