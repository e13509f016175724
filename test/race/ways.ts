import { randomUUID } from "node:crypto";
import type { ActDecision, Signal as Action } from "../../src/core/decision.ts";
import { unreachable } from "../../src/core/unreachable.ts";
import type { Link } from "../../src/engines/engine.ts";
import type { Opened } from "../../src/engines/postgres/open.ts";
import { execute, openGate } from "../../src/executor.ts";
import type { Journal } from "../../src/journal.ts";
import type { Way } from "./score.ts";

export type SignalDecision = ActDecision & { action: Action };

/** Sends it one way; true when the server says that it sent a signal. */
export type Send = (way: Way, decision: SignalDecision) => Promise<boolean>;

export type Wires = Readonly<{
  link: Link;
  /** As equal to the link's own as can be: same role, same settings. */
  bare: Opened;
  journal: Journal;
}>;

const bareSql = {
  cancel: "select pg_catalog.pg_cancel_backend($1::int4) as sent",
  terminate: "select pg_catalog.pg_terminate_backend($1::int4) as sent",
} as const;

export function sendOver(wires: Wires, signal: AbortSignal): Send {
  return (way, decision) => {
    switch (way) {
      case "guarded":
        return guarded(wires, decision, signal);
      case "by pid alone":
        return byPidAlone(wires, decision, signal);
      case "through the executor":
        return throughExecutor(wires, decision, signal);
      default:
        return unreachable(way);
    }
  };
}

async function guarded({ link }: Wires, { action, evidence, guard }: SignalDecision, signal: AbortSignal) {
  const sent = await link.act({ action, evidence, guard }, signal);
  if ("error" in sent) throw new Error(`expected a signal to be sent or not, got ${sent.kind}: ${sent.error}`);
  return sent.kind === "sent";
}

async function byPidAlone({ bare }: Wires, { action, evidence }: SignalDecision, signal: AbortSignal) {
  const { victim } = evidence;
  if (victim.kind !== "session" || action === "rollback-prepared") throw new Error("expected a session to signal");
  const [row] = await bare.query(bareSql[action], [victim.pid], signal);
  return row?.["sent"] === "t";
}

/** As the daemon does it: intent on disk, signal, proof, outcome on disk. */
async function throughExecutor({ link, journal }: Wires, decision: SignalDecision, signal: AbortSignal) {
  const carried = await execute(decision, {
    target: "app",
    link,
    write: journal.append,
    newId: randomUUID,
    now: () => new Date(),
    verifyMs: 2_000,
    probe: null,
    gate: openGate,
    alive: () => undefined,
    signal,
  });
  if ("spared" in carried) throw new Error("expected an outcome, as no rule has a probe");
  const { kind, text } = carried.outcome;
  if (kind === "denied" || kind === "failed" || kind === "unknown")
    throw new Error(`the executor says ${kind}: ${text}`);
  return kind === "released" || kind === "survived";
}
