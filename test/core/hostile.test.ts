import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../../src/core/decision.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { queryText } from "../../src/query-text.ts";
import { brief, judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

const survived: Outcome = { kind: "survived", tookMs: 1, freed: [], next: null, text: "survived" };
const inQueue = { locktype: "relation", mode: "ExclusiveLock", table: "public.t", lock: "relation t" };

test("at the first look nobody knows when an active holder got the table, however long others have queued for it", () => {
  const rule = { name: "r", match: { blocks: { for: "5s" } }, steps: ["terminate"] };
  const { look } = judge({ rules: [rule] });
  const queue = (age: string) =>
    snapshot()
      .later(age)
      .session(1, { xact: "1m" })
      .session(2, { xact: "1m" })
      .waits(2, { on: 1, for: "1m", ...inQueue })
      .build();
  assert.deepEqual(look(queue("1s")).decisions.map(brief), ["wait 5000 terminate 1"]);
  assert.deepEqual(look(queue("6s")).decisions.map(brief), ["act terminate 1"]);
});

test("an idle holder of a table has not queued since it fell idle: it is due at the first look", () => {
  const rule = { name: "r", match: { blocks: { for: "5s" } }, steps: ["terminate"] };
  const { look } = judge({ rules: [rule] });
  const queue = snapshot()
    .session(1, { idle: "8s", xact: "1m" })
    .session(2, { xact: "1m" })
    .waits(2, { on: 1, for: "1m", ...inQueue });
  assert.deepEqual(look(queue.build()).decisions.map(brief), ["act terminate 1"]);
});

test("victims: oldest keeps to the oldest while its ladder waits, and when its ladder is over", () => {
  const rule = {
    name: "r",
    match: { state: "active", query_for: "1m" },
    victims: "oldest",
    steps: ["cancel", { wait: "10s" }, "terminate"],
  };
  const judging = judge({ rules: [rule] });
  const two = (age: string) =>
    snapshot().later(age).session(1, { xact: "2h", query_age: "2h" }).session(2, { xact: "1h", query_age: "1h" });
  for (const [age, expected] of [
    ["1s", ["act cancel 1", "spare victims 2"]],
    ["2s", ["wait 9000 terminate 1", "spare victims 2"]],
    ["11s", ["act terminate 1", "spare victims 2"]],
    ["12s", ["spare done 1", "spare victims 2"]],
  ] as const) {
    const at = two(age).build();
    const { decisions } = judging.look(at);
    assert.deepEqual(decisions.map(brief), expected, age);
    for (const decision of decisions) {
      const compiled = judging.rules[0];
      if (decision.kind !== "act" || compiled === undefined) continue;
      judging.setHistory(afterOutcome(judging.history(), decision, survived, compiled.rule, at.atMs));
    }
  }
});

test("a literal in dollar quotes is hidden whatever its tag is called", async () => {
  const show = await queryText("masked");
  assert.equal(show("select $a1$secret$a1$, $$secret$$, $é2$secret$é2$, $1"), "select ?, ?, ?, $1");
});

test("a transaction that never rests for long is not missed: its last change is guarded only where its idling counts", () => {
  const idle = (match: object) => {
    const rule = { name: "r", match: { ...match, blocks: { for: "5s" } }, steps: ["terminate"] };
    const look = snapshot()
      .session(1, { idle: "8s", xact: "1m" })
      .session(2)
      .waits(2, { on: 1, for: "7s", table: "public.t" });
    const [decision] = judge({ rules: [rule] }).look(look.build()).decisions;
    return decision?.kind === "act" && decision.guard.sinceState;
  };
  assert.equal(idle({ transaction_for: "10s" }), false);
  assert.equal(idle({ idle_for: "5s" }), true);
});
