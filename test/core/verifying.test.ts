import assert from "node:assert/strict";
import { test } from "node:test";
import { carryOver } from "../../src/core/carry-over.ts";
import type { ActDecision, Decision, Outcome, Signal } from "../../src/core/decision.ts";
import type { History } from "../../src/core/history.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { afterSending, afterVerifying } from "../../src/core/verifying.ts";
import { brief, judge } from "../support/judge.ts";
import { type Random, randomFrom } from "../support/oracle/random.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

// A signal is out, and what became of it is not known yet: what the memory makes of later looks.

const rule = { name: "stuck", match: { idle_for: "30s" }, steps: ["terminate", { wait: "5s" }, "terminate"] };
const other = { name: "other", match: { transaction_for: "1m" }, steps: ["notify", "terminate"] };

type Judging = ReturnType<typeof judge>;
type Signalled = ActDecision & { action: Signal };

function ruleOf({ rules }: Judging, { rule: name }: Decision) {
  const found = rules.find((one) => one.rule.name === name)?.rule;
  assert.ok(found);
  return found;
}

function signals(decisions: readonly Decision[]): readonly Signalled[] {
  return decisions.filter((one): one is Signalled => one.kind === "act" && one.action !== "notify");
}

/** Sends what was decided, and leaves all of it open. */
function send(judging: Judging, decisions: readonly Decision[], atMs: number): readonly Signalled[] {
  const sent = signals(decisions);
  for (const one of sent) judging.setHistory(afterSending(judging.history(), one, ruleOf(judging, one), atMs));
  return sent;
}

function learn(judging: Judging, decision: ActDecision, kind: Outcome["kind"], atMs: number): void {
  judging.setHistory(afterVerifying(judging.history(), decision, { kind }, ruleOf(judging, decision), atMs));
}

/** One frozen transaction, of which the first terminate went out 0.1 s after the look. */
function sentTo(source: Parameters<typeof judge>[0]) {
  const judging = judge(source);
  const first = snapshot().session(1, { idle: "40s", user: "a" }).build();
  const [decision] = send(judging, judging.look(first).decisions, first.atMs + 100);
  assert.ok(decision);
  const briefs = (look: SnapshotBuilder) => judging.look(look.build()).decisions.map(brief);
  return { judging, decision, briefs, startMs: first.atMs };
}

const later = (age: string, idle: string): SnapshotBuilder => snapshot().later(age).session(1, { idle, user: "a" });

test("whoever was signalled is spared until it is known what became of it, and the reason says since when", () => {
  const { judging, briefs } = sentTo({ rules: [rule] });
  assert.deepEqual(briefs(later("10s", "50s")), ["spare verifying 1"]);
  const [decision] = judging.look(later("20s", "60s").build()).decisions;
  assert.match(decision?.reason.text ?? "", /; terminate was sent 19 s ago, and whether it worked is not known yet$/);
});

test("another rule sends nothing to it either, and still tells of it", () => {
  const { judging, briefs } = sentTo({ rules: [rule, other] });
  const look = later("60s", "100s");
  assert.deepEqual(briefs(look), ["spare verifying 1", "act notify 1"]);
  const told = judging.look(look.build()).decisions.find((one) => one.kind === "act");
  assert.ok(told?.kind === "act");
  const outcome = { kind: "released", tookMs: 0, freed: [], next: null, text: "told" } as const;
  judging.setHistory(afterOutcome(judging.history(), told, outcome, ruleOf(judging, told), 0));
  assert.deepEqual(briefs(later("61s", "101s")), ["spare verifying 1", "spare other-rule 1"]);
});

test("the limits count it from the moment when it was sent", () => {
  const { briefs } = sentTo({ rules: [rule], limits: { per_minute: 1 } });
  const both = (age: string) => later(age, "2m").session(2, { idle: "40s", user: "b" });
  assert.deepEqual(briefs(both("60s")), ["spare verifying 1", "spare limit 2"]);
  assert.deepEqual(briefs(both("61s")), ["spare verifying 1", "act terminate 2"]);
});

test("the oldest stays the oldest until it is known what became of it", () => {
  const { briefs } = sentTo({ rules: [{ ...rule, victims: "oldest" }] });
  const both = later("10s", "50s").session(2, { idle: "40s", user: "b" });
  assert.deepEqual(briefs(both), ["spare verifying 1", "spare victims 2"]);
});

test("the wait before the next step counts from when it is known that it survived", () => {
  const { judging, decision, briefs, startMs } = sentTo({ rules: [rule] });
  assert.deepEqual(briefs(later("20s", "60s")), ["spare verifying 1"]);
  learn(judging, decision, "survived", startMs + 20_000);
  assert.deepEqual(briefs(later("21s", "61s")), ["wait 4000 terminate 1"]);
  assert.deepEqual(briefs(later("25s", "65s")), ["act terminate 1"]);
});

test("an incident is known until its outcome is, though its transaction is not seen any more", () => {
  const { judging, decision, startMs } = sentTo({ rules: [rule] });
  judging.look(snapshot().later("5s").build());
  assert.ok(judging.history().incidents.has(decision.incident));
  learn(judging, decision, "released", startMs + 5_000);
  assert.equal(judging.history().incidents.size, 0);
  assert.equal(judging.history().verifying.size, 0);
});

