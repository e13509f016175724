import { setTimeout as sleep } from "node:timers/promises";
import type { Target } from "../config/schema.ts";
import { carryOver, type DropCause, dropAll } from "../core/carry-over.ts";
import { afterReconnect, afterTakeover, type History } from "../core/history.ts";
import { type Engine, type Link, LinkLost, type Missing } from "../engines/engine.ts";
import type { Notice } from "../notify/channel.ts";
import { sayDropped } from "./dropped.ts";
import type { JournalGate } from "./journal-gate.ts";
import { leadership, standByMs } from "./leadership.ts";
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
  /** What is known already: who was signalled on this target before its connection was changed counts on. */
  history: History;
  journal: JournalGate;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  paused(): boolean;
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

export type WatchState = Readonly<{ connected: boolean; leader: boolean; sentence: string }>;

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
  /** Ends it after the look that is under way, and tells what becomes of ladders. */
  retire(cause: DropCause): Promise<void>;
  /** What it knows by now. */
  history(): History;
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
  const memory: Memory = { history: context.history };
  const once = createOnce();
  let failures = 0;
  let connections = 0;
  let hadGaps = false;
  const right = leadership({ target: name, log });
  const retiring = new AbortController();
  /** Aborts what only waits. */
  const idle = AbortSignal.any([signal, retiring.signal]);
  let inForce = settings();
  /** What is to happen by time alone, whatever the schedule says. */
  let followUp = countdown(Number.POSITIVE_INFINITY);
  let state: WatchState = { connected: false, leader: false, sentence: "not connected yet" };
  const asked: Asker[] = [];
  const questions: Question[] = [];
  let woken = false;
  let bell = new AbortController();

  const expect = (afterMs: number) => {
    const { target } = settings();
    // One statement may take its timeout, and a connection to another database its own.
    pulse.expect(name, performance.now() + afterMs + target.statement_timeout + target.connect_timeout);
  };
  /** Until the moment that `leftMs` counts down to, or until the bell rings. */
  const rest = async (leftMs: () => number): Promise<void> => {
    const ring = bell;
    for (let left = leftMs(); left > 0 && !ring.signal.aborted && !idle.aborted; left = leftMs()) {
      // In pieces: a clock that is set is noticed by a cron poll, and a timer holds no more than 24 days.
      const piece = Math.min(left, longestSleepMs);
      expect(piece);
      await sleep(piece, undefined, { signal: AbortSignal.any([idle, ring.signal]) }).catch(() => undefined);
    }
    if (ring.signal.aborted) bell = new AbortController();
    expect(0);
  };

  /** The settings for what begins now: what was begun under others goes on only where its rule is the same. */
  const adopt = (): Settings => {
    const next = settings();
    if (next === inForce || idle.aborted) return inForce;
    const [old, now] = [inForce, next].map(({ rules }) => rules.map(({ rule }) => rule));
    const { history, dropped } = carryOver(memory.history, old ?? [], now ?? []);
    memory.history = history;
    inForce = next;
    sayDropped(dropped, { ...context, target: name, leader: state.leader });
    return next;
  };

  /** One look; counts down to the next. */
  const lookOnce = async (link: Link): Promise<() => number> => {
    const answering = asked.splice(0);
    try {
      await context.journal.mend();
      await lead(link);
      const lacking = answering.length > 0 ? await sayMissing(link) : [];
      const result = await tick({
        ...context,
        settings: adopt(),
        link,
        memory,
        leader: state.leader,
        paused: context.paused(),
        report,
        record: (ticked) => context.record(ticked, connections),
        alive: () => expect(0),
      });
      for (const one of answering) one.resolve({ result, lacking });
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
      const current = adopt();
      const { history } = memory;
      const { journal, paused } = context;
      const { leader } = state;
      try {
        await next.ask({ settings: current, link, history, leader, paused: paused(), journal, signal });
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
    const { held, tookOver } = await right.ask(link, signal);
    if (tookOver) memory.history = afterTakeover(memory.history);
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
    followUp = countdown(Math.min(settings().shortestThresholdMs, changeMs));
    return sooner(untilPoll(settings().target), followUp);
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
  /** Between two looks of a follower; with the right comes a look: on a schedule, if there is somebody to follow up. */
  const standBy = async (link: Link, due: () => number): Promise<() => number> => {
    await lead(link);
    if (!right.held()) return due;
    return sooner(due, memory.history.incidents.size > 0 ? countdown(0) : firstLook(settings().target));
  };
  const connected = async (): Promise<void> => {
    expect(0);
    const link = await engine.connect(settings().target, idle);
    try {
      const { facts } = link;
      once.clear("away");
      log.info({ target: name, ...facts }, `connected to ${facts.version} as ${facts.role}`);
      state = { ...state, connected: true };
      memory.history = afterReconnect(memory.history);
      connections++;
      await context.recover(link, signal);
      await sayMissing(link);
      await readyToProbe(link);
      await lead(link);
      let due = firstLook(settings().target);
      if (due() > 0) say(`the first look is at ${new Date(Date.now() + due()).toISOString()}, as poll says`);
      while (!idle.aborted) {
        const follows = enforces(settings()) && !right.held();
        await rest(follows ? sooner(due, countdown(standByMs)) : due);
        if (idle.aborted) break;
        await answerQuestions(link);
        // Woken by a reload: a schedule may say that it is not time yet, and rules may have other probes.
        if (woken) {
          due = sooner(firstLook(settings().target), followUp);
          await readyToProbe(link);
        }
        woken = false;
        if (asked.length === 0 && due() > 0) {
          if (follows) due = await standBy(link, due);
          if (due() > 0) continue;
        }
        // Nothing acts any more: the right goes with the connection.
        if (right.held() && !enforces(settings())) break;
        due = await lookOnce(link);
        failures = 0;
      }
    } finally {
      right.lose();
      state = { ...state, connected: false, leader: false };
      await link.close();
    }
  };
  const run = async (): Promise<void> => {
    while (!idle.aborted) {
      try {
        await connected();
      } catch (error) {
        if (idle.aborted) break;
        await away(error);
      }
    }
    pulse.forget(name);
    abandonAskers(new Error(`target ${name} is not watched any more`));
  };
  const abandonAskers = (error: unknown): void => {
    for (const one of [...asked.splice(0), ...questions.splice(0)]) one.reject(error);
  };
  const away = async (error: unknown): Promise<void> => {
    const text = messageOf(error);
    state = { ...state, sentence: text };
    if (once.changed("away", text)) log.error({ target: name }, `${text}; trying again until it works`);
    abandonAskers(error);
    const pauseMs = Math.min(longestBackoffMs, firstBackoffMs * 2 ** failures);
    failures = Math.min(failures + 1, 10);
    // Daemons that lost the same server do not all come back at the same moment.
    await rest(countdown(pauseMs * (0.75 + Math.random() / 2)));
  };
  const ended = run();
  return {
    ended,
    state: () => state,
    history: () => memory.history,
    retire: async (cause) => {
      const { leader } = state;
      retiring.abort(new Error(`target ${name} is not watched any more`));
      await ended;
      const rules = inForce.rules.map(({ rule }) => rule);
      sayDropped(dropAll(memory.history, rules, cause), { ...context, target: name, leader });
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
