import assert from "node:assert/strict";
import { test } from "node:test";
import { queryText } from "../../src/query-text.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

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

test("whom another statement of the same transaction would spare is guarded by the statement that was judged", () => {
  const guarded = (except: object) => {
    const rule = { name: "r", match: { state: "active", transaction_for: "10m" }, except, steps: ["cancel"] };
    const look = snapshot().session(1, { xact: "1h", query_age: "1s" });
    const [decision] = judge({ rules: [rule] }).look(look.build()).decisions;
    return decision?.kind === "act" && decision.guard.sinceQuery;
  };
  assert.equal(guarded({ query: "^copy" }), true);
  assert.equal(guarded({ users: "etl" }), false);
});
