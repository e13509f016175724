import type { Decision, Evidence, Outcome } from "../../src/core/decision.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Relation, Session } from "../../src/core/session.ts";
import type { LockWait } from "../../src/core/snapshot.ts";
import type { Notice } from "../../src/notify/channel.ts";

export const userSession: Relation = { database: "app", schema: "public", name: "user_session", ancestors: [] };

export function session(change: Partial<Session> = {}): Session {
  return {
    kind: "session",
    key: "4711",
    identity: "2026-03-01 02:00:00.123456+00",
    pid: "4711",
    sessionId: "69a39c60.1267",
    role: "client",
    backendType: "client backend",
    group: null,
    own: false,
    superuser: false,
    maintenance: false,
    user: "app_login",
    database: "app",
    application: "login-service",
    client: "10.0.0.7",
    query: "update user_session set seen = $1 where id = $2",
    waitEvent: "ClientRead",
    state: "idle in transaction",
    stateMs: 192_000,
    stateAt: "2026-03-01 03:00:00.5+00",
    queryMs: 192_000,
    queryAt: "2026-03-01 03:00:00.4+00",
    connectedMs: 3_600_000,
    xminAge: 12,
    transaction: { kind: "open", startedAt: "2026-03-01 03:00:00.1+00", ageMs: 200_000, writeId: "901" },
    ...change,
  };
}

export function waiter(number: number, change: Partial<Session> = {}): Session {
  const pid = String(4712 + number);
  return session({
    key: pid,
    pid,
    sessionId: `69a39c60.${number}`,
    user: "alice",
    application: "web",
    state: "active",
    ...change,
  });
}

export function lockWait(number: number, change: Partial<LockWait> = {}): LockWait {
  return {
    waiter: String(4712 + number),
    pid: String(4712 + number),
    lock: "transactionid 901",
    locktype: "transactionid",
    mode: "ShareLock",
    relation: userSession,
    candidates: [],
    waitMs: 45_000 - number * 1_000,
    waitAt: "2026-03-01 03:02:27+00",
    blockers: [{ node: "4711", soft: false }],
    hiddenBlocker: false,
    ...change,
  };
}

export function evidence(change: Partial<Evidence> = {}): Evidence {
  return {
    at: "2026-03-01T03:03:12.500Z",
    serverId: "7301",
    victim: session(),
    holds: [],
    waits: [lockWait(0), lockWait(1)],
    waiters: [waiter(0), waiter(1, { user: "bob" })],
    ...change,
  };
}

const judged = {
  incident: "stuck-login 4711 2026-03-01 03:00:00.1+00",
  rule: "stuck-login",
  config: "c0ffee",
  evidence: evidence(),
  reason: { code: "matched", text: "idle in transaction for 3 min 12 s (at least 30 s)", facts: {} },
  step: 0,
  action: "terminate",
} as const;

const guard = { sinceState: true, sinceQuery: false, blocks: null, waits: null, notMaintenance: true } as const;

export function act(change: Partial<typeof judged> | Partial<Pick<Decision, "evidence" | "action">> = {}): Decision {
  return { ...judged, ...change, kind: "act", guard };
}

export function spare(by: Extract<Decision, { kind: "spare" }>["by"]): Decision {
  return { ...judged, kind: "spare", by };
}

export function outcome(change: Partial<Outcome> = {}): Outcome {
  return {
    kind: "released",
    tookMs: 340,
    freed: ["4712", "4713"],
    next: null,
    text: "its 2 waiters moved on",
    ...change,
  };
}

export function notice(change: Partial<Notice> = {}): Notice {
  return {
    id: "n-1",
    incident: judged.incident,
    phase: "resolved",
    at: "2026-03-01T03:03:13.000Z",
    target: "app",
    decision: act(),
    outcome: outcome(),
    text: "terminated 4711 (stuck-login), 2 sessions freed",
    ...change,
  };
}

export function intent(id: string): JournalEvent {
  return { v: 1, id, at: "2026-03-01T03:03:12.600Z", target: "app", event: "intent", decision: act() };
}

export function outcomeOf(id: string): JournalEvent {
  return { v: 1, id, at: "2026-03-01T03:03:13.000Z", target: "app", event: "outcome", outcome: outcome() };
}
