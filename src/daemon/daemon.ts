import { randomUUID } from "node:crypto";
import type { Config, Target } from "../config/schema.ts";
import type { LoadedConfig } from "../config/load.ts";
import { patterns } from "../config/patterns.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { engineFor } from "../engines/registry.ts";
import { openJournal } from "../journal.ts";
import type { Notice } from "../notify/channel.ts";
import { ownStateDir, type StateDir } from "../state-dir.ts";
import { controlHandler } from "./control.ts";
import { type JournalGate, journalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";
import { createPulse, feedWatchdog } from "./pulse.ts";
import { openIncidents, type Recovery } from "./recovery.ts";
import { type Settings, settingsFor } from "./settings.ts";
import type { SystemdNotifier } from "./systemd.ts";
import { createTeller, type Teller } from "./teller.ts";
import { type Watch, watch } from "./watch.ts";

export type DaemonOptions = Readonly<{
  /** Reads the config file anew. */
  load(): LoadedConfig;
  stateDir: string;
  log: Log;
  notifier: SystemdNotifier;
}>;

export type Daemon = Readonly<{
  kind: "started";
  /** Reads the config anew; a broken one is refused, and the old one stays. */
  reload(): Promise<void>;
  /** Ends when everything is closed; the second call waits for the first. */
  stop(why: string): Promise<void>;
}>;

export type NotStarted = Readonly<{ kind: "bad"; mistakes: Extract<LoadedConfig, { kind: "bad" }>["mistakes"] } | { kind: "busy"; text: string }>;

type Loaded = Readonly<{ config: Config; digest: string }>;
type Watched = Readonly<{ watch: Watch; stop: AbortController; connection: string }>;

/** How long a stop waits for what is running, in ms; all of it ends in under 2 s. */
const stopMs = 1_200;

/** The daemon: everything is opened here, and closed in the reverse order by `stop`. Kept in one straight line on purpose. */
export async function startDaemon({ load, stateDir, log, notifier }: DaemonOptions): Promise<Daemon | NotStarted> {
  const first = load();
  if (first.kind === "bad") return first;
  const owned = await ownStateDir(stateDir);
  if (owned.kind === "busy") return owned;
  let loaded: Loaded = first;
  const stopping = new AbortController();
  const newId = (): string => randomUUID();
  const now = (): Date => new Date();
  const shout = (text: string): void => teller.tell(systemNotice(newId(), now(), text), undefined);
  const journal = journalGate({ open: () => openJournal(stateDir), log, shout, newId, now });
  const teller: Teller = await createTeller({ config: () => loaded.config, stateDir, journal, log, newId, now });
  const recovery = await openIncidents({ stateDir, journal, log, shout, now });
  await journal.write(lifeEvent(newId(), now(), "start", first.digest)).catch(() => undefined);
  const pulse = createPulse();
  const watched = new Map<string, Watched>();

  const begin = (target: Target): void => {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, stopping.signal]);
    const settings = cached(() => loaded, target.name);
    const recover: Recovery["lookInto"] = (link, within) => recovery.lookInto(link, within, target.name);
    const one = watch({ settings, engine: engineFor(target), journal, tell: teller.tell, paused: () => false, recover: (link, within) => recover(link, within, target.name), log, pulse, newId, now, signal });
    watched.set(target.name, { watch: one, stop, connection: connectionOf(target) });
  };
  const end = async (name: string): Promise<void> => {
    const one = watched.get(name);
    watched.delete(name);
    one?.stop.abort(new Error("this target is not watched any more"));
    await one?.watch.ended;
  };
  for (const target of first.config.targets) begin(target);
  recovery.giveUp(first.config.targets.map((target) => target.name));

  const status = (): string => {
    const parts = [...watched].map(([name, one]) => `${name}: ${one.watch.state().sentence}`);
    return `${loaded.config.mode}; ${parts.join("; ")}`;
  };
  owned.serve(controlHandler({ watched: () => [...watched].map(([name, one]) => ({ name, watch: one.watch })), config: () => loaded }));
  await notifier.ready(status());
  const feeding = feedWatchdog({ notifier, pulse, status, log, signal: stopping.signal });

  const reload = async (): Promise<void> => {
    await notifier.reloading();
    const next = load();
    if (next.kind === "bad") {
      const mistakes = next.mistakes.map((mistake) => renderMistake(mistake));
      log.error({ mistakes }, `the changed config is refused, the old one stays: ${mistakes[0] ?? ""}`);
    } else {
      loaded = next;
      teller.configure();
      for (const [name, one] of watched) {
        const target = next.config.targets.find((candidate) => candidate.name === name);
        if (target === undefined || connectionOf(target) !== one.connection) await end(name);
        else one.watch.look();
      }
      for (const target of next.config.targets) if (!watched.has(target.name)) begin(target);
      log.info({ config: next.digest }, "the changed config is in force");
      await journal.write(lifeEvent(newId(), now(), "reload", next.digest)).catch(() => undefined);
    }
    await notifier.ready(status());
  };
  let ending: Promise<void> | null = null;
  const stop = async (why: string): Promise<void> => {
    log.info({}, `stopping: ${why}`);
    void notifier.stopping();
    stopping.abort(new Error(`lockwarden stops: ${why}`));
    await bounded(Promise.all([feeding, ...[...watched.values()].map((one) => one.watch.ended)]), stopMs);
    await bounded(teller.close(), 300);
    await journal.write(lifeEvent(newId(), now(), "stop", loaded.digest)).catch(() => undefined);
    await journal.close().catch(() => undefined);
    await bounded(owned.close(), 200);
    log.info({}, "stopped");
    await log.flush();
  };
  let reloading: Promise<void> = Promise.resolve();
  return {
    kind: "started",
    reload: () => {
      reloading = reloading.then(reload);
      return reloading;
    },
    stop: (why) => {
      ending ??= stop(why);
      return ending;
    },
  };
}
