import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { LoadedConfig } from "../config/load.ts";
import { renderMistake } from "../config/mistake.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { followPast, type Past } from "../core/journal-past.ts";
import { pausedText } from "../core/pause.ts";
import { actMemoryMs } from "../core/remember.ts";
import { openJournal } from "../journal.ts";
import { readOpenIntents } from "../journal-lines.ts";
import { readPausedFile } from "../paused-file.ts";
import { queryText } from "../query-text.ts";
import { ownStateDir, type StateDir } from "../state-dir.ts";
import { controlHandler } from "./control.ts";
import { followed, journalGate } from "./journal-gate.ts";
import { createKillSwitch } from "./kill-switch.ts";
import type { Log } from "./log-port.ts";
import { createPulse, feedWatchdog } from "./pulse.ts";
import { createRecorder } from "./recorder.ts";
import { recovery } from "./recovery.ts";
import { reloader } from "./reload.ts";
import type { SystemdNotifier } from "./systemd.ts";
import { createTargets } from "./targets.ts";
import { createTeller } from "./teller.ts";
import { patiently } from "./within.ts";

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
      if (killSwitch.state() === null) for (const { watch } of targets.watched()) watch.wake();
    },
    newId,
    now,
    signal: stopping.signal,
  });
  const recorder = createRecorder({ stateDir, config: () => loaded.config, log, run: newId(), now });

  const pulse = createPulse();
  const targets = createTargets({
    loaded: () => loaded,
    past,
    away,
    journal,
    tell: teller.tell,
    gate: killSwitch.gate,
    lookInto,
    record: recorder.look,
    log,
    pulse,
    newId,
    now,
    signal: stopping.signal,
  });
  const status = (): string => {
    const paused = killSwitch.state();
    const parts = targets.watched().map(({ name, watch }) => `${name}: ${watch.state().sentence}`);
    return [loaded.config.mode, ...(paused === null ? [] : [pausedText(paused)]), ...parts].join("; ");
  };
  await killSwitch.begin();
  targets.begin();
  await giveUp(loaded.config.targets.map((target) => target.name));

  owned.serve(
    controlHandler({
      file: options.file,
      watched: targets.watched,
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
  log.info(
    { config: loaded.digest, mode: loaded.config.mode, stateDir },
    `watching ${targets
      .watched()
      .map(({ name }) => name)
      .join(", ")}`,
  );

  const lost = dispossessed(owned, stopping.signal);
  const goOnWith = async (next: Loaded): Promise<void> => {
    const before = loaded;
    loaded = next;
    const left = targets.leave(before, next);
    await teller.configure(next.config.channels);
    await targets.goOn(left);
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
    await patiently(runningMs, Promise.all([feeding, ...targets.watched().map(({ watch }) => watch.ended)]));
    await patiently(tellingMs, Promise.all([teller.close(tellingMs), recorder.close()]));
    await live("stop", why);
    await patiently(closingMs, journal.close());
    await patiently(closingMs, owned.close());
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
