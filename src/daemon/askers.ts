import type { Missing } from "../engines/engine.ts";
import type { TickResult } from "./tick.ts";
import type { Interlude } from "./watch.ts";

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
  nextQuestion(): Question | null;
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
    nextQuestion: () => questions.shift() ?? null,
    abandon: (error) => {
      for (const one of [...looks.splice(0), ...questions.splice(0)]) one.reject(error);
    },
  };
}
