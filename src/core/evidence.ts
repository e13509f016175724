import type { Evidence, Guard, GuardEdge, Reason } from "./decision.ts";
import { relationText } from "./relation.ts";
import type { Finding } from "./rules.ts";
import { isIdle, type NodeKey } from "./session.ts";
import { type LockWait, serverText } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import type { Behind } from "./wait-graph.ts";

/** What is kept of one act, at most. */
const mostWaiters = 100;
const mostHolds = 100;
const mostEdges = 256;
/** Of one wait: behind a table that thousands read, each waiter has thousands of blockers. */
const mostBlockers = 20;
const mostCandidates = 20;
/** What servers call every prepared transaction where they name who blocks. */
const preparedPid = "0";

export function evidenceOf(finding: Finding): Evidence {
  const { subject, rule } = finding;
  const { snapshot, session } = subject;
  const own = rule.ownWait?.(subject) ?? null;
  const counted = rule.counted(subject, mostWaiters);
  const waiters = counted.map(({ waiter }) => subject.sessions.get(waiter)).filter((person) => person !== undefined);
  return {
    at: snapshot.at,
    serverId: snapshot.serverId,
    server: serverText(snapshot),
    victim: subject.prepared ?? session,
    holds: (subject.locks?.of(session.key) ?? []).slice(0, mostHolds),
    waits: [...(own === null ? [] : [own]), ...counted.map(({ wait }) => wait)].map((wait) =>
      bounded(wait, session.key),
    ),
    waiters,
  };
}

/** An intent that is too long to be journalled would leave the lock as stuck as it is. The victim itself is always kept. */
function bounded(wait: LockWait, victim: NodeKey): LockWait {
  const { blockers, candidates } = wait;
  if (blockers.length <= mostBlockers && candidates.length <= mostCandidates) return wait;
  const others = blockers.filter(({ node }) => node !== victim);
  return {
    ...wait,
    blockers: [...blockers.filter(({ node }) => node === victim), ...others].slice(0, mostBlockers),
    candidates: candidates.slice(0, mostCandidates),
  };
}

/** What the signalling statement re-checks: all that the rule relied on. */
export function guardOf(finding: Finding, protectMaintenance: boolean): Guard {
  const { rule, subject } = finding;
  const { session } = subject;
  const { match, except } = rule.rule;
  const own = rule.ownWait?.(subject) ?? null;
  return {
    // A transaction that never rests for long is the same for all that; without one, the last change is all there is.
    sinceState: isIdle(session) && (match.idle_for !== undefined || session.transaction.kind === "none"),
    // The next statement of the same transaction may be one that `except` spares.
    sinceQuery:
      session.state === "active" && [match.query_for, match.query, except?.query].some((one) => one !== undefined),
    blocks: match.blocks === undefined ? null : blocksGuard(finding, match.blocks.waiters),
    waits: own === null ? null : { lock: own.lock, mode: own.mode, waitAt: own.waitAt },
    notMaintenance: protectMaintenance,
  };
}

function blocksGuard(finding: Finding, waiters: number): Guard["blocks"] {
  const { subject, rule } = finding;
  const locktypes = new Set<string>(rule.rule.match.blocks?.locktypes ?? []);
  // Some more than are needed: one that has left by then does not spoil the rest.
  const counted = new Set(Array.from(rule.counted(subject, waiters * 2 + 20), ({ waiter }) => waiter));
  const last = [...counted].at(-1);
  const hops = new Map<NodeKey, Hop>();
  if (last !== undefined) {
    subject.graph.walk(subject.session.key, locktypes, (hop) => {
      hops.set(hop.waiter, hop);
      return hop.waiter === last;
    });
  }
  const edges = new Map<NodeKey, GuardEdge>();
  let covered = 0;
  for (const waiter of counted) {
    if (edges.size >= mostEdges) break;
    covered++;
    // Every hop from this waiter to the victim, so that a soft edge between them is confirmed too.
    for (let hop = hops.get(waiter); hop !== undefined; hop = hops.get(hop.blocker)) {
      const edge = guardEdge(hop, subject, counted);
      if (edge !== null) edges.set(hop.waiter, edge);
    }
  }
  return { edges: [...edges.values()], waiters: Math.min(waiters, covered) };
}

type Hop = Omit<Behind, "depth">;

function guardEdge(
  hop: Hop,
  { sessions, prepared }: Pick<Finding["subject"], "sessions" | "prepared">,
  counted: ReadonlySet<NodeKey>,
): GuardEdge | null {
  const blockerPid = hop.blocker === prepared?.key ? preparedPid : (sessions.get(hop.blocker)?.pid ?? null);
  const waiterPid = hop.wait.pid;
  if (blockerPid === null || waiterPid === null) return null;
  return { waiterPid, blockerPid, lock: hop.wait.lock, mode: hop.wait.mode, counts: counted.has(hop.waiter) };
}

/** Why this rule is about this session: each condition with what was seen. */
export function reasonOf(finding: Finding): Reason {
  const { rule, subject, inMs } = finding;
  const { session } = subject;
  const seen = rule.match.filter((condition) => condition.name !== "state").map((condition) => condition.seen(subject));
  const state = session.state === null ? [] : [session.state];
  const text = [...state, ...seen].join(", ");
  const aboutBlockers = rule.rule.match.blocks !== undefined;
  const [first] = aboutBlockers ? rule.counted(subject, 1) : [];
  const { transaction } = session;
  return {
    code: inMs === 0 ? "matched" : "pending",
    text: inMs === 0 ? text : `${text}; due in ${spokenDuration(inMs)} if nothing changes`,
    facts: {
      state: session.state,
      stateMs: session.stateMs,
      transactionMs: transaction.kind === "open" ? transaction.ageMs : null,
      relation: first === undefined ? null : relationText(first.wait),
      waiters: aboutBlockers ? rule.count(subject) : null,
    },
  };
}
