import { unreachable } from "../core/unreachable.ts";
import type { Channel, Notice } from "./channel.ts";
import { subject } from "./text.ts";

/** What this folder needs of a logger. */
type Write = (fields: Readonly<Record<string, unknown>>, text: string) => void;
export type Log = Readonly<{ info: Write; warn: Write; error: Write }>;

/** Tells in the daemon's own log. */
export function logChannel(name: string, log: Log): Channel {
  return {
    name,
    deliver(notice) {
      log[level(notice)](fields(name, notice), subject(notice));
      return Promise.resolve({ kind: "delivered" });
    },
    close: () => Promise.resolve(),
  };
}

function level({ phase, outcome }: Notice): keyof Log {
  if (outcome === null) return phase === "opened" || phase === "changed" ? "warn" : "info";
  switch (outcome.kind) {
    case "survived":
    case "denied":
    case "failed":
    case "unknown":
      return "error";
    case "released":
    case "gone":
    case "changed":
      return "info";
    default:
      return unreachable(outcome.kind);
  }
}

/** Facts for programs; the logger writes them as JSON, so they need no cleaning. */
function fields(channel: string, notice: Notice): Readonly<Record<string, unknown>> {
  const { id, incident, phase, target, decision, outcome } = notice;
  const facts = { channel, notice: id, incident, phase, target };
  if (decision === null) return facts;
  const { victim } = decision.evidence;
  const who = victim.kind === "session" ? { pid: victim.pid, sessionId: victim.sessionId } : { gid: victim.gid };
  return {
    ...facts,
    ...who,
    user: victim.user,
    database: victim.database,
    rule: decision.rule,
    decision: decision.kind,
    action: decision.action,
    reason: decision.reason.code,
    waiters: decision.evidence.waiters.length,
    outcome: outcome?.kind ?? null,
  };
}
