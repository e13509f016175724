import { patterns } from "../config/patterns.ts";
import type { Target } from "../config/schema.ts";
import type { DropCause } from "../core/carry-over.ts";
import { afterReconnection, type History } from "../core/history.ts";
import { historyFrom, type Past } from "../core/journal-past.ts";
import { sameValue } from "../core/same-value.ts";
import { engineFor } from "../engines/registry.ts";
import type { Away } from "../journal-lines.ts";
import { type Absence, absenceOf } from "./absence.ts";
import type { Loaded } from "./daemon.ts";
import type { Recovery } from "./recovery.ts";
import { settingsFor } from "./settings.ts";
import type { KeptClock } from "./steady-link.ts";
import { type Watch, type WatchContext, watch } from "./watch.ts";
import { patiently } from "./within.ts";

/** The watches of all targets, over every reload. */
export type Targets = Readonly<{
  watched(): readonly Readonly<{ name: string; watch: Watch }>[];
  /** Those of the config in force. */
  begin(): void;
  /** Ends, at once, those that another config has no more or reaches another way: none may look under rules not meant for it. */
  leave(before: Loaded, next: Loaded): readonly Ending[];
  /** Under the config in force: what was kept looks now, and what was left or is new begins. */
  goOn(left: readonly Ending[]): Promise<void>;
}>;

/** `history`: of whom was signalled there, when the look that is under way has ended. */
export type Ending = Readonly<{ name: string; history: Promise<History> }>;

export type TargetsContext = Pick<
  WatchContext,
  "journal" | "tell" | "gate" | "record" | "log" | "pulse" | "newId" | "now" | "signal"
> &
  Readonly<{
    /** The config in force. */
    loaded(): Loaded;
    /** What the journal knows of acts, by target. */
    past: Past;
    /** Of which targets people were told that they are away. */
    away: ReadonlyMap<string, Away>;
    lookInto: Recovery["lookInto"];
  }>;

type Watched = Readonly<{ target: Target; watch: Watch; stop: AbortController }>;

/** For a look that is ending, beyond its own time. */
const endingMs = 1_000;

export function createTargets({ loaded, past, away, lookInto, signal: stopping, ...rest }: TargetsContext): Targets {
  const watched = new Map<string, Watched>();
  // Kept while a reload replaces the watch of a target; of one that was left, for when it comes back.
  const clocks = new Map<string, KeptClock>();
  const absences = new Map<string, Absence>();
  const histories = new Map<string, History>();

  const begin = (target: Target): void => {
    const { name } = target;
    const stop = new AbortController();
    const one = watch({
      ...rest,
      settings: settingsOf(loaded, name),
      engine: engineFor(target),
      history: histories.get(name) ?? historyFrom(past, name, loaded().config.rules),
      recover: (link, until) => lookInto(link, name, until),
      absence: kept(absences, name, () => absenceOf({ ...rest, target: name, told: away.get(name) ?? null })),
      clock: kept(clocks, name, () => ({ last: null })),
      signal: AbortSignal.any([stop.signal, stopping]),
    });
    watched.set(name, { target, watch: one, stop });
  };
  /** No further look from this moment on. */
  const end = ({ target, watch: one, stop }: Watched, cause: DropCause, patienceMs: number): Ending => {
    watched.delete(target.name);
    const retired = one.retire(cause);
    const ended = async (): Promise<History> => {
      await patiently(patienceMs, retired);
      stop.abort(new Error("this target is not watched any more"));
      await retired;
      return afterReconnection(one.history());
    };
    return { name: target.name, history: ended() };
  };
  return {
    watched: () => Array.from(watched, ([name, one]) => ({ name, watch: one.watch })),
    begin: () => {
      for (const target of loaded().config.targets) begin(target);
    },
    leave: (before, { config }) => {
      const left = [...watched.values()].filter(({ target }) => !config.targets.some((one) => isSame(one, target)));
      return left.map((one) => {
        const { name, statement_timeout } = one.target;
        const isThere = config.targets.some((other) => other.name === name);
        const patienceMs = before.config.verify_for + statement_timeout + endingMs;
        return end(one, isThere ? "connection-changed" : "target-removed", patienceMs);
      });
    },
    goOn: async (left) => {
      for (const one of watched.values()) one.watch.wake();
      for (const one of left) histories.set(one.name, await one.history);
      for (const target of loaded().config.targets) if (!watched.has(target.name)) begin(target);
    },
  };
}

function kept<T>(made: Map<string, T>, name: string, make: () => T): T {
  const known = made.get(name) ?? make();
  made.set(name, known);
  return known;
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
function isSame(one: Target, other: Target): boolean {
  const connection = ({ mode: _mode, poll: _poll, timezone: _timezone, away_for: _away, ...rest }: Target) => rest;
  return sameValue(connection(one), connection(other));
}
