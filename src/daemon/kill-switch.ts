import type { JournalEvent } from "../core/journal-event.ts";
import { isOver, longer, type Paused, type Press, pausedText, pressed } from "../core/pause.ts";
import type { Gate } from "../executor.ts";
import { errorText } from "../owned-file.ts";
import { type PausedFile, removePausedFile, writePausedFile } from "../paused-file.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";
import { within } from "./within.ts";

/** What came of pressing it. It holds in any case; the texts say what could not be done besides, or null. */
type Kept = Readonly<{
  /** Why it holds only until a restart. */
  unkept: string | null;
  /** Why it is not in the journal. */
  unwritten: string | null;
}>;
export type PauseAnswer = Kept &
  Readonly<{
    paused: Paused;
    /** Somebody's earlier pause lasts longer, and holds. */
    stayed: boolean;
    /** Statements that had gone out before, and whose end was not waited for any longer. */
    underWay: number;
  }>;
/** `paused`: somebody paused again meanwhile. */
export type ResumeAnswer = Kept & Readonly<{ was: Paused | null; paused: Paused | null }>;

/** Needs no database and no journal: a pause holds at once, in memory; the file and the journal follow. */
export type KillSwitch = Readonly<{
  state(): Paused | null;
  gate: Gate;
  /** Says what an earlier run left, and resumes what is over. */
  begin(): Promise<void>;
  /** When it resolves, nothing new is sent. */
  pause(wanted: Press & Readonly<{ forMs: number | null }>): Promise<PauseAnswer>;
  resume(wanted: Press): Promise<ResumeAnswer>;
}>;

export type SwitchContext = Readonly<{
  stateDir: string;
  /** What an earlier run left. */
  found: PausedFile;
  journal: Pick<JournalGate, "write">;
  log: Log;
  /** Tells people. */
  shout(text: string): void;
  /** It was pressed or released. */
  changed(): void;
  newId(): string;
  now(): Date;
  /** Ends the waiting for the end of a pause. */
  signal: AbortSignal;
}>;

/** For one look: what an earlier run left, as it stands now. */
export function standingSwitch(found: PausedFile, now: Date): Readonly<{ state: Paused | null; gate: Gate }> {
  const left = found.kind === "none" ? null : found.paused;
  const state = left === null || isOver(left, now.getTime()) ? null : left;
  return { state, gate: { paused: () => state !== null, send: (act) => (state === null ? act() : null) } };
}

/** A dead disk must not keep the person waiting who pressed it. */
const fileMs = 5_000;
const journalMs = 2_000;
/** For a statement that has gone out to come back. */
const sendingMs = 2_000;
const longestTimerMs = 2 ** 31 - 1;

