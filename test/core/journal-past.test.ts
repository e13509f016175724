import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../../src/core/decision.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { breakerClosed, breakerOpened, followPast, historyFrom, type Past } from "../../src/core/journal-past.ts";
import { act, evidence, outcome } from "../support/notice-samples.ts";

const minute = 60_000;
const lookedAt = "2026-03-01T03:00:00.000Z";
const lookedAtMs = Date.parse(lookedAt);
const rules = [{ name: "stuck-login", cooldown: 30_000 }];

/** `written`: by the host's clock, which need not be the server's. */
function intent(id: string, written: string, at = lookedAt): JournalEvent {
  const decision = act({ evidence: evidence({ at }) });
  return { v: 1, id, at: written, target: "app", event: "intent", decision };
}

function ended(id: string, kind: Outcome["kind"], event: "outcome" | "recovered" = "outcome"): JournalEvent {
  return { v: 1, id, at: "2026-03-01T09:00:00.000Z", target: "app", event, outcome: outcome({ kind }) };
}

function after(...events: readonly JournalEvent[]) {
  const past: Past = new Map();
  for (const event of events) followPast(past, event, minute);
  return historyFrom(past, "app", rules);
}

test("signals that went out count, and one whose outcome nobody knows; what was not sent does not", () => {
  const written = "2026-03-01T05:00:00.000Z";
  assert.equal(after(intent("1", written)).acts.length, 1);
  for (const [kind, count] of [
    ["released", 1],
    ["survived", 1],
    ["unknown", 1],
    ["gone", 0],
    ["changed", 0],
    ["denied", 0],
    ["failed", 0],
  ] as const)
    assert.equal(after(intent("1", written), ended("1", kind)).acts.length, count, kind);
  assert.equal(after(intent("1", written), ended("1", "unknown", "recovered")).acts.length, 1);
});

test("they count from the server's clock at their look, and from when in that look they were sent", () => {
  const { acts } = after(
    intent("1", "2026-03-01T05:00:00.000Z"),
    intent("2", "2026-03-01T05:00:01.500Z"),
    intent("3", "2026-03-01T05:00:09.000Z", "2026-03-01T03:00:08.000Z"),
  );
  assert.deepEqual(
    acts.map(({ atMs }) => atMs - lookedAtMs),
    [0, 1_500, 8_000],
  );
});

test("a clock of the host's that is set in the middle of a look moves no act far", () => {
  const later = after(intent("1", "2026-03-01T05:00:00.000Z"), intent("2", "2026-03-01T09:00:00.000Z"));
  assert.deepEqual(
    later.acts.map(({ atMs }) => atMs - lookedAtMs),
    [0, minute],
  );
  const earlier = after(intent("1", "2026-03-01T05:00:00.000Z"), intent("2", "2026-03-01T01:00:00.000Z"));
  assert.deepEqual(
    earlier.acts.map(({ atMs }) => atMs - lookedAtMs),
    [0, 0],
  );
});

test("successors stay in their cooldown; a rule that is gone has none", () => {
  const [cooldown] = after(intent("1", "2026-03-01T05:00:00.000Z")).cooldowns;
  assert.equal(cooldown?.untilMs, lookedAtMs + 30_000);
  assert.deepEqual([...(cooldown?.locks ?? [])], ["transactionid 901"]);
  assert.equal(cooldown?.lineage.size, 2);
  const past: Past = new Map();
  followPast(past, intent("1", "2026-03-01T05:00:00.000Z"), minute);
  assert.deepEqual(historyFrom(past, "app", []).cooldowns, []);
});

test("an act by hand counts for no limit, and its successors have their cooldown", () => {
  const decision = act({ rule: "by hand", evidence: evidence({ at: lookedAt }) } as object);
  const byHand: JournalEvent = { v: 1, id: "1", at: lookedAt, target: "app", event: "intent", decision, by: "ann" };
  const { acts, cooldowns } = after(byHand);
  assert.deepEqual(acts, []);
  assert.deepEqual(
    cooldowns.map(({ untilMs, lineage }) => [untilMs, lineage.size]),
    [[lookedAtMs + 30_000, 2]],
  );
  assert.deepEqual(after(byHand, { ...ended("1", "gone"), by: "ann" }).cooldowns, []);
});

test("an opening that was told is known until its end was told; another target has a past of its own", () => {
  const said = (code: string): JournalEvent => {
    const reason = { code, text: code, facts: { sinceMs: 1, untilMs: 2 } };
    return { v: 1, id: code, at: lookedAt, target: "app", event: "breaker", reason };
  };
  assert.deepEqual(after(said(breakerOpened)).breaker, { sinceMs: 1, untilMs: 2 });
  assert.equal(after(said(breakerOpened), said(breakerClosed)).breaker, null);
  const other = { ...intent("1", lookedAt), target: "other" };
  assert.equal(after(other).acts.length, 0);
});

test("of a journal of years only what counts is held", () => {
  const past: Past = new Map();
  for (let index = 0; index < 20_000; index++) {
    const at = new Date(lookedAtMs + index * 1_000).toISOString();
    followPast(past, intent(String(index), at, at), minute);
  }
  assert.ok((past.get("app")?.sent.size ?? 0) <= 1_000);
  assert.equal(historyFrom(past, "app", rules).acts.at(-1)?.atMs, lookedAtMs + 19_999_000);
});

test("an intent that was edited by hand neither stops the daemon nor vanishes", () => {
  const decision = {
    rule: "r",
    action: "terminate",
    evidence: { at: lookedAt, victim: {}, waiters: [null], waits: 3 },
  };
  const odd = { v: 1, id: "odd", at: "yesterday", target: "app", event: "intent", decision };
  assert.equal(after(odd as unknown as JournalEvent).acts.length, 1);
  const timeless = { ...odd, decision: { ...decision, evidence: { victim: {} } } };
  assert.equal(after(timeless as unknown as JournalEvent).acts.length, 0);
});
