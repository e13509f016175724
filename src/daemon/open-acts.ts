import { setTimeout as pause } from "node:timers/promises";
import type { Outcome } from "../core/decision.ts";
import type { OpenAct } from "../executor.ts";
import type { Due } from "./due.ts";

/** Acts on one connection whose outcomes are not known yet; each look at one takes its turn with the looks at the target. */
export type OpenActs = Readonly<{
  /** `known` hears the outcome, and so does whoever waits for it. */
  add(act: OpenAct, known: (outcome: Outcome) => void): Promise<Outcome>;
  count(): number;
  /** Until one of them is to be looked at. */
  due: Due;
  /** Looks at the one that is due, if any is; true: with what was seen, the target is to be looked at now. */
  look(): Promise<boolean>;
  /** Until every outcome is known; none waits any longer when the signal aborts. */
  toTheirEnd(signal: AbortSignal): Promise<void>;
  /** A last look at each: the connection is lost, or to be closed. */
  giveUp(): Promise<void>;
}>;

export function openActs(): OpenActs {
  const open = new Map<OpenAct, (outcome: Outcome) => void>();
  const first = (): OpenAct | undefined => [...open.keys()].toSorted((one, other) => one.dueMs() - other.dueMs())[0];
  const due = (): number => first()?.dueMs() ?? Number.POSITIVE_INFINITY;
  const lookAt = async (act: OpenAct): Promise<boolean> => {
    const outcome = await act.look();
    if (outcome === null) return false;
    close(act, outcome);
    // Its ladder may go on, or the connection is lost.
    return outcome.kind !== "released";
  };
  const close = (act: OpenAct, outcome: Outcome): void => {
    const known = open.get(act);
    open.delete(act);
    known?.(outcome);
  };
  return {
    add: (act, known) =>
      new Promise((resolve) => {
        open.set(act, (outcome) => {
          known(outcome);
          resolve(outcome);
        });
      }),
    count: () => open.size,
    due,
    look: async () => {
      const act = first();
      return act !== undefined && act.dueMs() <= 0 && (await lookAt(act));
    },
    toTheirEnd: async (signal) => {
      for (let act = first(); act !== undefined; act = first()) {
        await pause(act.dueMs(), undefined, { signal }).catch(() => undefined);
        await lookAt(act);
      }
    },
    giveUp: async () => {
      for (const act of open.keys()) close(act, await act.end());
    },
  };
}
