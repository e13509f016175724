import assert from "node:assert/strict";
import { test } from "node:test";
import { victimOf } from "../../src/core/lazy-decision.ts";
import { newsOfDecision, toldBy } from "../../src/core/news.ts";
import type { Statement } from "../../src/core/session.ts";
import { maskDecision, queryText } from "../../src/query-text.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

test("a literal in dollar quotes is hidden whatever its tag is called", async () => {
  const show = await queryText("masked");
  assert.equal(show({ query: "select $a1$secret$a1$, $$secret$$, $é2$secret$é2$, $1" }), "select ?, ?, ?, $1");
});

test("a literal that was cut off is hidden however many quotes are in it, and what stands before it is shown", async () => {
  const show = await queryText("masked");
  const text = `insert into t values (1, '{${'"secret":"secret",'.repeat(30)}`;
  assert.equal(show({ query: text }), "insert into t values (?, …");
  assert.equal(show({ query: `select ${"/*".repeat(500)}` }), "select …");
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

test("in a jam nobody's statement is scanned before somebody asks for it, and each only once", () => {
  const rules = [{ name: "waiters", match: { waits: { for: "1s" } }, steps: ["cancel"] }];
  let jam = snapshot().session(1, { idle: "1m" });
  for (let pid = 2; pid < 300; pid++)
    jam = jam.session(pid, { xact: "1m", query: `select 'secret ${pid}'` }).waits(pid, { on: pid - 1, for: "1m" });
  const asked: (string | null)[] = [];
  const show = ({ query }: Statement) => {
    asked.push(query);
    return "…";
  };
  const decisions = judge({ rules, mode: "observe" })
    .look(jam.build())
    .decisions.map((decision) => maskDecision(decision, show));
  assert.equal(decisions.length, 298);
  for (const decision of decisions) assert.ok(decision.kind === "spare" && toldBy(decision) === "observe");
  assert.deepEqual(asked, []);
  const [first] = decisions;
  assert.equal(JSON.stringify(first).includes("secret"), false);
  assert.equal(JSON.stringify(first), JSON.stringify(first));
  assert.equal(asked.length, new Set(asked).size);
});

test("a decision says why and about whom once masked or copied too, and never from a getter that is not its own", () => {
  const rule = { name: "r", match: { idle_for: "5s" }, steps: ["terminate"] };
  const [decision] = judge({ rules: [rule] }).look(snapshot().session(1, { idle: "1m" }).build()).decisions;
  assert.ok(decision !== undefined);
  const masked = maskDecision(decision, () => "…");
  assert.deepEqual(masked.reason, decision.reason);
  assert.deepEqual(Object.keys({ ...masked }).sort(), Object.keys(decision).sort());
  assert.equal(victimOf(decision), decision.evidence.victim);
  assert.equal(victimOf(masked), masked.evidence.victim);
  const borrowed = Object.defineProperties({}, Object.getOwnPropertyDescriptors(decision));
  assert.throws(() => JSON.stringify(borrowed), /asked of another object/);
});

test("what is news, and was told before, is known by one word that needs nobody's evidence", () => {
  const rule = { name: "r", match: { idle_for: "5s" }, steps: ["terminate"] };
  const look = snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "50s" }).build();
  const given = [{ mode: "observe" as const }, { paused: true }, { journalled: false }, { leader: false }];
  const words = given.map((one) => {
    const [decision] = judge({ rules: [rule] }, one).look(look).decisions;
    assert.ok(decision !== undefined && decision.kind !== "wait");
    const news = newsOfDecision(decision);
    if (news !== null) assert.equal(news.told, toldBy(decision));
    return toldBy(decision);
  });
  assert.deepEqual(words, ["observe", "paused", "journal", "follower"]);
});
