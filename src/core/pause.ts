import { plainText } from "./plain-text.ts";
import { spokenDuration } from "./spoken-duration.ts";

/** The kill switch is pressed: Lockwarden looks, decides and tells, and acts on nobody. Moments are the host's clock, ISO 8601. */
export type Paused = Readonly<{
  /** null: nobody knows. */
  since: string | null;
  by: string;
  reason: string | null;
  /** null: until somebody resumes. */
  until: string | null;
}>;

/** What a person asks for. */
export type Press = Readonly<{ by: string; reason: string | null }>;

const longestBy = 200;
const longestReason = 500;

export function pressed({ by, reason }: Press): Press {
  const why = reason === null ? "" : plainText(reason, longestReason);
  return { by: plainText(by, longestBy), reason: why === "" ? null : why };
}

export function isOver({ until }: Paused, nowMs: number): boolean {
  return until !== null && Date.parse(until) <= nowMs;
}

/** A pause never ends sooner than somebody was promised: of two, the one that lasts longer holds, since the first. */
export function longer(before: Paused | null, wanted: Paused): Paused {
  if (before === null) return wanted;
  return endOf(before) > endOf(wanted) ? before : { ...wanted, since: before.since };
}

function endOf({ until }: Paused): number {
  return until === null ? Number.POSITIVE_INFINITY : Date.parse(until);
}

/** `paused by user ann (uid 7) since 2026-03-01T03:00:00.000Z until somebody resumes it: REASON` */
export function pausedText({ by, since, until, reason }: Paused): string {
  const from = since === null ? "" : ` since ${since}`;
  const to = until === null ? " until somebody resumes it" : ` until ${until}`;
  return `paused by ${by}${from}${to}${reason === null ? "" : `: ${reason}`}`;
}

/** `until 2026-03-01T04:00:00.000Z (59 min 3 s from now), when it resumes by itself` */
export function untilText({ until }: Paused, nowMs: number): string {
  if (until === null) return "until lockwarden resume";
  return `until ${until} (${spokenDuration(Date.parse(until) - nowMs)} from now), when it resumes by itself`;
}

/** What paused.json holds; null when it is something else. */
export function readPaused(value: unknown): Paused | null {
  if (typeof value !== "object" || value === null) return null;
  const { v, since, by, reason, until } = value as Readonly<Record<string, unknown>>;
  if (v !== 1 || !isMoment(since) || typeof by !== "string") return null;
  if (reason !== null && typeof reason !== "string") return null;
  if (until !== null && !isMoment(until)) return null;
  return { since, ...pressed({ by, reason }), until };
}

function isMoment(value: unknown): value is string {
  return typeof value === "string" && value.length < 40 && !Number.isNaN(Date.parse(value));
}
