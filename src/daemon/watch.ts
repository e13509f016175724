import type { Target } from "../config/schema.ts";
import { carryOver, type DropCause, dropAll } from "../core/carry-over.ts";
import { afterReconnect, afterTakeover, type Cooldown, type History } from "../core/history.ts";
import { type Engine, type Link, LinkLost, type Missing } from "../engines/engine.ts";
import type { Gate } from "../executor.ts";
import type { Notice } from "../notify/channel.ts";
import type { Absence } from "./absence.ts";
import { type Asked, createAskers } from "./askers.ts";
import { backoffMs, longestBackoffMs } from "./backoff.ts";
import { sayDropped } from "./dropped.ts";
import { countdown, type Due, firstLook, sooner, untilPoll } from "./due.ts";
import type { JournalGate } from "./journal-gate.ts";
import { leadership, standByMs } from "./leadership.ts";
import type { Log } from "./log-port.ts";
import { failureText } from "./once-report.ts";
import { openActs } from "./open-acts.ts";
import type { Pulse } from "./pulse.ts";
import type { TickedLook } from "./recorder.ts";
import { createRest } from "./rest.ts";
import { enforces, lackingOf, type Settings, settingsOn } from "./settings.ts";
import { type KeptClock, steadyLink } from "./steady-link.ts";
import { type Memory, type TickResult, tick, withOutcomes } from "./tick.ts";
import { watchWords } from "./watch-words.ts";

export type WatchContext = Readonly<{
  /** The settings in force; a reload replaces them between two looks. */
  settings(): Settings;
  engine: Engine<Target>;
  /** What is known of the target from before: whom a signal went out to. */
  history: History;
  journal: JournalGate;
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  gate: Gate;
  /** Looks into what a crash left open, once a connection is there. */
  recover(link: Link, signal: AbortSignal): Promise<void>;
  /** `connection` is another after every reconnect. */
  record(ticked: TickedLook, connection: number): void;
  log: Log;
  pulse: Pulse;
  /** Outlives this watch, as a reload may make another one of the same target. */
  absence: Absence;
  newId(): string;
  now(): Date;
  /** What is known of the target's clock. */
  clock: KeptClock;
  signal: AbortSignal;
}>;

/** What is there between two looks: nothing to remember with, and only the executor acts. */
export type Interlude = Readonly<{
  settings: Settings;
  link: Pick<Link, "read" | "act" | "prove" | "probe">;
  history: History;
  leader: boolean;
  paused: boolean;
  journal: Pick<JournalGate, "works">;
  signal: AbortSignal;
}>;

type Standing = Readonly<{ connected: boolean; leader: boolean; sentence: string; server: string | null }>;

export type WatchState = Standing &
  Readonly<{
    /** Some rule may signal somebody here; who only observes does not ask for the right to act. */
    enforces: boolean;
    /** Why nobody is signalled there, though the config says enforce; null: nothing bars it. */
    barred: string | null;
    /** A signal is checked for just before, and not within its own statement. */
    unguarded?: true;
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
  /** Ends it after the look that is under way, and tells what becomes of ladders. */
  retire(cause: DropCause): Promise<void>;
  /** What it knows by now. */
  history(): History;
  /** A person has acted: rules leave the successors alone. */
  heed(cooldown: Cooldown): void;
}>;

/** More than an engine waits, past statement_timeout, before it gives up a network that has swallowed a statement. */
const silenceMs = 4_000;
const looksAgain = "looks succeed again";

