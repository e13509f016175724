import type { OutcomeKind } from "../../src/core/decision.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import type { Session, SessionState } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { readClock, type SteadyClock } from "../../src/core/steady-clock.ts";
import { steadySnapshot } from "../../src/core/steady-snapshot.ts";
import { brief, judge } from "./judge.ts";
import { snapshot } from "./snapshot.ts";

// A server whose clock is set while it is watched. All moments are ms of true time since some beginning.

/** Somebody who does one thing from a moment on, and perhaps one more who waits for the row that they hold. */
export type Being = Readonly<{
  beganMs: number;
  state?: SessionState;
  waitedForSinceMs?: number;
  /** So that they count as another offender. */
  user?: string;
  /** No session, but a prepared transaction. */
  prepared?: boolean;
}>;

export type ClockJump = Readonly<{ atMs: number; byMs: number }>;

/** A look: when the server reads its clock, and how much earlier it was asked and later it was heard. */
export type TimedLook = Readonly<{ atMs: number; askedMs?: number; heardMs?: number }>;

export type Story = Readonly<{
  rule: object;
  limits?: object;
  beings: readonly Being[];
  looks: readonly TimedLook[];
  jumps?: readonly ClockJump[];
  /** What comes of a signal. */
  outcome?: OutcomeKind;
}>;

/** An act, and at which look. */
export type TimedAct = Readonly<{ atMs: number; what: string }>;

const epochMs = Date.UTC(2026, 0, 1, 12);

/** What is done at these looks. Without `jumps` the looks are judged as they come, without any steady clock. */
export function actsOf({ rule, limits, beings, looks, jumps, outcome = "survived" }: Story): readonly TimedAct[] {
  const judged = judge({ rules: [rule], ...(limits === undefined ? {} : { limits }) });
  const acts: TimedAct[] = [];
  let clock: SteadyClock | null = null;
  for (const look of looks) {
    const raw = seenAt(look.atMs, beings, jumps ?? []);
    let seen = raw;
    if (jumps !== undefined) {
      const { atMs, askedMs = 0, heardMs = 0 } = look;
      const reading = { serverMs: raw.atMs, fromMs: atMs - askedMs, toMs: atMs + heardMs };
      clock = readClock(clock, reading).clock;
      seen = steadySnapshot(raw, clock, reading);
    }
    for (const decision of judged.look(seen).decisions) {
      if (decision.kind !== "act") continue;
      acts.push({ atMs: look.atMs, what: brief(decision) });
      const compiled = judged.rules.find((one) => one.rule.name === decision.rule)?.rule;
      if (compiled === undefined) continue;
      const kind = decision.action === "notify" ? "released" : outcome;
      const came = { kind, tookMs: 0, freed: [], next: null, text: kind };
      judged.setHistory(afterOutcome(judged.history(), decision, came, compiled, seen.atMs));
    }
  }
  return acts;
}

/** What the server shows: its clock, and how long ago everything began by that clock, less than nothing being nothing. */
export function seenAt(atMs: number, beings: readonly Being[], jumps: readonly ClockJump[]): Snapshot {
  const clockAt = (ms: number) => ms + jumps.reduce((sum, jump) => (jump.atMs <= ms ? sum + jump.byMs : sum), 0);
  const age = (beganMs: number) => Math.max(0, clockAt(atMs) - clockAt(beganMs));
  let builder = snapshot();
  const ages = new Map<string, number>();
  for (const [at, { beganMs, waitedForSinceMs, state = "idle in transaction", user, prepared }] of beings.entries()) {
    const pid = 1 + 2 * at;
    if (beganMs > atMs) continue;
    if (prepared === true) builder = builder.prepared(pid);
    else builder = builder.session(pid, { idle: "1s", state, user: user ?? "app" });
    const key = prepared === true ? `prepared/${pid}` : String(pid);
    ages.set(key, age(beganMs));
    if (waitedForSinceMs === undefined || waitedForSinceMs > atMs) continue;
    builder = builder.session(pid + 1, { xact: "1s" }).waits(pid + 1, { on: key, for: "1s", table: "public.t" });
    ages.set(String(pid + 1), age(waitedForSinceMs));
  }
  const built = builder.build();
  return {
    ...built,
    atMs: epochMs + clockAt(atMs),
    sessions: built.sessions.map((session) => aged(session, ages.get(session.key) ?? 0)),
    prepared: built.prepared.map((one) => ({ ...one, ageMs: ages.get(one.key) ?? 0 })),
    waits: built.waits?.map((wait) => ({ ...wait, waitMs: ages.get(wait.waiter) ?? 0 })) ?? null,
  };
}

function aged(session: Session, ageMs: number): Session {
  const { transaction } = session;
  return {
    ...session,
    stateMs: ageMs,
    queryMs: ageMs,
    connectedMs: ageMs,
    transaction: transaction.kind === "open" ? { ...transaction, ageMs } : transaction,
  };
}
