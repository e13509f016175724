import type { History } from "../core/history.ts";
import { type Link, LinkLost, type Missing } from "../engines/engine.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Settings } from "./settings.ts";
import type { TickResult } from "./tick.ts";

/** What is there between two looks: nothing to remember with, and only the executor acts. */
export type Interlude = Readonly<{
  settings: Settings;
  link: Pick<Link, "read" | "act" | "prove" | "probe">;
  history: History;
  leader: boolean;
  paused: boolean;
  journal: Pick<JournalGate, "works">;
  signal: AbortSignal;
}>;

export type Asked = Readonly<{ result: TickResult; lacking: readonly Missing[] }>;
type Asker = Readonly<{ resolve(answer: Promise<Asked>): void; reject(error: unknown): void }>;
/** `ask` rejects when the look that it needs fails. */
type Question = Readonly<{ ask(interlude: Interlude): Promise<void>; reject(error: unknown): void }>;

/** Whoever asks the loop of one target for something, between two of its looks. */
export type Askers = Readonly<{
  lookNow(): Promise<Asked>;
  between<T>(ask: (interlude: Interlude) => Promise<T>): Promise<T>;
  wantLook(): boolean;
  /** Whom the next look answers. */
  takeLooks(): readonly Asker[];
  /** One after the other, each with what is there by then; rejects when the connection is lost over one. */
  answer(interlude: () => Interlude): Promise<void>;
  /** None of them can be answered. */
  abandon(error: unknown): void;
}>;

/** `ring` wakes the loop. */
export function createAskers(ring: () => void): Askers {
  const looks: Asker[] = [];
  const questions: Question[] = [];
  return {
    lookNow: () =>
      new Promise((resolve, reject) => {
        looks.push({ resolve, reject });
        ring();
      }),
    between: (ask) =>
      new Promise((resolve, reject) => {
        questions.push({ ask: async (interlude) => resolve(await ask(interlude)), reject });
        ring();
      }),
    wantLook: () => looks.length > 0,
    takeLooks: () => looks.splice(0),
    answer: async (interlude) => {
      for (let next = questions.shift(); next !== undefined; next = questions.shift()) {
        const now = interlude();
        try {
          await next.ask(now);
        } catch (error) {
          next.reject(error);
          if (error instanceof LinkLost || now.signal.aborted) throw error;
        }
      }
    },
    abandon: (error) => {
      for (const one of [...looks.splice(0), ...questions.splice(0)]) one.reject(error);
    },
  };
}
