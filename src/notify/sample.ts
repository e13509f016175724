import type { Decision } from "../core/decision.ts";
import { describedSession, describedWait, type Since } from "../core/described.ts";
import type { Session } from "../core/session.ts";
import type { Notice } from "./channel.ts";

// Everybody in it is invented, and says so: it may be read on a telephone at night.

function session(pid: string, since: Omit<Since, "connectedMs">, atMs: number): Session {
  const said = {
    pid,
    user: "sample_user",
    database: "sample",
    application: "sample-login-service",
    client: "192.0.2.1",
    query: "update sample set seen = now() where id = $1",
    has_written: pid === "1",
  };
  const seen = describedSession(said, { ...since, connectedMs: atMs - 3_600_000 }, atMs, false);
  return { ...seen, identity: "sample", sessionId: `sample.${pid}` };
}

function decision(atMs: number): Decision {
  const idle = { state: "idle in transaction", stateMs: atMs - 192_000, queryMs: atMs - 192_000 } as const;
  const victim = session("1", { ...idle, transactionMs: atMs - 200_000 }, atMs);
  const sinceMs = atMs - 45_000;
  const waiter = session("2", { state: "active", stateMs: sinceMs, queryMs: sinceMs, transactionMs: sinceMs }, atMs);
  const said = { on: ["1"], table: ["public.sample"] };
  const wait = describedWait("2", "sample", { said, sinceMs, blockers: [{ node: "1", soft: false }] }, atMs);
  const at = new Date(atMs).toISOString();
  const evidence = { at, serverId: "sample", victim, holds: [], waits: [wait], waiters: [waiter] };
  const reason = { code: "matched", text: "idle in transaction for 3 min 12 s (at least 30 s)", facts: {} };
  const guard = { sinceState: true, sinceQuery: false, blocks: null, waits: null, notMaintenance: true };
  const judged = { incident: "sample", rule: "sample", config: "sample", evidence, reason, step: 0 } as const;
  return { ...judged, action: "terminate", kind: "act", guard };
}

/** What a person would be told of a stuck login that was freed; nobody was. */
export function sampleNotice(id: string, now: Date): Notice {
  return {
    id,
    incident: id,
    phase: "resolved",
    at: now.toISOString(),
    target: "sample",
    decision: decision(now.getTime()),
    outcome: { kind: "released", tookMs: 340, freed: ["2"], next: null, text: "1 session freed after 340 ms" },
    text: "TEST, nothing happened: this is how Lockwarden tells that it freed a stuck login",
  };
}
