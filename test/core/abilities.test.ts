import assert from "node:assert/strict";
import { test } from "node:test";
import { type Abilities, abilityDoubts, abilityNotes, lackingSteps } from "../../src/core/abilities.ts";
import { handDecision } from "../../src/core/by-hand.ts";
import type { Sent } from "../../src/core/decision.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Session } from "../../src/core/session.ts";
import { execute, openGate } from "../../src/executor.ts";
import { body } from "../../src/notify/text.ts";
import { brief, judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

const all: Abilities = {
  atomicGuard: true,
  cancel: true,
  rollbackPrepared: true,
  waitAge: true,
  transactionAge: true,
};
const ladder = {
  name: "ladder",
  match: { applications: "web", query_for: "1s" },
  steps: ["cancel", { wait: "1s" }, "terminate"],
};

test("a server that can do everything leaves nothing to be told", () => {
  const { config } = judge({ rules: [ladder] });
  assert.deepEqual(
    [abilityDoubts(config.rules, all), abilityNotes(config.rules, all), lackingSteps(all)],
    [[], [], []],
  );
});

test("a step that the server has no way to take is told before it is due, and nothing firmer is done in its place", () => {
  const { config } = judge({ rules: [ladder] });
  const without = { ...all, cancel: false };
  assert.deepEqual(abilityDoubts(config.rules, without), [
    {
      rule: "ladder",
      text: "rule ladder steps: cancel: this server has no way to cancel a statement, so the rule's ladder ends before that step",
    },
  ]);
  const running = snapshot().session(1, { state: "active", application: "web", query_age: "1m", xact: "1m" });
  const { look } = judge({ rules: [ladder] }, { cannot: lackingSteps(without) });
  for (const later of ["0s", "5s", "1h"]) {
    const { decisions } = look(running.later(later).build());
    assert.deepEqual(decisions.map(brief), ["spare unable 1"]);
    assert.match(decisions[0]?.reason.text ?? "", /; this server has no way to cancel a statement, so/);
  }
  assert.deepEqual(
    judge({ rules: [ladder] })
      .look(running.build())
      .decisions.map(brief),
    ["act cancel 1"],
  );
});

test("an age that the server does not tell is named with the rule that rests on it", () => {
  const old = { name: "old", match: { transaction_for: "1h", blocks: { for: "5s" } }, steps: ["terminate"] };
  const { config } = judge({ rules: [old] });
  const blind = { ...all, transactionAge: false, waitAge: false };
  assert.match(abilityDoubts(config.rules, blind)[0]?.text ?? "", /^rule old match\.transaction_for: never matches/);
  assert.match(abilityNotes(config.rules, blind).join(), /^since when somebody waits this server does not say/);
  assert.deepEqual(abilityNotes([], blind), []);
});

test("that no signal can be guarded is told whatever the rules", () => {
  const notes = abilityNotes([], { ...all, atomicGuard: false });
  assert.match(notes.join(), /^this server cannot check and signal in one statement: .* a short gap remains/);
});

const jam = snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "45s", table: "public.t" }).build();
const [victim] = jam.sessions as [Session];

async function outcomesOf(sent: Sent): Promise<readonly JournalEvent[]> {
  const written: JournalEvent[] = [];
  const made = { action: "terminate", step: 0, config: "digest", by: "user dba" } as const;
  const decision = handDecision(jam, victim, { ...made, protectMaintenance: true, skippedCancel: null });
  const gone = { alive: false, sameTransaction: false, sameStatement: false, stillBlocked: [], next: null, ms: 1 };
  await execute(decision, {
    target: "app",
    by: "user dba",
    link: {
      act: () => Promise.resolve(sent),
      prove: () => Promise.resolve(gone),
      probe: () => Promise.reject(new Error()),
    },
    write: (event) => Promise.resolve(void written.push(event)),
    newId: () => "id",
    now: () => new Date(0),
    verifyMs: 1_000,
    probe: null,
    gate: openGate,
    alive: () => undefined,
    signal: new AbortController().signal,
  });
  return written;
}

test("an act that could not be guarded says so in the journal and to whoever is told of it; others do not", async () => {
  const why = "this server has only KILL SESSION";
  const [intent, outcome] = await outcomesOf({ kind: "sent", unguarded: why });
  assert.ok(intent?.event === "intent" && outcome?.event === "outcome");
  assert.equal(outcome.outcome.unguarded, why);
  assert.match(
    outcome.outcome.text,
    /^the session is gone; 1 session freed .*; could not be guarded in one statement: this server has only KILL SESSION$/,
  );
  const notice = { id: "n", incident: "i", at: "2026-01-01", target: "app", phase: "resolved", text: "done" } as const;
  assert.match(
    body({ ...notice, decision: intent.decision, outcome: outcome.outcome }),
    /could not be guarded in one statement/,
  );
  const [, guarded] = await outcomesOf({ kind: "sent" });
  assert.ok(guarded?.event === "outcome" && !("unguarded" in guarded.outcome));
  assert.doesNotMatch(guarded.outcome.text, /guarded/);
});
