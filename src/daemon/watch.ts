import type { DropCause } from "../core/carry-over.ts";
import { afterReconnect, afterTakeover, type Cooldown, type History } from "../core/history.ts";
import { type Link, LinkLost } from "../engines/engine.ts";
import type { Gate } from "../executor.ts";
import type { Notice } from "../notify/channel.ts";
import { type Asked, createAskers, type Interlude } from "./askers.ts";
import { longestBackoffMs } from "./backoff.ts";
import { type ConnectionContext, type ConnectionState, connectionOf } from "./connection.ts";
import { countdown, type Due, firstLook, sooner, untilPoll } from "./due.ts";
import type { JournalGate } from "./journal-gate.ts";
import { leadership, standByMs } from "./leadership.ts";
import { failureText } from "./once-report.ts";
import { openActs } from "./open-acts.ts";
import { lifeOf, type Pulse } from "./pulse.ts";
import type { TickedLook } from "./recorder.ts";
import { createRest } from "./rest.ts";
import { enforces } from "./settings.ts";
import { settingsInForce } from "./settings-in-force.ts";
import { type Memory, type TickResult, tick, withOutcomes } from "./tick.ts";
import { watchWords } from "./watch-words.ts";

export type WatchContext = ConnectionContext &
  Readonly<{
    /** What is known of the target from before: whom a signal went out to. */
    history: History;
    journal: JournalGate;
    tell(notice: Notice, channels: readonly string[] | undefined): void;
    gate: Gate;
    /** Looks into what a crash left open, once a connection is there. */
    recover(link: Link, signal: AbortSignal): Promise<void>;
    /** `connection` is another after every reconnect. */
    record(ticked: TickedLook, connection: number): void;
    pulse: Pulse;
    newId(): string;
    now(): Date;
    signal: AbortSignal;
  }>;

