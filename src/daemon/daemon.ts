import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { LoadedConfig } from "../config/load.ts";
import { renderMistake } from "../config/mistake.ts";
import { patterns } from "../config/patterns.ts";
import type { Target } from "../config/schema.ts";
import type { DropCause } from "../core/carry-over.ts";
import { afterReconnection, type History } from "../core/history.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { followPast, historyFrom, type Past } from "../core/journal-past.ts";
import { pausedText } from "../core/pause.ts";
import { actMemoryMs } from "../core/remember.ts";
import { sameValue } from "../core/same-value.ts";
import { engineFor } from "../engines/registry.ts";
import { openJournal } from "../journal.ts";
import { readOpenIntents } from "../journal-lines.ts";
import { readPausedFile } from "../paused-file.ts";
import { queryText } from "../query-text.ts";
import { ownStateDir, type StateDir } from "../state-dir.ts";
import { type Absence, absenceOf } from "./absence.ts";
import { controlHandler } from "./control.ts";
import { followed, journalGate } from "./journal-gate.ts";
import { createKillSwitch } from "./kill-switch.ts";
import type { Log } from "./log-port.ts";
import { createPulse, feedWatchdog } from "./pulse.ts";
import { createRecorder } from "./recorder.ts";
import { recovery } from "./recovery.ts";
import { reloader } from "./reload.ts";
import { settingsFor } from "./settings.ts";
import type { KeptClock } from "./steady-link.ts";
import type { SystemdNotifier } from "./systemd.ts";
import { createTeller } from "./teller.ts";
import { type Watch, watch } from "./watch.ts";

export type Loaded = Extract<LoadedConfig, { kind: "ok" }>;

export type DaemonOptions = Readonly<{
  first: Loaded;
  /** Reads the config file anew. */
  load(): LoadedConfig;
  /** The config's file, as people are told it. */
  file: string;
  stateDir: string;
  log: Log;
  notifier: SystemdNotifier;
}>;

export type Daemon = Readonly<{
  kind: "started";
  /** Reads the config anew; a broken one is refused, and the old one stays. */
  reload(): Promise<void>;
  /** Resolves, with the reason, when it may not go on: somebody removed control.sock, so a second daemon could come. */
  lost: Promise<string>;
  /** Ends within 2 s with everything closed; a second call waits for the first. */
  stop(why: string): Promise<void>;
}>;

type Watched = Readonly<{ target: Target; watch: Watch; stop: AbortController }>;
type Ending = Readonly<{ name: string; history: Promise<History> }>;

/** What a stop waits for what is still running, in ms. */
const runningMs = 1_000;
const tellingMs = 300;
const closingMs = 300;