test("whoever becomes the blocker by a release that comes late is a successor, though the cooldown since the signal is over", () => {
  const blocking = {
    name: "row",
    match: { idle_for: "1s", blocks: { for: "1s" } },
    steps: ["terminate"],
    cooldown: "10s",
  };
  const judging = judge({ rules: [blocking] });
  const row = { table: "public.orders", lock: "transactionid 1" };
  const queue = snapshot()
    .session(1, { idle: "40s" })
    .session(2, { xact: "20s" })
    .session(3, { xact: "20s" })
    .waits(2, { on: 1, for: "20s", ...row })
    .waits(3, { on: 1, for: "20s", ...row })
    .build();
  const [decision] = send(judging, judging.look(queue).decisions, queue.atMs);
  assert.ok(decision);
  learn(judging, decision, "released", queue.atMs + 30_000);
  const next = (age: string) =>
    snapshot()
      .later(age)
      .session(2, { idle: "3s", xact: "1m" })
      .session(3, { xact: "1m" })
      .waits(3, { on: 2, for: "3s", ...row, lock: "transactionid 2" });
  assert.deepEqual(judging.look(next("35s").build()).decisions.map(brief), ["spare cooldown 2"]);
});

test("a reload that changes its rule begins a new ladder, which waits for the outcome and does not inherit it", () => {
  const { judging, decision, startMs } = sentTo({ rules: [rule] });
  const changed = judge({ rules: [{ ...rule, match: { idle_for: "31s" } }] });
  const rules = ({ rules: all }: Judging) => all.map((one) => one.rule);
  const { history, dropped } = carryOver(judging.history(), rules(judging), rules(changed));
  changed.setHistory(history);
  assert.equal(dropped.length, 1);
  assert.deepEqual(changed.look(later("5s", "45s").build()).decisions.map(brief), ["spare verifying 1"]);
  learn(changed, decision, "survived", startMs + 6_000);
  assert.deepEqual(changed.look(later("7s", "47s").build()).decisions.map(brief), ["act terminate 1"]);
  assert.equal(changed.history().incidents.get(decision.incident)?.step, 0);
});

test("an outcome that comes at once leaves the memory as one that was waited for", () => {
  for (const kind of ["released", "survived", "unknown"] as const) {
    const judging = judge({ rules: [rule] });
    const look = snapshot().session(1, { idle: "40s" }).build();
    const [decision] = signals(judging.look(look).decisions);
    assert.ok(decision);
    const before = judging.history();
    const waited = afterOutcome(
      before,
      decision,
      { kind, tookMs: 0, freed: [], next: null, text: "" },
      ruleOf(judging, decision),
      look.atMs,
    );
    send(judging, [decision], look.atMs);
    learn(judging, decision, kind, look.atMs);
    const { cooldowns, ...rest } = judging.history();
    const { cooldowns: one, ...expected } = waited;
    assert.deepEqual(rest, expected);
    assert.deepEqual(cooldowns[0], one[0]);
  }
});

test("whatever comes when, nobody has two signals out at once, and no minute has more of them than the limits allow", () => {
  for (let seed = 1; seed <= 200; seed++) play(randomFrom(seed), seed);
});

/** Some victims, some of which die late or never; outcomes come in any order. */
function play(random: Random, seed: number): void {
  const judging = judge({
    rules: [rule, other],
    limits: { per_tick: 3, per_minute: 5, repeat: { times: 100, within: "1m" }, breaker: false },
  });
  const open = new Map<string, Signalled>();
  const sentAt: number[] = [];
  const dead = new Set<number>();
  for (let second = 0; second < 120; second += 1 + random.below(5)) {
    const look = people(second, dead).build();
    for (const [subject, decision] of open) {
      if (random.chance(0.8)) continue;
      const kind = random.pick(["released", "released", "survived", "unknown"] as const);
      if (kind === "released") dead.add(Number(decision.evidence.victim.key));
      open.delete(subject);
      learn(judging, decision, kind, look.atMs);
    }
    for (const decision of send(judging, judging.look(people(second, dead).build()).decisions, look.atMs)) {
      const subject = decision.evidence.victim.key;
      assert.equal(open.has(subject), false, `seed ${seed}: ${subject} has two signals out`);
      open.set(subject, decision);
      sentAt.push(look.atMs);
    }
    const minute = sentAt.filter((ms) => look.atMs - ms < 60_000);
    assert.ok(minute.length <= 5, `seed ${seed}: ${minute.length} in a minute`);
    isWhole(judging.history(), open, seed);
  }
  assert.ok(sentAt.length > 0);
}

function isWhole({ verifying, incidents }: History, open: ReadonlyMap<string, Signalled>, seed: number): void {
  assert.deepEqual([...verifying.keys()].toSorted(), Array.from(open.values(), (one) => one.incident).toSorted());
  for (const key of verifying.keys()) assert.ok(incidents.has(key), `seed ${seed}: ${key} was forgotten`);
}

function people(second: number, dead: ReadonlySet<number>): SnapshotBuilder {
  let look = snapshot().later(`${second}s`);
  for (let pid = 1; pid <= 8; pid++)
    if (!dead.has(pid)) look = look.session(pid, { idle: `${60 + second + pid}s`, user: `user ${pid}` });
  return look;
}