export type WatchState = ConnectionState &
  Readonly<{
    leader: boolean;
    sentence: string;
    /** Some rule may signal somebody here; who only observes does not ask for the right to act. */
    enforces: boolean;
    /** Why nobody is signalled there, though the config says enforce; null: nothing bars it. */
    barred: string | null;
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

/** The loop of one target: connect, look when it is due, connect again when that fails. Only this loop catches everything. */
export function watch(context: WatchContext): Watch {
  const { log, pulse, absence, journal, gate, signal } = context;
  const { name } = context.settings().target;
  const open = openActs();
  const memory: Memory = { history: context.history, open };
  const words = watchWords(name, log);
  const right = leadership({ target: name, log });
  const retiring = new AbortController();
  /** Aborts what only waits. */
  const idle = AbortSignal.any([signal, retiring.signal]);
  const expect = lifeOf(pulse, () => context.settings().target);
  const connection = connectionOf(context, { words, expect, signal, idle });
  const { settings } = connection;
  const inForce = settingsInForce(settings(), { ...context, memory }, idle);
  const rest = createRest({ idle, expect });
  const askers = createAskers(rest.ring);
  let leader = false;
  let sentence = "not connected yet";
  let lastLookAt: number | null = null;
  /** What is to happen by time alone, whatever the schedule says. */
  let followUp = countdown(Number.POSITIVE_INFINITY);
  let woken = false;

  /** Only who may act asks for the right to: a trial in observe must not disarm the daemon beside it. */
  const lead = async (link: Link): Promise<void> => {
    if (!enforces(settings())) {
      leader = true;
      return;
    }
    const { held, tookOver } = await right.ask(link, signal);
    if (tookOver) memory.history = afterTakeover(memory.history);
    leader = held;
  };
  const say = (text: string): void => {
    sentence = text;
    words.sentence(text);
  };
  /** One look; counts down to the next. */
  const lookOnce = async (link: Link): Promise<Due> => {
    const answering = askers.takeLooks();
    try {
      await journal.mend();
      await lead(link);
      const lacking = answering.length > 0 ? await connection.sayMissing(link) : [];
      const current = inForce.adopt(settings(), leader);
      // A reload meanwhile may ask for acts, and the right to act has not been asked for yet.
      leader = right.held() || !enforces(current);
      const result = await tick({
        ...context,
        settings: current,
        link,
        memory,
        leader,
        paused: gate.paused(),
        report: words.report,
        record: (ticked) => context.record(ticked, connection.count()),
        alive: () => expect(0),
      });
      const answer = withOutcomes(result).then((known) => ({ result: known, lacking }));
      for (const one of answering) one.resolve(answer);
      lastLookAt = result.lookedAt;
      say(result.sentence);
      words.gaps(result.snapshot.gaps);
      connection.works(link);
      return untilNext(result);
    } catch (error) {
      for (const one of answering) one.reject(error);
      if (error instanceof LinkLost || signal.aborted) throw error;
      // A failed look is a finished one: the next comes when it is due.
      absence.fails(`look failed: ${failureText(error)}`, settings().target.away_for);
      return sooner(untilPoll(settings().target), countdown(longestBackoffMs));
    }
  };
  const untilNext = ({ nextMs, lookedAt }: TickResult): Due => {
    if (askers.wantLook()) return () => 0;
    // A millisecond more than the threshold: a timer that fires early would look once in vain.
    const changeMs = nextMs === 0 ? 0 : nextMs + 1 - (performance.now() - lookedAt);
    followUp = countdown(Math.min(settings().shortestThresholdMs, changeMs));
    return sooner(untilPoll(settings().target), followUp);
  };
  const interlude = (link: Link): Interlude => {
    expect(0);
    const current = inForce.adopt(settings(), leader);
    return { settings: current, link, history: memory.history, leader, paused: gate.paused(), journal, signal };
  };
  /** Between two looks of a follower; with the right comes a look: on a schedule, if there is somebody to follow up. */
  const standBy = async (link: Link, due: Due): Promise<Due> => {
    await lead(link);
    if (!right.held()) return due;
    return sooner(due, memory.history.incidents.size > 0 ? countdown(0) : firstLook(settings().target));
  };
  /** Looks whenever it is due, until nothing more is to be done over this connection. */
  const lookOn = async (link: Link, first: Due): Promise<void> => {
    let due = first;
    while (!idle.aborted) {
      const follows = enforces(settings()) && !right.held();
      await rest.until(follows ? sooner(due, countdown(standByMs)) : due, open.due);
      if (idle.aborted) break;
      if (await open.look()) {
        followUp = countdown(0);
        due = followUp;
      }
      await askers.answer(() => interlude(link));
      // Woken by a reload: a schedule may say that it is not time yet, and rules may have other probes.
      if (woken) {
        due = sooner(firstLook(settings().target), followUp);
        await connection.readyToProbe(link);
      }
      woken = false;
      if (!askers.wantLook() && due() > 0) {
        if (follows) due = await standBy(link, due);
        if (due() > 0) continue;
      }
      // Nothing acts any more: the right goes with the connection.
      if (right.held() && !enforces(settings()) && open.count() === 0) break;
      due = await lookOnce(link);
      connection.lasts();
    }
    await open.toTheirEnd(signal);
  };
  const begin = async (link: Link): Promise<Due> => {
    memory.history = afterReconnect(memory.history);
    await context.recover(link, signal);
    await connection.sayMissing(link);
    await connection.readyToProbe(link);
    await lead(link);
    const due = firstLook(settings().target);
    if (due() > 0) connection.works(link);
    if (due() > 0) say(`the first look is at ${new Date(Date.now() + due()).toISOString()}, as poll says`);
    return due;
  };
  const connected = async (link: Link): Promise<void> => {
    try {
      await lookOn(link, await begin(link));
    } finally {
      await open.giveUp();
      right.lose();
      leader = false;
    }
  };
  const run = async (): Promise<void> => {
    while (!idle.aborted) {
      try {
        await connection.during(connected);
      } catch (error) {
        if (idle.aborted) break;
        sentence = failureText(error);
        const pauseMs = connection.fails(error);
        askers.abandon(error);
        await rest.until(countdown(pauseMs), open.due);
      }
    }
    absence.rest();
    pulse.forget(name);
    askers.abandon(new Error(`target ${name} is not watched any more`));
  };
  const ended = run();
  return {
    ended,
    state: () => {
      const { connected: isConnected, server, ...signals } = connection.state();
      const dueMs = rest.leftMs();
      return {
        connected: isConnected,
        leader,
        sentence,
        server,
        enforces: enforces(settings()),
        barred: settings().barred,
        ...signals,
        lookedAgoMs: lastLookAt === null ? null : performance.now() - lastLookAt,
        nextInMs: Number.isFinite(dueMs) ? Math.max(0, dueMs) : null,
      };
    },
    history: () => memory.history,
    heed: (one) => {
      memory.history = { ...memory.history, cooldowns: [...memory.history.cooldowns, one] };
    },
    retire: async (cause) => {
      const led = leader;
      retiring.abort(new Error(`target ${name} is not watched any more`));
      await ended;
      inForce.drop(cause, led);
    },
    lookNow: askers.lookNow,
    between: askers.between,
    wake: () => {
      woken = true;
      rest.ring();
    },
  };
}
