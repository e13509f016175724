import type { Signal } from "./decision.ts";
import type { Ms, Prepared, Session } from "./session.ts";
import { transactionKey } from "./session.ts";

// What one target's watcher remembers between looks. Moments are ms of the server's clock without its jumps (Snapshot.atMs).

/** One rule's dealings with one transaction (or, without a transaction, one session). */
export type Incident = Readonly<{
  key: string;
  rule: string;
  /** The victim: its transaction, or its session when it has none. */
  subject: string;
  openedMs: number;
  /** The next step of the rule's ladder. */
  step: number;
  /** Since when that step is the next one. */
  stepSinceMs: number;
  /** Our own cancel went out: what it changed does not reset ages. */
  cancelled: boolean;
  /** The ladder is at its end, or what remains is for a person. */
  done: boolean;
  /** So often its last step could not be sent. */
  failures?: number;
  /** So often in a row nothing was sent, as it was not what had been judged any more. */
  refusals?: number;
  /** Our role was not allowed this step, and when. */
  denied?: Readonly<{ step: number; atMs: number }>;
  /** What people were told last, so that they are told once. */
  told: string | null;
  /** That was while another daemon acted: it was written down, and people heard nothing from this one. */
  unheard?: boolean;
  /** The notice that told of it together with others. */
  together?: string;
  /** It matched in the last look. */
  matched: boolean;
  /** The rule's hours ended while it was on the ladder: with the next ones it begins anew. */
  halted?: boolean;
}>;

/** A signal that went out. */
export type Act = Readonly<{ atMs: number; rule: string; who: string; incident: string }>;

/** A signal is out, and what became of it is not known yet: no rule acts on its victim meanwhile. */
export type Verifying = Readonly<{ rule: string; subject: string; action: Signal; sentMs: number }>;

/** After an act: whoever stood behind the victim, or joins them, is a successor until then. */
export type Cooldown = Readonly<{
  rule: string;
  atMs: number;
  untilMs: number;
  lineage: ReadonlySet<string>;
  locks: ReadonlySet<string>;
}>;

/** `sinceMs`: since which look it has been seen to wait for nobody; null: it waits. `waited`: it was seen to wait before. */
export type Freedom = Readonly<{ sinceMs: number | null; waited: boolean }>;

/** An open breaker: nobody is signalled until it closes. */
export type OpenBreaker = Readonly<{ sinceMs: number; untilMs: number }>;

/** Those whom limits hold back and the same channels are told of, together. */
export type Crowd = Readonly<{
  /** Of all its notices. */
  id: string;
  /** undefined: every one. */
  channels: readonly string[] | undefined;
  /** What they were told holds somebody back. */
  kinds: ReadonlySet<string>;
}>;

export type History = Readonly<{
  serverId: string | null;
  /** Rule → subject → since when it has continuously blocked somebody, as the rule counts them. */
  blocking: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Transaction (or session without one) → what was seen of its own waiting. */
  freedom: ReadonlyMap<string, Freedom>;
  incidents: ReadonlyMap<string, Incident>;
  acts: readonly Act[];
  cooldowns: readonly Cooldown[];
  /** By incident; a reload that ends its ladder does not end it. */
  verifying: ReadonlyMap<string, Verifying>;
  /** The opening of the breaker that people were told of, and not yet its end. */
  breaker: OpenBreaker | null;
  /** Channel set → what it was told of those whom limits hold back. */
  crowds: ReadonlyMap<string, Crowd>;
  /** Rule → when its probe spared somebody, unless it has found the way stuck since. */
  probes: ReadonlyMap<string, number>;
}>;

export const noHistory: History = {
  serverId: null,
  blocking: new Map(),
  freedom: new Map(),
  incidents: new Map(),
  acts: [],
  cooldowns: [],
  verifying: new Map(),
  breaker: null,
  crowds: new Map(),
  probes: new Map(),
};

/** What is still true on this server: after a failover or a restart nothing seen before is, but who was signalled counts on. */
export function onServer(history: History, serverId: string): History {
  if (history.serverId === null || history.serverId === serverId) return history;
  const { acts, breaker, crowds } = history;
  return { ...noHistory, acts, breaker, crowds };
}

