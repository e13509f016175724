import { setImmediate as breathe } from "node:timers/promises";
import type { Config } from "../config/schema.ts";
import type { Decision, Outcome } from "../core/decision.ts";
import type { Freedom } from "../core/history.ts";
import type { Circumstances } from "../core/plan.ts";
import { type Judgement, type Opinion, opinionOf } from "../core/recorded-look.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { readClock, type SteadyClock } from "../core/steady-clock.ts";
import { type LookMask, lookMask } from "../masked-look.ts";
import { errorText } from "../owned-file.ts";
import { queryText } from "../query-text.ts";
import type { Bounds } from "../recording-files.ts";
import { openRecordings, type RecordingStore } from "../recordings.ts";
import type { Log } from "./log-port.ts";

/** A look as its tick leaves it. */
export type TickedLook = Readonly<{
  snapshot: Snapshot;
  circumstances: Circumstances;
  judgements: readonly Readonly<{ decision: Decision; outcome: Outcome | null }>[];
  /** What was remembered before this look. */
  freedom: ReadonlyMap<string, Freedom>;
}>;

/** The flight recorder: keeps the looks at which somebody waits. Never throws, and nobody waits for it. */
export type Recorder = Readonly<{
  look(ticked: TickedLook, connection: number): void;
  /** Until what is pending is written. */
  close(): Promise<void>;
}>;

export type RecorderContext = Readonly<{
  stateDir: string;
  config(): Pick<Config, "recordings" | "query_text" | "targets">;
  log: Log;
  /** Names this run of the daemon. */
  run: string;
  now(): Date;
}>;

/** Looks that wait to be written; more would only fill the memory. */
const mostPending = 4;
const tidyEveryMs = 60_000;
/** Recording rests four times as long as it has worked: looks that come sooner are left out, unless somebody was acted on. */
const restFactor = 4;
const mostOpinions = 1_000;
/** So long it keeps everything else in this process waiting, at most. */
const breathMs = 20;

/** `recorded`: its last look is on record. `missed`: looks left out since. */
type Followed = { recorded: boolean; missed: number };

export function createRecorder({ stateDir, config, log, run, now }: RecorderContext): Recorder {
  const targets = new Map<string, Followed>();
  const line = workLine(() => openRecordings(stateDir), log);
  const mask = masks();
  const aged = steadyHost();
  let tidyAt = 0;
  let closed = false;
  let behind = false;

  /** There is no time for one more look. */
  const isBehind = (target: string, urgent: boolean): boolean => {
    if (line.pending() < mostPending) return !urgent && line.rests();
    if (!behind) log.warn({ target }, "looks come faster than they can be recorded: some are left out");
    behind = true;
    return true;
  };
  return {
    look(ticked, connection) {
      const at = now().getTime();
      const limits = boundsOf(config(), { nowMs: at, agedMs: aged(at) });
      if (closed || limits === null) return;
      if (performance.now() >= tidyAt) {
        tidyAt = performance.now() + tidyEveryMs;
        line.add((store) => store.tidy(limits));
      }
      const { snapshot, judgements } = ticked;
      const followed = targets.get(snapshot.target) ?? { recorded: false, missed: 0 };
      targets.set(snapshot.target, followed);
      const stirs = snapshot.contended || snapshot.waits !== null;
      // The first calm look after them is the end of the story, and the last that is kept of it.
      if (!stirs && !followed.recorded) return;
      if (isBehind(snapshot.target, !stirs || judgements.some(({ decision }) => decision.kind === "act"))) {
        followed.missed++;
        return;
      }
      const standing = { ...followed, run, connection };
      followed.missed = 0;
      followed.recorded = stirs;
      const mode = config().query_text;
      line.add(
        async (store) => {
          const judgement = await judgementOf(ticked, standing);
          await store.append(await (await mask(mode))({ snapshot, judgement }), limits);
        },
        () => followed.missed++,
      );
    },
    async close() {
      closed = true;
      await line.close();
    },
  };
}

/** null: nothing is recorded. */
function boundsOf(
  { recordings, targets }: ReturnType<RecorderContext["config"]>,
  now: Pick<Bounds, "nowMs" | "agedMs">,
): Bounds | null {
  if (recordings === false) return null;
  const names = targets.map(({ name }) => name);
  return { bytes: recordings.size, keepMs: recordings.keep, ...now, targets: names };
}

/** The host's clock less its jumps since the start. */
function steadyHost(): (nowMs: number) => number {
  let last: SteadyClock | null = null;
  return (nowMs) => {
    const ms = performance.now();
    last = readClock(last, { serverMs: nowMs, fromMs: ms, toMs: ms }).clock;
    return last.atMs;
  };
}

/** The mask of the mode in force, with what it has scanned before. */
function masks(): (mode: Config["query_text"]) => Promise<LookMask> {
  let made: { mode: Config["query_text"]; mask: Promise<LookMask> } | null = null;
  return (mode) => {
    if (made?.mode !== mode) made = { mode, mask: queryText(mode).then(lookMask) };
    return made.mask;
  };
}

type Standing = Readonly<Followed & { run: string; connection: number }>;

async function judgementOf({ circumstances, judgements, freedom }: TickedLook, standing: Standing): Promise<Judgement> {
  const { config, mode, paused, leader, journalled } = circumstances;
  const { run, connection, missed, recorded } = standing;
  const ranked = (["act", "spare", "wait"] satisfies Opinion["kind"][]).flatMap((kind) =>
    judgements.filter(({ decision }) => decision.kind === kind),
  );
  return {
    run,
    connection,
    config,
    mode,
    paused,
    leader,
    journalled,
    opinions: await opinionsOf(ranked.slice(0, mostOpinions)),
    missed,
    freedom: recorded && missed === 0 ? null : freedom,
  };
}

/** In a jam of thousands their words take seconds: others run in between. */
async function opinionsOf(judgements: TickedLook["judgements"]): Promise<readonly Opinion[]> {
  const opinions: Opinion[] = [];
  let since = performance.now();
  for (const { decision, outcome } of judgements) {
    opinions.push(opinionOf(decision, outcome));
    if (performance.now() - since < breathMs) continue;
    await breathe();
    since = performance.now();
  }
  return opinions;
}

type WorkLine = Readonly<{
  add(work: (store: RecordingStore) => Promise<void>, onFailure?: () => void): void;
  pending(): number;
  rests(): boolean;
  close(): Promise<void>;
}>;

/** One piece of work after the other. What goes wrong is said once, and so is that it works again. */
function workLine(open: () => Promise<RecordingStore>, log: Log): WorkLine {
  let store: RecordingStore | null = null;
  let last: Promise<void> = Promise.resolve();
  let pending = 0;
  let restsUntil = 0;
  let broken = false;
  const attempt: WorkLine["add"] = (work, onFailure) => {
    pending++;
    last = last.then(async () => {
      const begun = performance.now();
      try {
        store ??= await open();
        await work(store);
        if (broken && onFailure !== undefined) {
          broken = false;
          log.info({}, "looks are recorded again");
        }
      } catch (error) {
        if (!broken) log.error({}, `looks are not recorded: ${errorText(error)}; everything else goes on`);
        broken = true;
        onFailure?.();
      }
      pending--;
      restsUntil = performance.now() + restFactor * (performance.now() - begun);
    });
  };
  return {
    add: attempt,
    pending: () => pending,
    rests: () => performance.now() < restsUntil,
    close: async () => {
      await last;
      await store?.close();
    },
  };
}