export function createKillSwitch(context: SwitchContext): KillSwitch {
  const { stateDir, found, journal, log, shout, changed, newId, now, signal } = context;
  let state: Paused | null = found.kind === "none" ? null : found.paused;
  const sending = new Set<Promise<unknown>>();
  let pauses = 0;
  let timer: NodeJS.Timeout | undefined;
  /** When the pause ends, by the monotonic clock; null: by the host's, or not by itself. */
  let due: number | null = null;
  let filing: Promise<void> = Promise.resolve();
  signal.addEventListener("abort", () => clearTimeout(timer));

  /** By the monotonic clock: one that is set forward must not end a pause. */
  const countDown = (): void => {
    clearTimeout(timer);
    due = null;
    if (state?.until == null || signal.aborted) return;
    const endsAt = performance.now() + Date.parse(state.until) - now().getTime();
    due = endsAt;
    const again = (): void => {
      const leftMs = endsAt - performance.now();
      if (leftMs > 0) timer = setTimeout(again, Math.min(leftMs, longestTimerMs));
      else void release({ by: "itself", reason: "its time is over" }, "over");
    };
    again();
  };
  /** What holds at this moment, its end as the host's clock will show it: that may have been set meanwhile. */
  const holding = (at: Date): Paused | null => {
    if (state === null) return null;
    const leftMs = due === null ? null : due - performance.now();
    const shifted = leftMs === null ? state : { ...state, until: new Date(at.getTime() + leftMs).toISOString() };
    return isOver(shifted, at.getTime()) ? null : shifted;
  };
  const write = async (event: "paused" | "resumed", code: string, text: string, facts: Paused | Press) => {
    const reason = { code, text, facts: { ...facts } };
    await journal.write({
      v: 1,
      id: newId(),
      at: now().toISOString(),
      target: null,
      event,
      reason,
    } satisfies JournalEvent);
  };
  /** One after the other, so that the file says in the end what was pressed last. */
  const inTurn = (file: () => Promise<void>): Promise<void> => {
    const filed = filing.then(file);
    filing = filed.catch(() => undefined);
    return filed;
  };
  const say = (text: string): void => {
    log.warn({}, text);
    shout(text);
    changed();
  };
  const keep = async (file: () => Promise<void>, written: () => Promise<void>, lost: string): Promise<Kept> => {
    const unkept = await failure(inTurn(file), fileMs);
    if (unkept !== null) {
      log.error({}, `${lost}: ${unkept}`);
      shout(`${lost}: ${unkept}`);
    }
    return { unkept, unwritten: await failure(written(), journalMs) };
  };
  const pause: KillSwitch["pause"] = async ({ forMs, ...press }) => {
    const since = now();
    const until = forMs === null ? null : new Date(since.getTime() + forMs).toISOString();
    const wanted = { since: since.toISOString(), ...pressed(press), until };
    const before = holding(since);
    const paused = longer(before, wanted);
    state = paused;
    pauses += 1;
    countDown();
    const stayed = paused === before;
    const text = `Lockwarden is ${pausedText(wanted)}${stayed ? `; it stays ${pausedText(paused)}` : ""}`;
    say(`${text}. It looks and tells, and acts on nobody; lockwarden resume ends that`);
    const sent = settled(sending, sendingMs);
    const lost = "the pause holds only until Lockwarden restarts";
    const kept = await keep(
      () => writePausedFile(stateDir, paused),
      () => write("paused", "pause", text, wanted),
      lost,
    );
    await sent;
    return { paused, stayed, underWay: sending.size, ...kept };
  };
  /** The other way round: it is on record before anybody is acted on. Whoever pauses meanwhile wins. */
  const release = async (press: Press, code: "resume" | "over"): Promise<ResumeAnswer> => {
    const was = state;
    const before = pauses;
    const { by, reason } = pressed(press);
    const text = `Lockwarden is resumed by ${by}${reason === null ? "" : `: ${reason}`}`;
    const written = () => (was === null ? Promise.resolve() : write("resumed", code, text, { by, reason }));
    const lost = "Lockwarden is resumed, and paused again when it restarts";
    const kept = await keep(() => removePausedFile(stateDir), written, lost);
    if (pauses === before && state !== null) {
      state = null;
      countDown();
      say(was === null ? text : `${text}. It was ${pausedText(was)}`);
    }
    return { was, paused: state, ...kept };
  };
  return {
    state: () => state,
    gate: {
      paused: () => state !== null,
      send: (act) => {
        if (state !== null) return null;
        const sent = act();
        sending.add(sent);
        const done = () => void sending.delete(sent);
        sent.then(done, done);
        return sent;
      },
    },
    begin: async () => {
      if (state === null) return;
      if (isOver(state, now().getTime())) {
        await release({ by: "itself", reason: "its time is over" }, "over");
        return;
      }
      countDown();
      const text = `Lockwarden starts ${pausedText(state)}. It looks and tells, and acts on nobody; lockwarden resume ends that`;
      if (found.kind === "unreadable") {
        log.error({}, text);
        shout(text);
      } else log.warn({}, text);
    },
    pause,
    resume: (press) => release(press, "resume"),
  };
}

/** Why it failed, or did not end in time; null when it went well. */
async function failure(promise: Promise<unknown>, withinMs: number): Promise<string | null> {
  const ended = promise.then(
    () => null,
    (error: unknown) => errorText(error),
  );
  return within(withinMs, ended, `no end of it within ${withinMs} ms; it goes on`);
}

async function settled(promises: ReadonlySet<Promise<unknown>>, withinMs: number): Promise<void> {
  const ended = Promise.allSettled(promises).then(() => undefined);
  await within(withinMs, ended, undefined);
}
