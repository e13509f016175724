import type { Verdict } from "../bench/report.ts";
import { type Interval, shareInterval } from "../bench/statistics.ts";
import type { Round } from "./round.ts";

/** `most`: share of wrong ones among the guarded signals that hit somebody; `least`: so many of these, else it says nothing. */
export type Target = Readonly<{ most: number; least: number }>;

/** A small number of signals only shows whether the share is certainly too large: then `least` is 0. */
export function judgeRound({ wanted: { lengthMs, hitBy }, rows }: Round, { most, least }: Target): Verdict {
  const guarded = rows.find(({ way }) => way === "guarded") ?? { right: 0, wrong: 0 };
  const hit = guarded.right + guarded.wrong;
  const within = hit === 0 ? { low: 0, high: 1 } : shareInterval(guarded.wrong, hit);
  const small = least === 0;
  return {
    what: `guarded, ${hitBy}, ${lengthMs} ms`,
    target: `${percent(most)} or less${small ? " is possible" : ` of at least ${least}`}`,
    got: `${guarded.wrong} wrong of ${hit} (95 % ${intervalPercent(within)})`,
    met: hit > 0 && hit >= least && (small ? within.low : guarded.wrong / hit) <= most,
  };
}

export function percent(share: number): string {
  const hundred = share * 100;
  return `${hundred.toFixed(hundred >= 10 ? 0 : hundred >= 1 ? 1 : 2)} %`;
}

export function intervalPercent({ low, high }: Interval): string {
  return `${percent(low)}..${percent(high)}`;
}
