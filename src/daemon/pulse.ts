import { setTimeout as timer } from "node:timers/promises";
import { formatDuration } from "../config/duration.ts";
import type { Target } from "../config/schema.ts";
import type { Log } from "./log-port.ts";
import type { SystemdNotifier } from "./systemd.ts";

export type Health = Readonly<{ healthy: true }> | Readonly<{ healthy: false; target: string; lateMs: number }>;

/** Which targets still show life. Moments are monotonic milliseconds: a clock that is set must not restart the daemon. */
export type Pulse = Readonly<{
  /** By then this target must have shown life again: its due look plus its statement timeout. */
  expect(target: string, byMs: number): void;
  /** It is not watched any more. */
  forget(target: string): void;
  /** If any target is late, the latest of them. */
  isHealthy(nowMs: number): Health;
}>;

export function createPulse(): Pulse {
  const due = new Map<string, number>();
  return {
    expect: (target, byMs) => void due.set(target, byMs),
    forget: (target) => void due.delete(target),
    isHealthy: (nowMs) => {
      let latest: Health = { healthy: true };
      for (const [target, byMs] of due) {
        const lateMs = nowMs - byMs;
        if (lateMs > 0 && (latest.healthy || lateMs > latest.lateMs)) latest = { healthy: false, target, lateMs };
      }
      return latest;
    },
  };
}

/** More than an engine waits, past statement_timeout, before it gives up a network that has swallowed a statement. */
const silenceMs = 4_000;

/** Expects life of one target within so many ms and what one statement may take. */
export function lifeOf(pulse: Pick<Pulse, "expect">, target: () => Target): (withinMs: number) => void {
  return (withinMs) => {
    const { name, statement_timeout, connect_timeout } = target();
    // Its timeout and what silence takes to show, or a connection to another database its own.
    pulse.expect(name, performance.now() + withinMs + statement_timeout + Math.max(connect_timeout, silenceMs));
  };
}

export type Feeding = Readonly<{
  notifier: SystemdNotifier;
  pulse: Pulse;
  /** One sentence for `systemctl status`. */
  status: () => string;
  log: Pick<Log, "error" | "info">;
  signal: AbortSignal;
  now?: () => number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}>;

/** Until the signal: tells systemd's watchdog that all is well, as long as it is. Ends at once when there is no watchdog. */
export async function feedWatchdog({ notifier, pulse, status, log, signal, ...clock }: Feeding): Promise<void> {
  const { now = () => performance.now(), sleep = sleepOrStop } = clock;
  const { watchdogMs } = notifier;
  if (watchdogMs === null) return;
  let fed = true;
  while (!signal.aborted) {
    const health = pulse.isHealthy(now());
    if (health.healthy) {
      await notifier.watchdog(status());
      if (!fed) log.info({}, "every target is looked at again: systemd's watchdog is fed again");
    } else if (fed)
      log.error({ target: health.target, lateMs: Math.round(health.lateMs) }, sentence(health, watchdogMs));
    fed = health.healthy;
    await sleep(watchdogMs / 3, signal);
  }
}

function sentence({ target, lateMs }: Extract<Health, { healthy: false }>, watchdogMs: number): string {
  const limit = formatDuration(watchdogMs);
  return (
    `target ${target} should have been looked at ${formatDuration(lateMs)} ago and was not: ` +
    `systemd's watchdog is not fed, and restarts Lockwarden ${limit} after it was last fed unless the target shows life`
  );
}

async function sleepOrStop(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await timer(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
