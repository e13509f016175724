import assert from "node:assert/strict";
import { test } from "node:test";
import { nextText } from "../../src/core/ladder.ts";

test("whoever is told at a step hears what follows it, and when", () => {
  const steps = ["notify", { wait: 20_000 }, "terminate"] as const;
  const next = (step: number, held: string | null = null, of: readonly (string | { wait: number })[] = steps) =>
    nextText({ steps: of } as Parameters<typeof nextText>[0], step, held);
  assert.equal(next(0), "In 20 s: terminate, if it still matches then.");
  assert.equal(
    next(0, "mode is observe"),
    "In 20 s it would be: terminate, if it still matches then; nothing will be done: mode is observe.",
  );
  assert.equal(next(2), "Nothing: this was the last step of the rule.");
  assert.equal(next(0, null, ["notify", "cancel"]), "At the next look: cancel, if it still matches then.");
  assert.equal(
    next(0, null, ["notify", { wait: 60_000 }, "notify"]),
    "In 1 min you are told again, if it still matches then.",
  );
});