/** Everything is opened here, in one straight line, and closed in the reverse order by `stop`. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon | Readonly<{ kind: "busy"; text: string }>> {
  const { load, stateDir, log, notifier } = options;
  const owned = await ownStateDir(stateDir);
  if (owned.kind === "busy") return owned;

  let loaded = options.first;
  const stopping = new AbortController();
  const newId = (): string => randomUUID();
  const now = (): Date => new Date();
  const shout = (text: string): void => {
    const at = now().toISOString();
    teller.tell(
      { id: newId(), incident: newId(), phase: "system", at, target: null, decision: null, outcome: null, text },
      undefined,
    );
  };
  const past: Past = new Map();
  const follow = (event: JournalEvent): void => followPast(past, event, actMemoryMs(loaded.config.limits));
  const gate = journalGate({ open: () => openJournal(stateDir), log, shout, newId, now });
  const journal = followed(gate, follow);
  const teller = await createTeller({ channels: loaded.config.channels, stateDir, journal, log, newId });
  const live = async (event: "start" | "stop" | "reload", text: string): Promise<void> => {
    const reason = { code: event, text, facts: { config: loaded.digest, mode: loaded.config.mode, pid: process.pid } };
    // What it cannot write the journal says itself.
    await journal
      .write({ v: 1, id: newId(), at: now().toISOString(), target: null, event, reason } satisfies JournalEvent)
      .catch(() => undefined);
  };
  // Loaded now, so that the first act does not wait for it; without it there is still no text that is not masked.
  void queryText(loaded.config.query_text).catch(() => undefined);
  const { intents, away, torn, unread } = await readOpenIntents(stateDir, follow);
  for (const text of unread)
    log.error(
      {},
      `what a crash may have left open there is not looked into, and acts in it do not count for limits: ${text}`,
    );
  if (torn > 0) log.warn({ lines: torn }, "the journal has lines that are no events: a write was cut short there");
  const { lookInto, giveUp } = recovery({ intents, journal, log, shout, now });
  await live("start", "the daemon starts");
  const killSwitch = createKillSwitch({
    stateDir,
    found: await readPausedFile(stateDir),
    journal,
    log,
    shout,
    changed: () => {
      void notifier.status(status());
      // Whom it was spared for is looked at now, not when a look is due anyway.
      if (killSwitch.state() === null) for (const { watch: one } of watched.values()) one.wake();
    },
    newId,
    now,
    signal: stopping.signal,
  });
  const recorder = createRecorder({ stateDir, config: () => loaded.config, log, run: newId(), now });

  const pulse = createPulse();
  const watched = new Map<string, Watched>();
  // Kept while a reload replaces the watch of a target.
  const clocks = new Map<string, KeptClock>();
  const absences = new Map<string, Absence>();
  const absence = (target: string): Absence => {
    const known = absences.get(target);
    if (known !== undefined) return known;
    const told = away.get(target) ?? null;
    const made = absenceOf({ target, told, journal, tell: teller.tell, log, now });
    absences.set(target, made);
    return made;
  };
  const begin = (target: Target, history = historyFrom(past, target.name, loaded.config.rules)): void => {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, stopping.signal]);
    const clock: KeptClock = clocks.get(target.name) ?? { last: null };
    clocks.set(target.name, clock);
    const one = watch({
      settings: settingsOf(() => loaded, target.name),
      engine: engineFor(target),
      history,
      journal,
      tell: teller.tell,
      gate: killSwitch.gate,
      recover: (link, until) => lookInto(link, target.name, until),
      record: recorder.look,
      log,
      pulse,
      absence: absence(target.name),
      newId,
      now,
      clock,
      signal,
    });
    watched.set(target.name, { target, watch: one, stop });
  };
  /** No further look from this moment on; `history`, of whom was signalled there, when the one that is under way has ended. */
  const end = ({ target, watch: one, stop }: Watched, cause: DropCause, patienceMs: number): Ending => {
    watched.delete(target.name);
    const retired = one.retire(cause);
    const ended = async (): Promise<History> => {
      await within(patienceMs, retired);
      stop.abort(new Error("this target is not watched any more"));
      await retired;
      return afterReconnection(one.history());
    };
    return { name: target.name, history: ended() };
  };
  const status = (): string => {
    const paused = killSwitch.state();
    const parts = [...watched].map(([name, one]) => `${name}: ${one.watch.state().sentence}`);
    return [loaded.config.mode, ...(paused === null ? [] : [pausedText(paused)]), ...parts].join("; ");
  };
  await killSwitch.begin();
  for (const target of loaded.config.targets) begin(target);
  await giveUp(loaded.config.targets.map((target) => target.name));

  owned.serve(
    controlHandler({
      file: options.file,
      watched: () => [...watched].map(([name, one]) => ({ name, watch: one.watch })),
      loaded: () => loaded,
      load,
      killSwitch,
      journal,
      undelivered: teller.waiting,
      hand: { write: journal.write, newId, now, log },
    }),
  );
  await notifier.ready(status());
  const feeding = feedWatchdog({ notifier, pulse, status, log, signal: stopping.signal });
  log.info({ config: loaded.digest, mode: loaded.config.mode, stateDir }, `watching ${[...watched.keys()].join(", ")}`);

  const lost = dispossessed(owned, stopping.signal);
  /** Of targets that were left: one that comes back, or comes back changed, goes on with it. */
  const histories = new Map<string, History>();
  const goOnWith = async (next: Loaded): Promise<void> => {
    const before = loaded;
    const left = [...watched.values()].filter(
      ({ target }) => !next.config.targets.some((one) => sameConnection(one, target)),
    );
    loaded = next;
    // At once: none of them may look under rules that were not meant for it.
    const ending = left.map((one) => {
      const cause = next.config.targets.some(({ name }) => name === one.target.name)
        ? "connection-changed"
        : "target-removed";
      return end(one, cause, before.config.verify_for + one.target.statement_timeout + runningMs);
    });
    await teller.configure(next.config.channels);
    for (const one of watched.values()) one.watch.wake();
    for (const one of ending) histories.set(one.name, await one.history);
    for (const target of next.config.targets) if (!watched.has(target.name)) begin(target, histories.get(target.name));
    for (const warning of next.warnings) log.warn({}, renderMistake(warning));
    const same = next.digest === before.digest;
    const what = same ? "reloaded: the config says the same as before" : "reloaded: the changed config is in force";
    log.info({ config: next.digest, mode: next.config.mode }, what);
    if (next.config.state_dir !== before.config.state_dir)
      log.warn({ stateDir }, "state_dir was changed: it stays as it is until the next start");
    await live("reload", "the config was reloaded");
  };
  const stop = async (why: string): Promise<void> => {
    log.info({}, `stopping: ${why}`);
    void notifier.stopping();
    stopping.abort(new Error(`lockwarden stops: ${why}`));
    await within(runningMs, Promise.all([feeding, ...[...watched.values()].map((one) => one.watch.ended)]));
    await within(tellingMs, Promise.all([teller.close(tellingMs), recorder.close()]));
    await live("stop", why);
    await within(closingMs, journal.close());
    await within(closingMs, owned.close());
    log.info({}, "stopped");
    await log.flush();
  };
  const reload = reloader({ load, follow: goOnWith, notifier, status, log, shout });
  let ending: Promise<void> | null = null;
  return {
    kind: "started",
    lost,
    reload,
    stop: (why) => {
      ending ??= stop(why);
      return ending;
    },
  };
}

const holdsEveryMs = 5_000;

/** Resolves when the state folder is not ours any more; never, when the daemon stops before. */
async function dispossessed(owned: StateDir, signal: AbortSignal): Promise<string> {
  while (await owned.holds()) {
    await sleep(holdsEveryMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return new Promise(() => undefined);
  }
  return `control.sock in ${owned.path} was removed or replaced, so this daemon does not own that folder any more`;
}

/** The settings of one target under the config in force, made once for each config. */
function settingsOf(loaded: () => Loaded, name: string) {
  let made: { from: Loaded; settings: ReturnType<typeof settingsFor> } | null = null;
  return () => {
    const from = loaded();
    const target = from.config.targets.find((candidate) => candidate.name === name) ?? made?.settings.target;
    if (target === undefined) throw new Error(`target ${name} is in no config`);
    if (made?.from !== from) made = { from, settings: settingsFor(from.config, from.digest, target, patterns) };
    return made.settings;
  };
}

/** A change of these makes another connection; everything else takes effect at the next look. */
function sameConnection(one: Target, other: Target): boolean {
  const connection = ({ mode: _mode, poll: _poll, timezone: _timezone, away_for: _away, ...rest }: Target) => rest;
  return sameValue(connection(one), connection(other));
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise.catch(() => undefined), bound]);
  clearTimeout(timer);
}
