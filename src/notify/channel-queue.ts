import { spokenDuration } from "../core/spoken-duration.ts";
import { unreachable } from "../core/unreachable.ts";
import { errorText } from "../owned-file.ts";
import { bell } from "./bell.ts";
import type { Channel, Delivery, Notice } from "./channel.ts";
import type { Log } from "./log-channel.ts";

export type Retry = Readonly<{
  /** The first pause; it doubles with each failure up to the longest. */
  firstMs: number;
  longestMs: number;
  /** A notice that nobody took for so long is given up; after a restart its time begins anew. */
  giveUpAfterMs: number;
  /** One attempt takes at most so long. */
  attemptMs: number;
  /** At most so many notices wait for one channel. */
  mostWaiting: number;
}>;

/**
 * One notice on its way; `key` is its file in the spool, null when it could not be kept there. `sinceMs`: since when this
 * process has had it, by a clock that nobody sets: else a host's clock put forward by a day would drop every notice.
 */
export type Waiting = { readonly notice: Notice; readonly sinceMs: number; key: string | null; attempts: number };

export type End = Readonly<{ delivered: boolean; error: string | null }>;

/** The notices of one channel, delivered one after the other. */
export type ChannelQueue = Readonly<{
  add(waiting: Waiting): void;
  waiting(): readonly Waiting[];
  /** Delivers what can be delivered at once, until `graceful` aborts; then stops what is under way. */
  close(graceful: AbortSignal): Promise<void>;
}>;

type Options = Readonly<{
  retry: Retry;
  log: Log;
  /** Ms by a clock that nobody sets. */
  elapsed: () => number;
  /** A notice is delivered or given up: it is to be recorded, and to leave the spool. */
  ended(waiting: Waiting, end: End): Promise<void>;
}>;

/** A notice that failed so often steps back behind those that were tried less: one poisoned mail must not block all. */
const triesInFront = 5;

export function channelQueue(channel: Channel, options: Options): ChannelQueue {
  const { retry, log, elapsed, ended } = options;
  const waiting: Waiting[] = [];
  const changed = bell();
  const stop = new AbortController();
  const closing = new AbortController();
  const abort = () => stop.abort(new Error("lockwarden is stopping"));
  let current: Waiting | null = null;
  let dropping: Promise<void> = Promise.resolve();
  let failures = 0;
  let lastError: string | null = null;

  async function finish(one: Waiting, end: End): Promise<void> {
    const place = waiting.indexOf(one);
    if (place !== -1) waiting.splice(place, 1);
    await ended(one, end);
  }

  async function conclude(one: Waiting, delivery: Delivery): Promise<void> {
    const about = { channel: channel.name, notice: one.notice.id };
    switch (delivery.kind) {
      case "delivered":
        if (failures > 0) log.info(about, `channel ${channel.name} delivers again, after ${failures} failed attempts`);
        if (delivery.warning !== undefined) log.warn(about, `channel ${channel.name}: ${delivery.warning}`);
        failures = 0;
        lastError = null;
        return finish(one, { delivered: true, error: delivery.warning ?? null });
      case "dropped":
        log.error(about, `channel ${channel.name} refused a notice for good: ${delivery.error}`);
        return finish(one, { delivered: false, error: delivery.error });
      case "retry":
        return postpone(one, delivery.error);
      default:
        return unreachable(delivery);
    }
  }

  async function postpone(one: Waiting, error: string): Promise<void> {
    const about = { channel: channel.name, notice: one.notice.id };
    failures += 1;
    one.attempts += 1;
    if (error !== lastError) log.warn(about, `channel ${channel.name} cannot deliver, and tries again: ${error}`);
    lastError = error;
    const ageMs = elapsed() - one.sinceMs;
    if (ageMs < retry.giveUpAfterMs) return;
    log.error(about, `channel ${channel.name}: a notice is given up after ${spokenDuration(ageMs)}: ${error}`);
    await finish(one, { delivered: false, error });
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      const one = next(waiting);
      if (one === undefined) {
        if (closing.signal.aborted) return;
        await changed.wait(null);
        continue;
      }
      current = one;
      const delivery = await attempt(channel, one.notice, { signal: stop.signal, ms: retry.attemptMs });
      if (stop.signal.aborted && delivery.kind === "retry") return;
      await conclude(one, delivery);
      current = null;
      // What could not be delivered stays in the spool for the next start.
      if (delivery.kind === "retry" && closing.signal.aborted) return;
      if (delivery.kind === "retry") await pause(delivery.afterMs);
    }
  }

  async function pause(askedMs: number | null): Promise<void> {
    const end = performance.now() + pauseMs(retry, failures, askedMs);
    // A ring cuts the pause short only for a notice that goes in front of those that failed.
    for (let left = end - performance.now(); left > 0 && !closing.signal.aborted; left = end - performance.now()) {
      await changed.wait(left);
      if (next(waiting)?.attempts === 0) return;
    }
  }

  function dropOldest(): void {
    // Not the one under way: it may be taken at this very moment.
    const oldest = waiting.find((one) => one !== current);
    if (waiting.length <= retry.mostWaiting || oldest === undefined) return;
    const about = { channel: channel.name, notice: oldest.notice.id };
    log.error(about, `channel ${channel.name}: its oldest notice is dropped, as ${retry.mostWaiting} wait already`);
    const error = `dropped: more than ${retry.mostWaiting} notices waited`;
    dropping = Promise.all([dropping, finish(oldest, { delivered: false, error })]).then(() => undefined);
  }

  const running = run();
  return {
    add(one) {
      waiting.push(one);
      dropOldest();
      changed.ring();
    },
    waiting: () => waiting,
    async close(graceful) {
      closing.abort();
      graceful.addEventListener("abort", abort);
      if (graceful.aborted) abort();
      changed.ring();
      await running;
      await dropping;
      graceful.removeEventListener("abort", abort);
      await channel.close();
    },
  };
}

/** The first of those that were tried least, in rounds of a few tries. */
function next(waiting: readonly Waiting[]): Waiting | undefined {
  const round = (one: Waiting) => Math.floor(one.attempts / triesInFront);
  return waiting.reduce<Waiting | undefined>(
    (best, one) => (best === undefined || round(one) < round(best) ? one : best),
    undefined,
  );
}

function pauseMs(retry: Retry, failures: number, askedMs: number | null): number {
  const doubled = retry.firstMs * 2 ** Math.min(failures - 1, 30);
  return Math.min(Math.max(doubled, askedMs ?? 0), retry.longestMs);
}

/** A channel that throws, or does not come back in time, is tried again. */
async function attempt(
  channel: Channel,
  notice: Notice,
  limit: { signal: AbortSignal; ms: number },
): Promise<Delivery> {
  const deadline = new AbortController();
  const stop = () => deadline.abort(limit.signal.reason);
  const timer = setTimeout(() => deadline.abort(new Error(`no end within ${limit.ms} ms`)), limit.ms);
  limit.signal.addEventListener("abort", stop);
  const late = new Promise<Delivery>((resolve) => {
    deadline.signal.addEventListener("abort", () => {
      resolve({ kind: "retry", afterMs: null, error: errorText(deadline.signal.reason) });
    });
  });
  try {
    return await Promise.race([channel.deliver(notice, deadline.signal), late]);
  } catch (error) {
    return { kind: "retry", afterMs: null, error: errorText(error) };
  } finally {
    clearTimeout(timer);
    limit.signal.removeEventListener("abort", stop);
  }
}
