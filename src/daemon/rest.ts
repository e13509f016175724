import { setTimeout as sleep } from "node:timers/promises";
import { boundedSignal } from "../bounded-signal.ts";
import { countdown, type Due } from "./due.ts";

/** The pause between two looks, which a bell cuts short. */
export type Rest = Readonly<{
  /** Until then, until something else is due, or until the bell rings. */
  until(due: Due, other: Due): Promise<void>;
  ring(): void;
  /** How many ms are left of the one that is under way; 0 or less: it is over. */
  leftMs(): number;
}>;

const longestSleepMs = 60_000;

/** `idle` ends it, too. `expect` is told how long each piece of it may take. */
export function createRest({ idle, expect }: Readonly<{ idle: AbortSignal; expect(ms: number): void }>): Rest {
  let bell = new AbortController();
  let underWay: Due = countdown(0);
  return {
    until: async (due, other) => {
      const ring = bell;
      underWay = due;
      const either = () => Math.min(due(), other());
      for (let left = either(); left > 0 && !ring.signal.aborted && !idle.aborted; left = either()) {
        // In pieces: a clock that is set is noticed by a cron poll, and a timer holds no more than 24 days.
        const piece = Math.min(left, longestSleepMs);
        expect(piece);
        const both = boundedSignal([idle, ring.signal]);
        await sleep(piece, undefined, { signal: both.signal }).catch(() => undefined);
        both.release();
      }
      if (ring.signal.aborted) bell = new AbortController();
      expect(0);
    },
    ring: () => bell.abort(),
    leftMs: () => underWay(),
  };
}
