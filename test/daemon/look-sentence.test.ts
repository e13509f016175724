import assert from "node:assert/strict";
import { test } from "node:test";
import { lookSentence } from "../../src/daemon/look-sentence.ts";
import { act, evidence, outcome, session, spare } from "../support/notice-samples.ts";

const contended = { gaps: [], contended: true };

function spared(count: number) {
  return Array.from({ length: count }, (_, index) => {
    const victim = session({ pid: String(index + 1), sessionId: "65a.1", user: "u", application: "a" });
    return { decision: { ...spare("limit"), evidence: evidence({ victim }) }, outcome: null };
  });
}

test("those of a rule who fare alike are one part of the sentence: three by name, and how many more", () => {
  assert.equal(
    lookSentence(contended, spared(28), []),
    "somebody waits for a lock; stuck-login: session 1,65a.1 (u, a), session 2,65a.1 (u, a), session 3,65a.1 (u, a) " +
      "and 25 more are spared (limit)",
  );
  assert.equal(
    lookSentence(contended, spared(1), []),
    "somebody waits for a lock; stuck-login: session 1,65a.1 (u, a) is spared (limit)",
  );
});

test("who fares otherwise is a part of its own, and an act has its outcome", () => {
  const acted = { decision: act(), outcome: outcome() };
  const observed = { decision: spare("observe"), outcome: null };
  const who = "session 4711,69a39c60.1267 (app_login, login-service)";
  assert.equal(
    lookSentence(contended, [acted, observed, acted], []),
    `somebody waits for a lock; stuck-login: ${who}, ${who} terminate: released; stuck-login: ${who} is spared (observe)`,
  );
});

test("a calm look says so, and no more than it can see", () => {
  assert.equal(lookSentence({ gaps: [], contended: false }, [], []), "nobody waits for a lock; nothing to do");
  assert.equal(
    lookSentence({ gaps: ["some are hidden"], contended: false }, [], []),
    "nobody that can be seen waits for a lock; nothing to do",
  );
});