/**
 * Over another connection to the target, to another server even: whom signals went out to, and what people were told of
 * that. On the same server those who stood behind a victim are still its successors.
 */
export function afterReconnection({ serverId, acts, cooldowns, breaker, crowds }: History): History {
  return { ...noHistory, serverId, acts, cooldowns, breaker, crowds };
}

/** After a gap in what was seen: ladders begin anew, and blocking counts from now on; who was told of what stays known. */
export function afterReconnect(history: History): History {
  const incidents = new Map<string, Incident>();
  for (const [key, incident] of history.incidents) incidents.set(key, fromFirstStep(incident));
  return { ...history, blocking: new Map(), freedom: new Map(), incidents };
}

/**
 * This daemon acts from now on, in another's place. What it has seen stays true; whether that one did its steps is not known, so
 * ladders begin from their first.
 */
export function afterTakeover(history: History): History {
  const incidents = new Map<string, Incident>();
  for (const [key, incident] of history.incidents) incidents.set(key, fromFirstStep(incident));
  return { ...history, incidents };
}

function fromFirstStep({ denied: _denied, ...incident }: Incident): Incident {
  return { ...incident, step: 0, cancelled: false, failures: 0, done: false, matched: false };
}

/** Somebody may have granted the right since. */
const deniedForMs = 600_000;

/** The ms until a step that our role was not allowed is tried again; null: it is not one of those. */
export function untilRetryMs({ denied }: Pick<Incident, "denied">, atMs: number): number | null {
  return denied === undefined ? null : Math.max(0, denied.atMs + deniedForMs - atMs);
}

/** From the step on that our role was not allowed. */
export function retried({ denied, ...incident }: Incident, atMs: number): Incident {
  if (denied === undefined) return incident;
  return { ...incident, step: denied.step, stepSinceMs: Math.max(atMs, incident.stepSinceMs), done: false };
}

/** Nothing is left to do in this look. */
export function isOver(incident: Incident | undefined, atMs: number): boolean {
  return incident !== undefined && incident.done && untilRetryMs(incident, atMs) !== 0;
}

/** The transaction while there is one, else the session itself; null when neither can be told. */
export function subjectKey(session: Session): string | null {
  if (session.role === "prepared") return session.identity;
  if (session.transaction.kind === "none") return sessionIdentity(session);
  return transactionKey(session);
}

/** One connection for as long as it lasts. */
export function sessionIdentity(session: Session): string {
  return `${session.key} ${session.identity}`;
}

export function incidentKey(rule: string, subject: string): string {
  return `${rule} ${subject}`;
}

/** A rule's dealings with a subject that it has not matched so far. */
export function unopened(rule: string, subject: string, atMs: number): Incident {
  return {
    key: incidentKey(rule, subject),
    rule,
    subject,
    openedMs: atMs,
    step: 0,
    stepSinceMs: atMs,
    cancelled: false,
    done: false,
    told: null,
    matched: false,
  };
}

/** People heard from this very daemon that somebody is stuck, so they are to hear how it ends. */
export function wasTold({ told, unheard }: Pick<Incident, "told" | "unheard">): boolean {
  return told !== null && told !== "observe" && told !== "follower" && unheard !== true;
}

/**
 * Whoever stands in a queue, as a member of a cooldown's lineage: the transaction, as the next one of a pooled connection may
 * stand in another queue. Begins with the session's key.
 */
export function lineageKey(session: Session): string {
  return transactionKey(session) ?? sessionIdentity(session);
}

/** Whether a session is one of these. Most are not, which their key already says. */
export function isIn(lineage: ReadonlySet<string>): (session: Session) => boolean {
  const keys = new Set(Array.from(lineage, (identity) => identity.slice(0, identity.indexOf(" "))));
  return (session) => keys.has(session.key) && lineage.has(lineageKey(session));
}

/** The repeat offender: same user, application and client; of prepared transactions the same owner. */
export function offender(victim: Session | Prepared): string {
  if (victim.kind === "prepared") return JSON.stringify([victim.user, null, null]);
  return JSON.stringify([victim.user, victim.application, victim.client]);
}

/** The shorter of two ages; an unknown one does not bound. */
export function atMost(ms: number, bound: Ms): number {
  return bound === null ? ms : Math.min(ms, bound);
}
