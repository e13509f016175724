import { byHandRule } from "./by-hand-outcome.ts";
import type { ActDecision, Signal } from "./decision.ts";
import { personOf } from "./explain.ts";
import type { Person, Standing } from "./explanation.ts";
import { alwaysProtected, type Protection } from "./guards.ts";
import { type Handle, handleForm } from "./handle.ts";
import { incidentKey, sessionIdentity } from "./history.ts";
import { handleOf, isIdle, type Session, type Statement } from "./session.ts";
import { type Snapshot, serverText } from "./snapshot.ts";
import { few, namesIn, standingOf } from "./standing.ts";
import { unreachable } from "./unreachable.ts";
import { type WaitGraph, waitGraph } from "./wait-graph.ts";

/** What somebody wants of a session. `gentle`: its statement is cancelled before it is ended. */
export type Way = "cancel" | "gentle" | "immediate";

/** `sessionId`: null: one id was written, which names a whole session on some servers. `identity`: of the session that was shown; null: none was shown yet. */
export type Asked = Readonly<{ pid: Handle["pid"]; sessionId: Handle["sessionId"] | null }> &
  Readonly<{ identity: string | null; way: Way; lift: boolean }>;

/** What is shown before anything is done. */
export type Picture = Readonly<{
  target: string;
  at: string;
  identity: string;
  person: Person;
  standing: Standing;
  /** Who waits behind it, the nearest first, by name. */
  behind: readonly string[];
  /** What protects it, and was lifted by name. */
  lifted: string | null;
}>;

/**
 * `gone`: it has ended. `changed`: that session is there, on another thread. `unseen`: it may be there, hidden from our role.
 * `unclear`: what was written names no session here. `idle`: there is nothing to cancel.
 */
export type Sighting =
  | Readonly<{ kind: "gone" | "changed" | "unseen" | "unclear"; text: string }>
  | Readonly<{ kind: "refused" | "idle"; text: string; picture: Picture }>
  | Readonly<{ kind: "found"; picture: Picture; session: Session }>;

export type Circumstances = Readonly<{ protection: Protection; show(session: Statement): string | null }>;

const mostNamed = 5;
const mostKept = 100;

export function stepsOf(way: Way): readonly Signal[] {
  switch (way) {
    case "cancel":
      return ["cancel"];
    case "gentle":
      return ["cancel", "terminate"];
    case "immediate":
      return ["terminate"];
    default:
      return unreachable(way);
  }
}

/** Whether that very session is there in a look at everybody, and may be touched. */
export function sight(snapshot: Snapshot, asked: Asked, { protection, show }: Circumstances): Sighting {
  const session = snapshot.sessions.find((one) => isAsked(one, asked));
  if (session === undefined) return absent(snapshot, asked);
  const shield = protection(session);
  const picture = pictureOf(snapshot, session, { show, lifted: asked.lift ? (shield?.reason.text ?? null) : null });
  const never = alwaysProtected(session);
  if (never !== null) return { kind: "refused", text: `it ${never.reason.text}, and nothing lifts that`, picture };
  if (shield !== null && !asked.lift) {
    const { text } = shield.reason;
    const what = text.startsWith("its ") ? text : `it ${text}`;
    return { kind: "refused", text: `${what}; --lift-protection lifts that`, picture };
  }
  if (asked.way === "cancel" && !isCancelable(session)) return { kind: "idle", text: idleText(session), picture };
  return { kind: "found", picture, session };
}

/** The server answers true to any cancel; only a running statement feels it. */
export function isCancelable({ state }: Session): boolean {
  return state === "active";
}

function isAsked(session: Session, { pid, sessionId, identity }: Asked): boolean {
  if (identity !== null && identity !== session.identity) return false;
  // Named by one id: what is written after it, the vendor reserves.
  if (session.handle !== undefined) return session.handle === pid;
  if (sessionId === null || session.sessionId !== sessionId) return false;
  // Once it was shown it is the same one, on whichever thread of a pool it is by then.
  return identity !== null || session.pid === threadOf(pid);
}

/** The pid of a session that is on no thread is written 0. */
function threadOf(pid: string): string | null {
  return pid === "0" ? null : pid;
}

