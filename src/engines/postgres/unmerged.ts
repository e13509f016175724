import type { Evidence, Order, Proof, Sent } from "../../core/decision.ts";
import type { Snapshot } from "../../core/snapshot.ts";
import type { Look } from "../engine.ts";
import type { Connection } from "./connection.ts";
import type { Server } from "./set-up.ts";

// The three functions that read, act and prove, as index.ts calls them.

export type ReaderSource = Readonly<{
  connection: Connection;
  target: Readonly<{ name: string }>;
  facts: Server;
  openOther(database: string, signal: AbortSignal): Promise<Connection>;
  /** Lockwarden's own sessions on this link. */
  ownPids: readonly string[];
}>;

export function createReader(_source: ReaderSource): (look: Look, signal: AbortSignal) => Promise<Snapshot> {
  return () => Promise.reject(new Error("read is not there yet"));
}

export function act(_connection: Connection, _order: Order, _signal: AbortSignal): Promise<Sent> {
  return Promise.reject(new Error("act is not there yet"));
}

export function prove(_connection: Connection, _evidence: Evidence, _signal: AbortSignal): Promise<Proof> {
  return Promise.reject(new Error("prove is not there yet"));
}
