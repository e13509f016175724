import type { Target } from "../config/schema.ts";
import type { Engine, Link, Missing } from "../engines/engine.ts";
import type { Absence } from "./absence.ts";
import { backoffMs } from "./backoff.ts";
import type { Log } from "./log-port.ts";
import { failureText } from "./once-report.ts";
import { enforces, lackingOf, type Settings, settingsOn } from "./settings.ts";
import { type KeptClock, steadyLink } from "./steady-link.ts";
import type { WatchWords } from "./watch-words.ts";

export type ConnectionContext = Readonly<{
  /** The settings in force; a reload replaces them between two looks. */
  settings(): Settings;
  engine: Engine<Target>;
  /** What is known of the target's clock. */
  clock: KeptClock;
  /** Outlives every watch, as a reload may make another one of the same target. */
  absence: Absence;
  log: Log;
}>;

/** The loop that it serves. `idle` aborts what only waits; `expect` expects life within so many ms and a statement's time. */
type Around = Readonly<{ words: WatchWords; expect(ms: number): void; signal: AbortSignal; idle: AbortSignal }>;

/** The connection to one target, over every loss of it. */
export type Connection = Readonly<{
  /** As they hold on the server that is connected to. */
  settings(): Settings;
  /** Opens it, for as long as `use` takes; rejects when it cannot be opened, and when `use` does. */
  during(use: (link: Link) => Promise<void>): Promise<void>;
  /** What the role may not see or do is told at the start, not discovered. */
  sayMissing(link: Link): Promise<readonly Missing[]>;
  /** Before a pile-up takes every connection; where it cannot be, the probe itself says so when it is asked. */
  readyToProbe(link: Link): Promise<void>;
  /** A look has succeeded over it, or none is due yet. */
  works(link: Link): void;
  /** A look has ended, whatever came of it: if the connection is lost now, the first pause is short again. */
  lasts(): void;
  /** It was lost, or could not be opened: the ms to wait before it is tried again. */
  fails(error: unknown): number;
  /** How many there have been: another after every loss. */
  count(): number;
  state(): ConnectionState;
}>;

export type ConnectionState = Readonly<{
  connected: boolean;
  /** The one that is connected to, or was last. */
  server: string | null;
  /** A signal is checked for just before, and not within its own statement. */
  unguarded?: true;
}>;

const looksAgain = "looks succeed again";

export function connectionOf(context: ConnectionContext, { words, expect, signal, idle }: Around): Connection {
  const { engine, clock, absence, log } = context;
  let open: Pick<Link, "capabilities" | "facts"> | null = null;
  let server: string | null = null;
  let back = looksAgain;
  let failures = 0;
  let count = 0;
  const settings = (): Settings => (open === null ? context.settings() : settingsOn(context.settings(), open));
  const { name: target } = context.settings().target;

  const greet = ({ capabilities, facts }: Link): void => {
    if (enforces(context.settings()) && !capabilities.acts) words.observedOnly(facts.recovery);
    if (enforces(settings()) && !capabilities.atomicGuard) words.unguarded();
    server = `${facts.engine ?? engine.name} ${facts.version}`;
    const sentence = `connected to ${server} as ${facts.role}`;
    // After a loss it is said when a look succeeds, too: whoever lets us in and answers nothing is not back.
    if (absence.isAway()) back = sentence;
    else log.info({ target, ...facts }, sentence);
  };
  return {
    settings,
    during: async (use) => {
      // It opens more than one session, each within its own time.
      expect(settings().target.connect_timeout);
      const link = steadyLink(await engine.connect(settings().target, idle), { clock, jumped: words.jump });
      try {
        expect(0);
        open = link;
        greet(link);
        count++;
        await use(link);
      } finally {
        open = null;
        back = looksAgain;
        await link.close();
      }
    },
    sayMissing: async (link) => {
      const missing = lackingOf(await link.check(signal), settings());
      words.missing(missing);
      return missing;
    },
    readyToProbe: async (link) => {
      const probes = settings().rules.flatMap(({ rule }) => (rule.probe === undefined ? [] : [rule.probe]));
      for (const database of new Set(probes.map((probe) => probe.database))) {
        expect(0);
        await link.readyToProbe(database, signal).catch((error: unknown) => {
          log.warn({ target }, `a probe will not work, and its rules will act on nobody: ${failureText(error)}`);
        });
      }
    },
    works: ({ facts }) => absence.works(facts, back),
    lasts: () => {
      failures = 0;
    },
    fails: (error) => {
      absence.fails(failureText(error), settings().target.away_for);
      const pauseMs = backoffMs(failures, error);
      failures = Math.min(failures + 1, 10);
      return pauseMs;
    },
    count: () => count,
    state: () => ({
      connected: open !== null,
      server,
      ...(open?.capabilities.atomicGuard === false && { unguarded: true }),
    }),
  };
}
