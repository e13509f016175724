import type { Decision } from "../core/decision.ts";
import type { Session } from "../core/session.ts";
import type { Notice } from "./channel.ts";

// Everybody in it is invented, and says so: it may be read on a telephone at night.

function session(pid: string, change: Partial<Session>): Session {
  return {
    kind: "session",
    key: pid,
    identity: "sample",
    pid,
    sessionId: `sample.${pid}`,
    role: "client",
    backendType: "client backend",
    group: null,
    own: false,
    superuser: false,
    maintenance: false,
    user: "sample_user",
    database: "sample",
    application: "sample-login-service",
    client: "192.0.2.1",
    query: "update sample set seen = now() where id = $1",
    waitEvent: null,
    state: "active",
    stateMs: 45_000,
    stateAt: null,
    queryMs: 45_000,
    queryAt: null,
    connectedMs: 3_600_000,
    xminAge: null,
    transaction: { kind: "open", startedAt: null, ageMs: 45_000, writeId: null },
    ...change,
  };
}

function decision(at: string): Decision {
  const victim = session("1", {
    state: "idle in transaction",
    stateMs: 192_000,
    transaction: { kind: "open", startedAt: at, ageMs: 200_000, writeId: "1" },
  });
  const relation = { database: "sample", schema: "public", name: "sample", ancestors: [] };
  const wait = {
    waiter: "2",
    pid: "2",
    lock: "sample",
    locktype: "transactionid",
    mode: "ShareLock",
    relation,
    candidates: [],
    waitMs: 45_000,
    waitAt: null,
    blockers: [{ node: "1", soft: false }],
    hiddenBlocker: false,
  };
  const evidence = { at, serverId: "sample", victim, holds: [], waits: [wait], waiters: [session("2", {})] };
  const reason = { code: "matched", text: "idle in transaction for 3 min 12 s (at least 30 s)", facts: {} };
  const guard = { sinceState: true, sinceQuery: false, blocks: null, waits: null, notMaintenance: true };
  const judged = { incident: "sample", rule: "sample", config: "sample", evidence, reason, step: 0 } as const;
  return { ...judged, action: "terminate", kind: "act", guard };
}

/** What a person would be told of a stuck login that was freed; nobody was. */
export function sampleNotice(id: string, now: Date): Notice {
  const at = now.toISOString();
  return {
    id,
    incident: id,
    phase: "resolved",
    at,
    target: "sample",
    decision: decision(at),
    outcome: { kind: "released", tookMs: 340, freed: ["2"], next: null, text: "1 session freed after 340 ms" },
    text: "TEST, nothing happened: this is how Lockwarden tells that it freed a stuck login",
  };
}
