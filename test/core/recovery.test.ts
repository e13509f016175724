import assert from "node:assert/strict";
import { test } from "node:test";
import { openIntents } from "../../src/core/recovery.ts";
import { act, intent, outcome, outcomeOf } from "../support/notice-samples.ts";

test("an intent without an outcome is open", () => {
  const events = [intent("a"), intent("b"), outcomeOf("a"), intent("c")];
  assert.deepEqual(
    openIntents(events).map((event) => event.id),
    ["b", "c"],
  );
});

test("an intent that was recovered is not open any more", () => {
  const recovered = {
    v: 1,
    id: "a",
    at: "",
    target: "app",
    event: "recovered",
    outcome: outcome({ kind: "unknown" }),
  } as const;
  assert.deepEqual(openIntents([intent("a"), recovered]), []);
});

test("what was only observed is never open", () => {
  assert.deepEqual(openIntents([{ v: 1, id: "a", at: "", target: "app", event: "observed", decision: act() }]), []);
});
