import assert from "node:assert/strict";
import { test } from "node:test";
import { nextText } from "../../src/core/ladder.ts";

test("whoever is told at a step hears what follows it, and when", () => {
  const steps = ["notify", { wait: 20_000 }, "terminate"] as const;
  const next = (step: number, acts = true, of: readonly (string | { wait: number })[] = steps) =>
    nextText({ steps: of } as Parameters<typeof nextText>[0], step, acts);
  assert.equal(next(0), "In 20 s: terminate, if it still matches then.");
  assert.equal(
    next(0, false),
    "In 20 s it would be: terminate, if it still matches then; mode is observe, so nothing will be done.",
  );
  assert.equal(next(2), "Nothing: this was the last step of the rule.");
  assert.equal(next(0, true, ["notify", "cancel"]), "At the next look: cancel, if it still matches then.");
  assert.equal(
    next(0, true, ["notify", { wait: 60_000 }, "notify"]),
    "In 1 min you are told again, if it still matches then.",
  );
});
