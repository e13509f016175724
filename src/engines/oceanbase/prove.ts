import type { Evidence, Proof } from "../../core/decision.ts";
import type { Connection } from "./connection.ts";

export function prove(_connection: Connection, _evidence: Evidence, _signal: AbortSignal): Promise<Proof> {
  return Promise.reject(new Error("nothing can be proved yet"));
}
