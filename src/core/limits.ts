import type { Config } from "../config/schema.ts";
import type { Act } from "./history.ts";
import { spokenDuration } from "./spoken-duration.ts";

/** How much of the limits is used up, and by whom; counts on while a plan is made. */
export type LimitUse = Readonly<{
  tick(): number;
  minute(): number;
  repeats(who: string): number;
  take(who: string): void;
}>;

const minuteMs = 60_000;

export function useLimits(acts: readonly Act[], limits: Config["limits"], atMs: number): LimitUse {
  let tick = 0;
  let minute = acts.filter((act) => atMs - act.atMs < minuteMs).length;
  const repeats = new Map<string, number>();
  for (const act of acts) {
    if (atMs - act.atMs < limits.repeat.within) repeats.set(act.who, (repeats.get(act.who) ?? 0) + 1);
  }
  return {
    tick: () => tick,
    minute: () => minute,
    repeats: (who) => repeats.get(who) ?? 0,
    take: (who) => {
      tick++;
      minute++;
      repeats.set(who, (repeats.get(who) ?? 0) + 1);
    },
  };
}

/** Why one more act is one too many; null when it is not. */
export function overLimit(
  use: LimitUse,
  who: () => string,
  limits: Config["limits"],
): Readonly<{ code: string; text: string }> | null {
  if (use.tick() >= limits.per_tick)
    return { code: "limit-per-tick", text: `limit of ${limits.per_tick} per look reached` };
  if (use.minute() >= limits.per_minute)
    return { code: "limit-per-minute", text: `limit of ${limits.per_minute} per minute reached` };
  const { times, within } = limits.repeat;
  if (use.repeats(who()) < times) return null;
  return {
    code: "limit-repeat",
    text: `this user, application and client was signalled ${times} times within ${spokenDuration(within)}`,
  };
}

/** The ms until the oldest act leaves the window of a minute. */
export function msUntilRoom(acts: readonly Act[], limits: Config["limits"], atMs: number): number {
  const inMinute = acts.filter((act) => atMs - act.atMs < minuteMs);
  const [first] = inMinute;
  // A per-tick limit is over at the next look.
  return first === undefined || inMinute.length < limits.per_minute
    ? 1_000
    : Math.max(1_000, first.atMs + minuteMs - atMs);
}