/** The loop of one target: connect, look when it is due, connect again when that fails. Only this loop catches everything. */
export function watch(context: WatchContext): Watch {
  const { engine, log, pulse, absence, signal } = context;
  let connection: Pick<Link, "capabilities" | "facts"> | null = null;
  const settings = (): Settings =>
    connection === null ? context.settings() : settingsOn(context.settings(), connection);
  const { name } = context.settings().target;
  const open = openActs();
  const memory: Memory = { history: context.history, open };
  const words = watchWords(name, log);
  let failures = 0;
  let connections = 0;
  const right = leadership({ target: name, log });
  const retiring = new AbortController();
  /** Aborts what only waits. */
  const idle = AbortSignal.any([signal, retiring.signal]);
  let inForce = settings();
  /** What is to happen by time alone, whatever the schedule says. */
  let followUp = countdown(Number.POSITIVE_INFINITY);
  let state: Standing = { connected: false, leader: false, sentence: "not connected yet", server: null };
  let lastLookAt: number | null = null;
  let back = looksAgain;
  let woken = false;

  const expect = (afterMs: number) => {
    const { target } = settings();
    // One statement may take its timeout and what silence takes to show, or a connection to another database its own.
    const othersMs = Math.max(target.connect_timeout, silenceMs);
    pulse.expect(name, performance.now() + afterMs + target.statement_timeout + othersMs);
  };
  const rest = createRest({ idle, expect });
  const askers = createAskers(rest.ring);

  /** The settings for what begins now: what was begun under others goes on only where its rule is the same. */
  const adopt = (): Settings => {
    const next = settings();
    if (idle.aborted) return inForce;
    if (next.rules === inForce.rules) {
      inForce = next;
      return next;
    }
    const [old, now] = [inForce, next].map(({ rules }) => rules.map(({ rule }) => rule));
    const { history, dropped } = carryOver(memory.history, old ?? [], now ?? []);
    memory.history = history;
    inForce = next;
    sayDropped(dropped, { ...context, target: name, leader: state.leader });
    return next;
  };

  /** One look; counts down to the next. */
  const lookOnce = async (link: Link): Promise<Due> => {
    const answering = askers.takeLooks();
    try {
      await context.journal.mend();
      await lead(link);
      const lacking = answering.length > 0 ? await sayMissing(link) : [];
      const current = adopt();
      // A reload meanwhile may ask for acts, and the right to act has not been asked for yet.
      state = { ...state, leader: right.held() || !enforces(current) };
      const result = await tick({
        ...context,
        settings: current,
        link,
        memory,
        leader: state.leader,
        paused: context.gate.paused(),
        report: words.report,
        record: (ticked) => context.record(ticked, connections),
        alive: () => expect(0),
      });
      const answer = withOutcomes(result).then((known) => ({ result: known, lacking }));
      for (const one of answering) one.resolve(answer);
      lastLookAt = result.lookedAt;
      say(result.sentence);
      words.gaps(result.snapshot.gaps);
      absence.works(link.facts, back);
      return untilNext(result);
    } catch (error) {
      for (const one of answering) one.reject(error);
      if (error instanceof LinkLost || signal.aborted) throw error;
      // A failed look is a finished one: the next comes when it is due.
      const text = failureText(error);
      absence.fails(`look failed: ${text}`, settings().target.away_for);
      return sooner(untilPoll(settings().target), countdown(longestBackoffMs));
    }
  };
  const answerQuestions = async (link: Link): Promise<void> => {
    for (let next = askers.nextQuestion(); next !== null; next = askers.nextQuestion()) {
      expect(0);
      const current = adopt();
      const { history } = memory;
      const { journal, gate } = context;
      const { leader } = state;
      try {
        await next.ask({ settings: current, link, history, leader, paused: gate.paused(), journal, signal });
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
    words.sentence(sentence);
  };
  const untilNext = ({ nextMs, lookedAt }: TickResult): Due => {
    if (askers.wantLook()) return () => 0;
    // A millisecond more than the threshold: a timer that fires early would look once in vain.
    const changeMs = nextMs === 0 ? 0 : nextMs + 1 - (performance.now() - lookedAt);
    followUp = countdown(Math.min(settings().shortestThresholdMs, changeMs));
    return sooner(untilPoll(settings().target), followUp);
  };

  /** What the role may not see or do is told at the start, not discovered. */
  const sayMissing = async (link: Link): Promise<readonly Missing[]> => {
    const missing = lackingOf(await link.check(signal), settings());
    words.missing(missing);
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
        log.warn({ target: name }, `a probe will not work, and its rules will act on nobody: ${failureText(error)}`);
      });
    }
  };
  /** Between two looks of a follower; with the right comes a look: on a schedule, if there is somebody to follow up. */
  const standBy = async (link: Link, due: Due): Promise<Due> => {
    await lead(link);
    if (!right.held()) return due;
    return sooner(due, memory.history.incidents.size > 0 ? countdown(0) : firstLook(settings().target));
  };
  const connected = async (): Promise<void> => {
    // It opens more than one session, each within its own time.
    expect(settings().target.connect_timeout);
    const link = steadyLink(await engine.connect(settings().target, idle), {
      clock: context.clock,
      jumped: words.jump,
    });
    try {
      const { facts } = link;
      expect(0);
      connection = link;
      if (enforces(context.settings()) && !link.capabilities.acts) words.observedOnly(link.facts.recovery);
      if (enforces(settings()) && !link.capabilities.atomicGuard) words.unguarded();
      const server = `${facts.engine ?? engine.name} ${facts.version}`;
      const sentence = `connected to ${server} as ${facts.role}`;
      // After a loss it is said when a look succeeds, too: whoever lets us in and answers nothing is not back.
      if (absence.isAway()) back = sentence;
      else log.info({ target: name, ...facts }, sentence);
      state = { ...state, connected: true, server };
      memory.history = afterReconnect(memory.history);
      connections++;
      await context.recover(link, signal);
      await sayMissing(link);
      await readyToProbe(link);
      await lead(link);
      let due = firstLook(settings().target);
      if (due() > 0) absence.works(facts, back);
      if (due() > 0) say(`the first look is at ${new Date(Date.now() + due()).toISOString()}, as poll says`);
      while (!idle.aborted) {
        const follows = enforces(settings()) && !right.held();
        await rest.until(follows ? sooner(due, countdown(standByMs)) : due, open.due);
        if (idle.aborted) break;
        if (await open.look()) {
          followUp = countdown(0);
          due = followUp;
        }
        await answerQuestions(link);
        // Woken by a reload: a schedule may say that it is not time yet, and rules may have other probes.
        if (woken) {
          due = sooner(firstLook(settings().target), followUp);
          await readyToProbe(link);
        }
        woken = false;
        if (!askers.wantLook() && due() > 0) {
          if (follows) due = await standBy(link, due);
          if (due() > 0) continue;
        }
        // Nothing acts any more: the right goes with the connection.
        if (right.held() && !enforces(settings()) && open.count() === 0) break;
        due = await lookOnce(link);
        failures = 0;
      }
      await open.toTheirEnd(signal);
    } finally {
      await open.giveUp();
      right.lose();
      state = { ...state, connected: false, leader: false };
      connection = null;
      back = looksAgain;
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
    absence.rest();
    pulse.forget(name);
    askers.abandon(new Error(`target ${name} is not watched any more`));
  };
  const away = async (error: unknown): Promise<void> => {
    const text = failureText(error);
    state = { ...state, sentence: text };
    absence.fails(text, settings().target.away_for);
    askers.abandon(error);
    const pauseMs = backoffMs(failures, error);
    failures = Math.min(failures + 1, 10);
    await rest.until(countdown(pauseMs), open.due);
  };
  const ended = run();
  return {
    ended,
    state: () => {
      const dueMs = rest.leftMs();
      return {
        ...state,
        enforces: enforces(settings()),
        barred: settings().barred,
        ...(connection?.capabilities.atomicGuard === false && { unguarded: true }),
        lookedAgoMs: lastLookAt === null ? null : performance.now() - lastLookAt,
        nextInMs: Number.isFinite(dueMs) ? Math.max(0, dueMs) : null,
      };
    },
    history: () => memory.history,
    heed: (one) => {
      memory.history = { ...memory.history, cooldowns: [...memory.history.cooldowns, one] };
    },
    retire: async (cause) => {
      const { leader } = state;
      retiring.abort(new Error(`target ${name} is not watched any more`));
      await ended;
      const rules = inForce.rules.map(({ rule }) => rule);
      sayDropped(dropAll(memory.history, rules, cause), { ...context, target: name, leader });
    },
    lookNow: askers.lookNow,
    between: askers.between,
    wake: () => {
      woken = true;
      rest.ring();
    },
  };
}
