import type { Order, Sent } from "../../core/decision.ts";
import type { Connection } from "./connection.ts";

export function act(_connection: Connection, _order: Order, _signal: AbortSignal): Promise<Sent> {
  return Promise.resolve({ kind: "failed", error: "nothing can be sent yet" });
}
