import { standIn } from "./prepared.ts";
import { isAct, type Opinion, type RecordedLook } from "./recorded-look.ts";
import { isStale, notReplayed, type Replayed, replayLook, type Trial } from "./replay.ts";
import { spokenDuration } from "./spoken-duration.ts";

/** What one side would have done to one session, first. */
export type Deed = Readonly<{
  rule: string;
  action: string;
  /** The recorded look that shows it, and the moment before it at which a daemon would have looked itself. */
  at: string;
  dueAt: string | null;
  reason: string;
  /** What kept it from being done, so that it was only told; null: it was done. */
  heldBack: Readonly<{ by: string; text: string }> | null;
  /** Its rule has a probe, and no answer is on record. */
  unprobed: boolean;
}>;

/** One transaction (or session without one) that at least one side would have acted on. */
export type Case = Readonly<{
  target: string;
  subject: string;
  session: Readonly<{
    /** Of a prepared transaction, which has no session; null for all others. */
    gid: string | null;
    pid: string | null;
    sessionId: string;
    handle?: string;
    user: string | null;
    database: string | null;
    application: string | null;
    client: string | null;
  }>;
  before: Deed | null;
  after: Deed | null;
  /** What the side that did not act said of it when the other one did; null when it says nothing. */
  instead: string | null;
}>;

/** How the two sides differ on it. */
export type CaseKind = "added" | "removed" | "changed" | "same";

/** Where the comparison of one target stands. */
export type Comparison = Readonly<{
  before: Replayed;
  after: Replayed;
  cases: ReadonlyMap<string, Case>;
  /** `rule subject` of whom a notify step was about. */
  told: Readonly<{ before: ReadonlySet<string>; after: ReadonlySet<string> }>;
  looks: number;
  /** Looks that had been seen already. */
  stale: number;
  /** Looks that the recorder had to leave out. */
  missed: number;
  /** Snapshots without a daemon's decisions. */
  unjudged: number;
  fromMs: number | null;
  toMs: number | null;
}>;

/** `before`: null for what the daemon itself decided. */
export type Sides = Readonly<{ before: Trial | null; after: Trial }>;

export const notCompared: Comparison = {
  before: notReplayed,
  after: notReplayed,
  cases: new Map(),
  told: { before: new Set(), after: new Set() },
  looks: 0,
  stale: 0,
  missed: 0,
  unjudged: 0,
  fromMs: null,
  toMs: null,
};

/** One look more at this target. */
export function compareLook(comparison: Comparison, look: RecordedLook, { before, after }: Sides): Comparison {
  if (isStale(comparison.after, look)) return { ...comparison, stale: comparison.stale + 1 };
  const { snapshot, judgement } = look;
  const now = replayedSide(comparison.after, look, after);
  const then = before === null ? asRecorded(look) : replayedSide(comparison.before, look, before);
  const cases = new Map(comparison.cases);
  for (const act of then.acts) enter(cases, look, { act, side: "before", others: now.opinions });
  for (const act of now.acts) enter(cases, look, { act, side: "after", others: then.opinions });
  return {
    before: then.state ?? comparison.before,
    after: now.state ?? comparison.after,
    cases,
    told: {
      before: new Set([...comparison.told.before, ...then.told]),
      after: new Set([...comparison.told.after, ...now.told]),
    },
    looks: comparison.looks + 1,
    stale: comparison.stale,
    missed: comparison.missed + (judgement?.missed ?? 0),
    unjudged: comparison.unjudged + (judgement === null ? 1 : 0),
    fromMs: Math.min(comparison.fromMs ?? snapshot.atMs, snapshot.atMs),
    toMs: Math.max(comparison.toMs ?? snapshot.atMs, snapshot.atMs),
  };
}

export function caseKind({ before, after }: Case): CaseKind {
  if (before === null) return "added";
  if (after === null) return "removed";
  if (touches(before) !== touches(after)) return touches(after) ? "added" : "removed";
  const same = before.rule === after.rule && before.action === after.action && before.at === after.at;
  return same ? "same" : "changed";
}

/** Somebody was signalled, or would have been on another day; in observe nobody ever is. */
export function touches({ heldBack }: Deed): boolean {
  return heldBack?.by !== "observe";
}

type Act = Readonly<{ opinion: Opinion; dueMs: number | null }> & Pick<Deed, "heldBack" | "unprobed">;
type Side = Readonly<{
  state: Replayed | null;
  opinions: readonly Opinion[];
  acts: readonly Act[];
  told: readonly string[];
}>;

function replayedSide(before: Replayed, look: RecordedLook, trial: Trial): Side {
  const { acts, ...step } = replayLook(before, look, trial);
  const held = (rule: string): Deed["heldBack"] => {
    const text = trial.heldBack(rule);
    return text === null ? null : { by: "observe", text };
  };
  return { ...step, acts: acts.map((act) => ({ ...act, heldBack: held(act.opinion.rule) })) };
}

function asRecorded({ judgement }: RecordedLook): Side {
  const opinions = judgement?.opinions ?? [];
  const acts = opinions.filter(isAct).map((opinion) => {
    const { by } = opinion;
    return { opinion, dueMs: null, heldBack: by === null ? null : { by, text: by }, unprobed: false };
  });
  const told = opinions.filter(({ kind, action }) => kind === "act" && action === "notify");
  return { state: null, opinions, acts, told: told.map(({ rule, subject }) => `${rule} ${subject}`) };
}

type Entry = Readonly<{ act: Act; side: "before" | "after"; others: readonly Opinion[] }>;

/**
 * Only the first act on a session counts: what came after it is the recording's story, not the other side's.
 * What was only told is no act yet: the recorded daemon may have been set to enforce later.
 */
function enter(cases: Map<string, Case>, { snapshot }: RecordedLook, { act, side, others }: Entry): void {
  const { opinion, dueMs, heldBack, unprobed } = act;
  const prepared = snapshot.prepared.find(({ key }) => key === opinion.victim);
  const session =
    prepared === undefined ? snapshot.sessions.find(({ key }) => key === opinion.victim) : standIn(prepared);
  const known = cases.get(opinion.subject);
  const earlier = known?.[side] ?? null;
  if (session === undefined || (earlier !== null && (touches(earlier) || act.heldBack !== null))) return;
  const deed: Deed = {
    rule: opinion.rule,
    action: opinion.action,
    at: snapshot.at,
    dueAt: dueMs === null ? null : new Date(Math.round(dueMs)).toISOString(),
    reason: opinion.text,
    heldBack,
    unprobed,
  };
  const { pid, sessionId, handle, user, database, application, client } = session;
  const named = { pid, sessionId, ...(handle !== undefined && { handle }) };
  const first: Case = {
    target: snapshot.target,
    subject: opinion.subject,
    session: { gid: prepared?.gid ?? null, ...named, user, database, application, client },
    before: null,
    after: null,
    instead: insteadOf(others.filter(({ subject }) => subject === opinion.subject)),
  };
  cases.set(opinion.subject, { ...(known ?? first), [side]: deed });
}

function insteadOf(opinions: readonly Opinion[]): string | null {
  if (opinions.length === 0) return null;
  return opinions.map((opinion) => `${opinion.rule} ${verdictText(opinion)}: ${opinion.text}`).join("; ");
}

function verdictText({ kind, by, inMs, action }: Opinion): string {
  if (kind === "act") return action === "notify" ? "tells" : `does ${action}`;
  return kind === "wait" ? `waits ${spokenDuration(inMs ?? 0)} more` : `spares it (${by ?? "unknown"})`;
}
