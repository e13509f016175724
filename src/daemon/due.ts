import type { Target } from "../config/schema.ts";
import { cronCountdown } from "./cron-countdown.ts";
import { parsePoll } from "./schedule.ts";

/** How many ms are left until something is due; 0 or less: it is. */
export type Due = () => number;

/** Counts down to the next look that `poll` asks for: a duration by the monotonic clock, a cron expression by the host's. */
export function untilPoll({ poll, timezone }: Target): Due {
  const parsed = parsePoll(poll);
  if (parsed.kind === "every") return countdown(parsed.ms);
  return cronCountdown(parsed.expression, timezone);
}

/** At once; with a cron expression as `poll`, at its next moment. */
export function firstLook(target: Target): Due {
  return parsePoll(target.poll).kind === "every" ? countdown(0) : untilPoll(target);
}

export function countdown(ms: number): Due {
  const due = performance.now() + ms;
  return () => due - performance.now();
}

export function sooner(one: () => number, other: () => number): Due {
  return () => Math.min(one(), other());
}
