import type { Snapshot } from "../../core/snapshot.ts";
import type { Look, ServerFacts } from "../engine.ts";
import type { Connection } from "./connection.ts";

export type ReaderOptions = Readonly<{
  connection: Connection;
  target: Readonly<{ name: string }>;
  facts: ServerFacts & Readonly<{ serverId: string }>;
  own: readonly string[];
}>;

export function createReader({ target }: ReaderOptions): {
  read(look: Look, signal: AbortSignal): Promise<Snapshot>;
} {
  return { read: () => Promise.reject(new Error(`${target.name} cannot be looked at yet`)) };
}
