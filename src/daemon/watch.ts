import { setTimeout as sleep } from "node:timers/promises";
import type { Target } from "../config/schema.ts";
import { afterReconnect, type History, noHistory } from "../core/history.ts";
import { type Engine, type Link, LinkLost, type Missing } from "../engines/engine.ts";
import type { Gate } from "../executor.ts";
import type { Notice } from "../notify/channel.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";
import { createOnce } from "./once.ts";
import type { Pulse } from "./pulse.ts";
import type { TickedLook } from "./recorder.ts";
import { nextCron, parsePoll } from "./schedule.ts";
import { enforces, lackingOf, type Settings } from "./settings.ts";
import { type Memory, type TickResult, tick } from "./tick.ts";

export type WatchContext = Readonly<{
  /** The settings in force; a reload replaces them between two looks. */
  settings(): Settings;
  engine: Engine<Target>;
  journal: JournalGate;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  gate: Gate;
  /** Looks into what a crash left open, once a connection is there. */
  recover(link: Link, signal: AbortSignal): Promise<void>;
  /** `connection` is another after every reconnect. */
  record(ticked: TickedLook, connection: number): void;
  log: Log;
  pulse: Pulse;
  newId(): string;
  now(): Date;
  signal: AbortSignal;
}>;

/** What is there between two looks: enough to look and to judge, nothing to act or to remember with. */
export type Interlude = Readonly<{
  settings: Settings;
  link: Pick<Link, "read">;
  history: History;
  leader: boolean;
  paused: boolean;
  journal: Pick<JournalGate, "works">;
  signal: AbortSignal;
}>;

type Standing = Readonly<{ connected: boolean; leader: boolean; sentence: string; server: string | null }>;

export type WatchState = Standing &
  Readonly<{
    /** Since the last look that succeeded; null: none has. */
    lookedAgoMs: number | null;
    /** Until the next look, or the next try to connect; null: none is planned. */
    nextInMs: number | null;
  }>;

export type Watch = Readonly<{
  /** Ends when the signal aborts. */
  ended: Promise<void>;
  state(): WatchState;
  /** Looks now, and at what the role lacks; rejects when the target cannot be looked at. */
  lookNow(): Promise<Asked>;
  /** Asks something between two looks, over the same connection; rejects when the target cannot be looked at. */
  between<T>(ask: (interlude: Interlude) => Promise<T>): Promise<T>;
  /** The settings have changed: looks now, unless the schedule says otherwise. */
  wake(): void;
}>;

const firstBackoffMs = 500;
const longestBackoffMs = 30_000;
const longestSleepMs = 60_000;

export type Asked = Readonly<{ result: TickResult; lacking: readonly Missing[] }>;
type Asker = Readonly<{ resolve(answer: Asked): void; reject(error: unknown): void }>;
/** `ask` rejects when the look that it needs fails. */
type Question = Readonly<{ ask(interlude: Interlude): Promise<void>; reject(error: unknown): void }>;

