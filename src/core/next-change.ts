import { openBreaker } from "./breaker.ts";
import type { Decision, LimitCode } from "./decision.ts";
import { type History, offender, untilRetryMs } from "./history.ts";
import { victimOf } from "./lazy-decision.ts";
import { msUntilRoom } from "./limits.ts";
import type { Circumstances } from "./plan.ts";
import type { CompiledRule } from "./rules.ts";

/** The ms until a decision of these can change by time alone, or the breaker closes; Infinity when none can. */
export function nextChangeMs(decisions: readonly Decision[], history: History, circumstances: Circumstances): number {
  const { acts, cooldowns } = history;
  const { limits, atMs } = circumstances;
  const open = openBreaker(history, limits.breaker, atMs);
  let next = open === null ? Number.POSITIVE_INFINITY : open.untilMs - atMs;
  const rooms = new Map<string, number>();
  const roomMs = (limit: LimitCode, decision: Decision): number => {
    if (open !== null && limit === "breaker") return open.untilMs - atMs;
    const who = offender(victimOf(decision));
    const key = `${limit} ${decision.rule} ${limit === "limit-repeat" ? who : ""}`;
    const known = rooms.get(key) ?? msUntilRoom(limit, { who, rule: decision.rule }, { acts, limits, atMs });
    rooms.set(key, known);
    return known;
  };
  const retryMs = ({ incident }: Decision): number => {
    const known = history.incidents.get(incident);
    return (known === undefined ? null : untilRetryMs(known, atMs)) ?? Number.POSITIVE_INFINITY;
  };
  for (const decision of decisions) {
    if (decision.kind === "wait") next = Math.min(next, decision.inMs);
    if (decision.kind !== "spare") continue;
    if (decision.limit !== undefined) next = Math.min(next, roomMs(decision.limit, decision));
    if (decision.by === "done") next = Math.min(next, retryMs(decision));
    if (decision.by === "cooldown") for (const { untilMs } of cooldowns) next = Math.min(next, untilMs - atMs);
  }
  return Math.max(0, next);
}

/** The ms until the hours of one of these rules begin or end; Infinity when none has any. `clockMs`: the server's own clock. */
export function nextHoursMs(rules: readonly CompiledRule[], clockMs: number): number {
  return Math.min(Number.POSITIVE_INFINITY, ...rules.map((rule) => rule.activeAt(clockMs).nextChangeMs));
}