function absent(snapshot: Snapshot, asked: Asked): Sighting {
  const { sessions } = snapshot;
  const { pid, sessionId, identity } = asked;
  if (sessions.some(({ handle }) => handle !== undefined)) return missing(snapshot, pid);
  if (sessionId === null) {
    const what = `expected ${handleForm}, got ${pid}: a pid alone may be another session's by now`;
    return { kind: "unclear", text: `${what}; ${ofProcess(snapshot, { pid, who: `process ${pid}` }).text}` };
  }
  const who = `${pid},${sessionId}`;
  const moved = sessions.find((one) => one.sessionId === sessionId && one.identity === (identity ?? one.identity));
  if (moved !== undefined && moved.identity !== "")
    return { kind: "changed", text: `session ${sessionId} is there, but as ${handleOf(moved)} and not as ${who}` };
  return ofProcess(snapshot, { pid, who });
}

type Missing = Readonly<{ kind: "gone" | "unseen"; text: string }>;

/** Whoever has that pid now. */
function ofProcess(snapshot: Snapshot, { pid, who }: Readonly<{ pid: string; who: string }>): Missing {
  const now = snapshot.sessions.find((one) => one.pid === pid);
  if (now?.identity === "")
    return { kind: "unseen", text: `process ${pid} is hidden from our role; lockwarden check says what to grant it` };
  if (now !== undefined) return { kind: "gone", text: `the session of process ${pid} is ${handleOf(now)} now` };
  return missing(snapshot, who);
}

function missing({ target, gaps }: Snapshot, who: string): Missing {
  // Whoever is hidden and stands in nobody's way is not listed at all.
  if (gaps.length > 0) return { kind: "unseen", text: `${who} does not show on ${target}; ${gaps.join("; ")}` };
  return { kind: "gone", text: `no client of ${target} is ${who}: it has ended, or is a process of the server's own` };
}

function idleText(session: Session): string {
  const why = isIdle(session)
    ? `it is ${session.state ?? "idle"} and runs no statement`
    : session.state === null
      ? "whether it runs a statement does not show, as the server does not track it"
      : "it runs no statement that a cancel reaches";
  return `there is nothing to cancel: ${why}; to end the session: kill`;
}

type Shown = Readonly<{ show: Circumstances["show"]; lifted: string | null }>;

function pictureOf(snapshot: Snapshot, session: Session, { show, lifted }: Shown): Picture {
  const graph = waitGraph(snapshot);
  const nameOf = namesIn(snapshot);
  return {
    target: snapshot.target,
    at: snapshot.at,
    identity: session.identity,
    person: personOf(session, show),
    standing: standingOf(session.key, { snapshot, graph, nameOf }),
    behind: behindIt(snapshot, session, graph, mostNamed).map(({ waiter }) => nameOf(waiter)),
    lifted,
  };
}

function behindIt(snapshot: Snapshot, { key }: Session, graph: WaitGraph, most: number) {
  return graph.behind(key, new Set((snapshot.waits ?? []).map(({ locktype }) => locktype)), most);
}

export type Deciding = Readonly<{
  action: Signal;
  step: number;
  /** Digest of the config. */
  config: string;
  /** Who asked. */
  by: string;
  protectMaintenance: boolean;
  /** Why a cancel was passed over; null: none was. */
  skippedCancel: string | null;
}>;

/** The one way in which an act comes from a person and not from a rule: it is about the session alone. */
export function handDecision(
  snapshot: Snapshot,
  session: Session,
  { action, step, config, by, protectMaintenance, skippedCancel }: Deciding,
): ActDecision & { action: Signal } {
  const behind = behindIt(snapshot, session, waitGraph(snapshot), mostKept);
  const people = new Map(snapshot.sessions.map((one) => [one.key, one]));
  const waiters = behind.map(({ waiter }) => people.get(waiter)).filter((one) => one !== undefined);
  const names = waiters.map((one) => one.pid ?? handleOf(one));
  const whom = names.length === 0 ? "blocks nobody" : `blocks ${few(names)}`;
  const skipped = skippedCancel === null ? "" : `; the cancel is passed over: ${skippedCancel}`;
  return {
    kind: "act",
    incident: incidentKey(byHandRule, sessionIdentity(session)),
    rule: byHandRule,
    config,
    evidence: {
      at: snapshot.at,
      serverId: snapshot.serverId,
      server: serverText(snapshot),
      victim: session,
      holds: (snapshot.holds ?? []).filter(({ holder }) => holder === session.key).slice(0, mostKept),
      waits: behind.map(({ wait }) => wait),
      waiters,
    },
    reason: {
      code: "by-hand",
      text: `asked for by ${by}: ${session.state ?? "its state does not show"}, ${whom}${skipped}`,
      facts: { by, state: session.state, stateMs: session.stateMs, waiters: waiters.length },
    },
    step,
    action,
    guard: {
      sinceState: false,
      sinceQuery: false,
      blocks: null,
      waits: null,
      notMaintenance: protectMaintenance,
      sessionOnly: true,
    },
  };
}
