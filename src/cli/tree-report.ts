import { relationText } from "../core/relation.ts";
import type { NodeKey } from "../core/session.ts";
import { type Forest, hiddenNode } from "../core/tree.ts";
import type { QueryText } from "../query-text.ts";

/** One target's part of what `tree --json` prints: programs rely on target, roots and edges. */
export type TreeReport = Readonly<{
  target: string;
  /** Why it could not be looked at. */
  error?: string;
  at?: string;
  serverVersion?: string;
  recovery?: boolean;
  waiters?: number;
  longestWaitMs?: number | null;
  /** Somebody waits, but who waits for whom was not read. */
  unread?: boolean;
  gaps?: readonly string[];
  /** Who blocks and waits for nobody, biggest damage first: pids, or the names of prepared transactions as in `prepared`. */
  roots: readonly string[];
  cycles?: readonly (readonly string[])[];
  edges: readonly EdgeReport[];
  sessions?: readonly Readonly<Record<string, string | number | boolean | null>>[];
  prepared?: readonly Readonly<Record<string, string | number | null>>[];
}>;

type EdgeReport = Readonly<{
  waiter: string;
  /** null: it cannot be seen. */
  blocker: string | null;
  soft: boolean;
  relation: string | null;
  waitMs: number | null;
  mode: string;
  locktype: string;
}>;

export function treeReport(forest: Forest, show: QueryText): TreeReport {
  const { snapshot, parties } = forest;
  const nameOf = (node: NodeKey) => {
    const party = parties.get(node);
    return party?.kind === "session" ? (party.pid ?? node) : node;
  };
  const inForest = new Set(forest.edges.flatMap(({ waiter, blocker }) => [waiter, blocker]));
  return {
    target: snapshot.target,
    at: snapshot.at,
    serverVersion: snapshot.serverVersion,
    recovery: snapshot.recovery,
    waiters: forest.waiters,
    longestWaitMs: forest.longestMs,
    unread: forest.unread,
    gaps: snapshot.gaps,
    roots: forest.roots.filter(({ kind }) => kind === "blocker").map(({ node }) => nameOf(node)),
    cycles: forest.cycles.map((members) => members.map(nameOf)),
    edges: forest.edges.map(({ waiter, blocker, soft, wait }) => ({
      waiter: nameOf(waiter),
      blocker: blocker === hiddenNode ? null : nameOf(blocker),
      soft,
      relation: relationText(wait),
      waitMs: wait.waitMs,
      mode: wait.mode,
      locktype: wait.locktype,
    })),
    sessions: snapshot.sessions
      .filter(({ key }) => inForest.has(key))
      .map(({ key, pid, sessionId, user, database, application, client, backendType, state, stateMs, ...rest }) => ({
        pid: pid ?? key,
        sessionId,
        user,
        database,
        application,
        client,
        backendType,
        state,
        stateMs,
        transactionMs: rest.transaction.kind === "open" ? rest.transaction.ageMs : null,
        query: show(rest),
      })),
    prepared: snapshot.prepared
      .filter(({ key }) => inForest.has(key))
      .map(({ key, gid, transactionId, user, database, ageMs }) => ({
        name: key,
        gid,
        transactionId,
        user,
        database,
        ageMs,
      })),
  };
}

export function failureTreeReport(target: string, error: string): TreeReport {
  return { target, error, roots: [], edges: [] };
}
