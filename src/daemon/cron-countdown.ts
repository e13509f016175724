import { nextCron } from "./schedule.ts";

/** `wall`: ms since 1970, as the host's clock shows; `steady`: ms that nobody sets. */
export type HostClocks = Readonly<{ wall(): number; steady(): number }>;

const hostClocks: HostClocks = { wall: () => Date.now(), steady: () => performance.now() };

/** Set back by less, the clock has only been put right, perhaps just after the moment was due. */
const setBackMs = 60_000;

/**
 * Counts down to the next moment at which a cron expression comes due by the host's clock. Set forward over several of them,
 * it is due once, at once. Set back, the next moment is looked for anew: else a clock that had been a day ahead would leave a
 * day without looks.
 */
export function cronCountdown(
  expression: string,
  timezone: string | undefined,
  { wall, steady }: HostClocks = hostClocks,
): () => number {
  let last = { wallMs: wall(), steadyMs: steady() };
  let due = nextCron(expression, timezone, last.wallMs);
  return () => {
    const now = { wallMs: wall(), steadyMs: steady() };
    const stepMs = now.wallMs - last.wallMs - (now.steadyMs - last.steadyMs);
    if (stepMs < -setBackMs) {
      last = now;
      due = nextCron(expression, timezone, now.wallMs);
    }
    return due === null ? Number.POSITIVE_INFINITY : due - now.wallMs;
  };
}