/** The loop of one target: connect, look when it is due, connect again when that fails. Only this loop catches everything. */
export function watch(context: WatchContext): Watch {
  const { settings, engine, log, pulse, signal } = context;
  const name = settings().target.name;
  const memory: Memory = { history: noHistory };
  const once = createOnce();
  let failures = 0;
  let connections = 0;
  let hadGaps = false;
  /** The right to act is ours, as long as this connection lasts. */
  let held = false;
  let wasFollower = false;
  let state: Standing = { connected: false, leader: false, sentence: "not connected yet", server: null };
  let lastLookAt: number | null = null;
  let untilDue = (): number => 0;
  const asked: Asker[] = [];
  const questions: Question[] = [];
  let woken = false;
  let bell = new AbortController();

  const expect = (afterMs: number) => {
    const { target } = settings();
    // One statement may take its timeout, and a connection to another database its own.
    pulse.expect(name, performance.now() + afterMs + target.statement_timeout + target.connect_timeout);
  };
  /** Until the moment that `leftMs` counts down to, or until the bell rings: then true. */
  const rest = async (leftMs: () => number): Promise<boolean> => {
    const ring = bell;
    untilDue = leftMs;
    for (let left = leftMs(); left > 0 && !ring.signal.aborted && !signal.aborted; left = leftMs()) {
      // In pieces: a clock that is set is noticed by a cron poll, and a timer holds no more than 24 days.
      const piece = Math.min(left, longestSleepMs);
      expect(piece);
      await sleep(piece, undefined, { signal: AbortSignal.any([signal, ring.signal]) }).catch(() => undefined);
    }
    if (ring.signal.aborted) bell = new AbortController();
    expect(0);
    return ring.signal.aborted;
  };

  /** One look; counts down to the next. */
  const lookOnce = async (link: Link): Promise<() => number> => {
    const answering = asked.splice(0);
    try {
      await context.journal.mend();
      if (!held) await lead(link);
      const lacking = answering.length > 0 ? await sayMissing(link) : [];
      const result = await tick({
        ...context,
        settings: settings(),
        link,
        memory,
        leader: state.leader,
        paused: context.gate.paused(),
        report,
        record: (ticked) => context.record(ticked, connections),
        alive: () => expect(0),
      });
      for (const one of answering) one.resolve({ result, lacking });
      lastLookAt = result.lookedAt;
      say(result.sentence);
      sayGaps(result.snapshot.gaps);
      once.clear("look");
      return untilNext(result);
    } catch (error) {
      for (const one of answering) one.reject(error);
      if (error instanceof LinkLost || signal.aborted) throw error;
      // A failed look is a finished one: the next comes when it is due.
      const text = messageOf(error);
      if (once.changed("look", text)) log.error({ target: name }, `look failed: ${text}`);
      return sooner(untilPoll(settings().target), countdown(longestBackoffMs));
    }
  };
  const answerQuestions = async (link: Link): Promise<void> => {
    for (let next = questions.shift(); next !== undefined; next = questions.shift()) {
      expect(0);
      const { history } = memory;
      const { journal, gate } = context;
      const { leader } = state;
      try {
        await next.ask({ settings: settings(), link, history, leader, paused: gate.paused(), journal, signal });
      } catch (error) {
        next.reject(error);
        if (error instanceof LinkLost || signal.aborted) throw error;
      }
    }
  };
  /** Only who may act asks for the right to: a trial in observe must not disarm the daemon beside it. */
  const lead = async (link: Link): Promise<void> => {
    if (!enforces(settings())) {
      state = { ...state, leader: true };
      return;
    }
    const lease = await link.lease(signal);
    held = lease !== "taken";
    if (once.changed("lease", lease) && !held) {
      log.warn(
        { target: name },
        "another Lockwarden acts on this target; this one observes, and takes over when that one ends",
      );
    } else if (held && state.connected && !state.leader && wasFollower) {
      log.info({ target: name }, "this Lockwarden acts on this target now");
    }
    wasFollower = !held;
    state = { ...state, leader: held };
  };
  const say = (sentence: string): void => {
    state = { ...state, sentence };
    if (once.changed("sentence", sentence)) log.info({ target: name }, sentence);
  };
  /** What a look could not see is said when it changes, and when all is seen again. */
  const sayGaps = (gaps: readonly string[]): void => {
    const text = gaps.join("; ");
    if (!once.changed("gaps", text.replace(/\d+/g, "#"))) return;
    if (text !== "") log.warn({ target: name }, `not everything can be seen: ${text}`);
    else if (hadGaps) log.info({ target: name }, "everything can be seen again");
    hadGaps = text !== "";
  };
  const report = (level: "info" | "warn" | "error", facts: object, text: string): void => {
    log[level]({ target: name, ...facts }, text);
  };
  const untilNext = ({ nextMs, lookedAt }: TickResult): (() => number) => {
    if (asked.length > 0) return () => 0;
    // A millisecond more than the threshold: a timer that fires early would look once in vain.
    const changeMs = nextMs === 0 ? 0 : nextMs + 1 - (performance.now() - lookedAt);
    return sooner(untilPoll(settings().target), countdown(Math.min(settings().shortestThresholdMs, changeMs)));
  };

  /** What the role may not see or do is told at the start, not discovered. */
  const sayMissing = async (link: Link): Promise<readonly Missing[]> => {
    const missing = lackingOf(await link.check(signal), settings());
    const text = missing.map((one) => `${one.missing}; to grant it: ${one.grant}`).join("; ");
    if (once.changed("missing", text) && text !== "")
      log.error({ target: name }, `its role lacks what is needed: ${text}`);
    return missing;
  };
  /** Before a pile-up takes every connection; where it cannot be, the probe itself says so when it is asked. */
  const readyToProbe = async (link: Link): Promise<void> => {
    const databases = new Set(
      settings().rules.flatMap(({ rule }) => (rule.probe === undefined ? [] : [rule.probe.database])),
    );
    for (const database of databases) {
      expect(0);
      await link.readyToProbe(database, signal).catch((error: unknown) => {
        log.warn({ target: name }, `a probe will not work, and its rules will act on nobody: ${messageOf(error)}`);
      });
    }
  };
  const connected = async (): Promise<void> => {
    expect(0);
    const link = await engine.connect(settings().target, signal);
    try {
      const { facts } = link;
      once.clear("away");
      log.info({ target: name, ...facts }, `connected to ${facts.version} as ${facts.role}`);
      state = { ...state, connected: true, server: facts.version };
      memory.history = afterReconnect(memory.history);
      connections++;
      await context.recover(link, signal);
      await sayMissing(link);
      await readyToProbe(link);
      await lead(link);
      let due = firstLook(settings().target);
      if (due() > 0) say(`the first look is at ${new Date(Date.now() + due()).toISOString()}, as poll says`);
      while (!signal.aborted) {
        const rung = await rest(due);
        if (signal.aborted) break;
        await answerQuestions(link);
        // Woken by a reload: a schedule may say that it is not time yet, and rules may have other probes.
        if (woken) {
          due = firstLook(settings().target);
          await readyToProbe(link);
        }
        woken = false;
        if (rung && asked.length === 0 && due() > 0) continue;
        // Nothing acts any more: the right goes with the connection.
        if (held && !enforces(settings())) break;
        due = await lookOnce(link);
        failures = 0;
      }
    } finally {
      held = false;
      state = { ...state, connected: false, leader: false };
      once.clear("lease");
      await link.close();
    }
  };
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await connected();
      } catch (error) {
        if (signal.aborted) break;
        await away(error);
      }
    }
    pulse.forget(name);
  };
  const away = async (error: unknown): Promise<void> => {
    const text = messageOf(error);
    state = { ...state, sentence: text };
    if (once.changed("away", text)) log.error({ target: name }, `${text}; trying again until it works`);
    for (const one of [...asked.splice(0), ...questions.splice(0)]) one.reject(error);
    const pauseMs = Math.min(longestBackoffMs, firstBackoffMs * 2 ** failures);
    failures = Math.min(failures + 1, 10);
    // Daemons that lost the same server do not all come back at the same moment.
    await rest(countdown(pauseMs * (0.75 + Math.random() / 2)));
  };
  return {
    ended: run(),
    state: () => {
      const dueMs = untilDue();
      return {
        ...state,
        lookedAgoMs: lastLookAt === null ? null : performance.now() - lastLookAt,
        nextInMs: Number.isFinite(dueMs) ? Math.max(0, dueMs) : null,
      };
    },
    lookNow: () =>
      new Promise((resolve, reject) => {
        asked.push({ resolve, reject });
        bell.abort();
      }),
    between: (ask) =>
      new Promise((resolve, reject) => {
        questions.push({ ask: async (interlude) => resolve(await ask(interlude)), reject });
        bell.abort();
      }),
    wake: () => {
      woken = true;
      bell.abort();
    },
  };
}

/** Counts down to the next look that `poll` asks for: a duration by the monotonic clock, a cron expression by the host's. */
function untilPoll({ poll, timezone }: Target): () => number {
  const parsed = parsePoll(poll);
  if (parsed.kind === "every") return countdown(parsed.ms);
  const due = nextCron(parsed.expression, timezone, Date.now());
  return () => (due === null ? Number.POSITIVE_INFINITY : due - Date.now());
}

/** At once; with a cron expression as `poll`, at its next moment. */
function firstLook(target: Target): () => number {
  return parsePoll(target.poll).kind === "every" ? countdown(0) : untilPoll(target);
}

function countdown(ms: number): () => number {
  const due = performance.now() + ms;
  return () => due - performance.now();
}

function sooner(one: () => number, other: () => number): () => number {
  return () => Math.min(one(), other());
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof LinkLost && error.hint !== null ? `${error.message}; ${error.hint}` : error.message;
}
