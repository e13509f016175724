import { setTimeout as sleep } from "node:timers/promises";

/** Asks until the answer is truthy; fails with the last answer after a generous while. */
export async function eventually<T>(
  what: string,
  ask: () => T | Promise<T>,
  withinMs = 60_000,
): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > end)
      throw new Error(`did not come true in ${withinMs} ms: ${what}; last answer: ${String(answer)}`);
    await sleep(10);
  }
}
