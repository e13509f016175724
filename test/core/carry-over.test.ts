import assert from "node:assert/strict";
import { test } from "node:test";
import type { Rule } from "../../src/config/schema.ts";
import { carryOver, dropAll, droppedText } from "../../src/core/carry-over.ts";
import type { Outcome } from "../../src/core/decision.ts";
import { afterReconnect, afterTakeover, type History } from "../../src/core/history.ts";
import { nextChangeMs } from "../../src/core/next-change.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { sameValue } from "../../src/core/same-value.ts";
import { brief, judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const ladder = {
  name: "ladder",
  match: { state: "active", query_for: "10s", blocks: { tables: ["public.orders"], for: "5s" } },
  steps: ["notify", { wait: "5s" }, "cancel", { wait: "5s" }, "terminate"],
};

function stuck(): SnapshotBuilder {
  return snapshot()
    .session(1, { query_age: "1m", xact: "1m" })
    .session(2, { xact: "30s" })
    .waits(2, { on: 1, for: "30s", table: "public.orders" });
}

const outcome = (kind: Outcome["kind"]): Outcome => ({ kind, tookMs: 1, freed: [], next: null, text: kind });

/** A daemon's memory over several looks; whatever it decides is done, and survives. */
function climber(rule: object) {
  let here = judge({ rules: [rule] });
  const climb = (look: SnapshotBuilder): string[] => {
    const { decisions, circumstances } = here.look(look.build());
    for (const decision of decisions) {
      const [one] = here.rules;
      if (decision.kind !== "act" || one === undefined) continue;
      const told = decision.action === "notify" ? "released" : "survived";
      here.setHistory(afterOutcome(here.history(), decision, outcome(told), one.rule, circumstances.atMs));
    }
    return decisions.map(brief);
  };
  const rules = (): readonly Rule[] => here.rules.map((one) => one.rule);
  return {
    climb,
    history: () => here.history(),
    rules,
    /** As a reload does it. */
    reload(next: readonly object[]) {
      const old = rules();
      const before = here.history();
      here = judge({ rules: next });
      const carried = carryOver(before, old, rules());
      here.setHistory(carried.history);
      return carried.dropped.map(droppedText);
    },
    takeOver: () => here.setHistory(afterTakeover(here.history())),
  };
}

test("a step that our role was denied is taken again after ten minutes, and at once after a reload or a reconnect", () => {
  const rule = { name: "r", match: { idle_for: "30s" }, steps: ["notify", "terminate"] };
  const deny = (again: (history: History, rules: readonly Rule[]) => History) => {
    const judging = judge({ rules: [rule] });
    const rules = judging.rules.map((one) => one.rule);
    const look = (later: string) => {
      const seen = judging.look(snapshot().session(1, { idle: "1m", xact: "1m" }).later(later).build());
      for (const decision of seen.decisions) {
        const [one] = rules;
        const kind = decision.action === "notify" ? "released" : "denied";
        if (decision.kind !== "act" || one === undefined) continue;
        judging.setHistory(afterOutcome(judging.history(), decision, outcome(kind), one, seen.circumstances.atMs));
      }
      return seen;
    };
    look("0s");
    assert.deepEqual(look("1s").decisions.map(brief), ["act terminate 1"]);
    const still = look("10m");
    assert.deepEqual(still.decisions.map(brief), ["spare done 1"]);
    assert.match(
      still.decisions[0]?.reason.text ?? "",
      /the server denied it to our role; it is tried again in 1 s, or/,
    );
    assert.equal(nextChangeMs(still.decisions, still.history, still.circumstances), 1_000);
    judging.setHistory(again(judging.history(), rules));
    return look("601s").decisions.map(brief);
  };
  assert.deepEqual(
    deny((history) => history),
    ["act terminate 1"],
  );
  const early = (again: (history: History, rules: readonly Rule[]) => History) =>
    deny((history, rules) => {
      const [[key, incident] = []] = history.incidents;
      assert.ok(key !== undefined && incident?.denied !== undefined);
      const just = { ...incident, denied: { ...incident.denied, atMs: incident.denied.atMs + 600_000 } };
      return again({ ...history, incidents: new Map([[key, just]]) }, rules);
    });
  assert.deepEqual(
    early((history) => history),
    ["spare done 1"],
  );
  assert.deepEqual(
    early((history, rules) => carryOver(history, rules, rules).history),
    ["act terminate 1"],
  );
  // A reconnect drops the ladder: it begins with its first step.
  assert.deepEqual(early(afterReconnect), ["act notify 1"]);
});

test("values are the same whatever the order of their keys, and not when one says more", () => {
  assert.ok(sameValue({ a: [1, { b: 2 }], c: undefined }, { a: [1, { b: 2 }] }));
  assert.ok(sameValue({ a: 1, b: "x" }, { b: "x", a: 1 }));
  assert.ok(!sameValue({ a: 1 }, { a: 1, b: false }));
  assert.ok(!sameValue([1, 2], [2, 1]));
  assert.ok(!sameValue([], {}));
  assert.ok(!sameValue(null, {}));
  assert.ok(!sameValue([1], [1, 2]));
});

test("a ladder goes on over a reload that leaves its rule as it was, at each of its rungs, and takes each step once", () => {
  const daemon = climber(ladder);
  const said: string[] = [];
  for (const later of ["0s", "0s", "2s", "6s", "6s", "8s", "12s", "12s"]) {
    assert.deepEqual(daemon.reload([{ name: "other", match: { query_for: "1h" }, steps: ["notify"] }, ladder]), []);
    said.push(...daemon.climb(stuck().later(later)));
  }
  assert.deepEqual(
    said.filter((one) => one.startsWith("act")),
    ["act notify 1", "act cancel 1", "act terminate 1"],
  );
});

test("a rule whose channels, targets or order of keys changed is still the very rule", () => {
  const daemon = climber(ladder);
  daemon.climb(stuck());
  const { name, match, steps } = ladder;
  assert.deepEqual(daemon.reload([{ steps, match, name, notify: ["oncall"], targets: ["app"] }]), []);
  assert.deepEqual(daemon.climb(stuck().later("6s")), ["act cancel 1"]);
});

for (const [what, change] of [
  ["a threshold", { match: { ...ladder.match, query_for: "11s" } }],
  ["a step", { steps: ["notify", { wait: "6s" }, "terminate"] }],
  ["an exception", { except: { users: ["migrator"] } }],
  ["the mode", { mode: "enforce" }],
  ["the hours", { active: { hours: "00:00-23:00", timezone: "UTC" } }],
] as const) {
  test(`a rule of which ${what} changed begins its ladder anew, and says that the old one is dropped`, () => {
    const daemon = climber(ladder);
    daemon.climb(stuck());
    daemon.climb(stuck().later("6s"));
    assert.deepEqual(daemon.reload([{ ...ladder, ...change }]), [
      "rule ladder: the reloaded config changed it; its ladder for session 1 is dropped before its terminate; " +
        "if it still matches, a new one begins from the first step",
    ]);
    assert.deepEqual(daemon.climb(stuck().later("12s")), ["act notify 1"]);
  });
}

test("a changed rule acts again where the old one's steps were over, and an unchanged one does not", () => {
  const short = { ...ladder, steps: ["cancel"] };
  const daemon = climber(short);
  assert.deepEqual(daemon.climb(stuck()), ["act cancel 1"]);
  assert.deepEqual(daemon.climb(stuck().later("1s")), ["spare done 1"]);
  assert.deepEqual(daemon.reload([short]), []);
  assert.deepEqual(daemon.climb(stuck().later("2s")), ["spare done 1"]);
  const [text] = daemon.reload([{ ...short, steps: ["terminate"] }]);
  assert.match(text ?? "", /dropped at its end; if it still matches/);
  assert.deepEqual(daemon.climb(stuck().later("3s")), ["act terminate 1"]);
});

test("a rule that is gone drops its ladders, and one that comes back later begins anew", () => {
  const daemon = climber(ladder);
  daemon.climb(stuck());
  const other = { ...ladder, name: "other", match: { query_for: "1h" } };
  assert.deepEqual(daemon.reload([other]), [
    "rule ladder: the reloaded config has it for this target no more; its ladder for session 1 is dropped before its cancel, and nothing more is done",
  ]);
  assert.deepEqual(daemon.reload([ladder]), []);
  assert.deepEqual(daemon.climb(stuck().later("6s")), ["act notify 1"]);
});

test("a first step that is a wait has begun, and counts anew under a changed rule", () => {
  const patient = { ...ladder, steps: [{ wait: "10s" }, "terminate"] };
  const daemon = climber(patient);
  assert.deepEqual(daemon.climb(stuck()), ["wait 10000 terminate 1"]);
  assert.equal(daemon.reload([{ ...patient, cooldown: "1s" }]).length, 1);
  assert.deepEqual(daemon.climb(stuck().later("9s")), ["wait 10000 terminate 1"]);
  assert.deepEqual(daemon.climb(stuck().later("19s")), ["act terminate 1"]);
});

test("somebody whom no step has reached yet has no ladder to drop", () => {
  const daemon = climber({ ...ladder, steps: ["terminate"] });
  assert.deepEqual(daemon.climb(unseen()), ["wait 5000 terminate 1"]);
  assert.deepEqual(daemon.reload([{ ...ladder, steps: ["cancel"] }]), []);
});

/** Without the moment at which waits began, as before PostgreSQL 14: only what was seen counts. */
function unseen(): SnapshotBuilder {
  return snapshot()
    .session(1, { query_age: "1m", xact: "1m" })
    .session(2, { xact: "30s" })
    .waits(2, { on: 1, table: "public.orders" });
}

test("how long somebody has blocked counts on while `blocks` is the same, and anew when it changed", () => {
  const quick = { ...ladder, steps: ["terminate"] };
  const kept = climber(quick);
  const changed = climber(quick);
  for (const one of [kept, changed]) assert.deepEqual(one.climb(unseen()), ["wait 5000 terminate 1"]);
  kept.reload([{ ...quick, match: { ...quick.match, query_for: "20s" } }]);
  assert.deepEqual(kept.climb(unseen().later("5s")), ["act terminate 1"]);
  changed.reload([{ ...quick, match: { ...quick.match, blocks: { tables: ["public.*"], for: "5s" } } }]);
  assert.deepEqual(changed.climb(unseen().later("5s")), ["wait 5000 terminate 1"]);
});

test("who was signalled, and who stood behind them, counts on whatever becomes of the rules", () => {
  const daemon = climber({ ...ladder, steps: ["cancel"] });
  daemon.climb(stuck());
  const before = daemon.history();
  const { history } = carryOver(before, daemon.rules(), []);
  assert.equal(before.acts.length, 1);
  assert.deepEqual([history.acts, history.cooldowns, history.freedom], [before.acts, before.cooldowns, before.freedom]);
});

test("another connection, or a target that is gone, drops all that had begun", () => {
  const daemon = climber(ladder);
  daemon.climb(stuck());
  const say = (cause: "connection-changed" | "target-removed") =>
    dropAll(daemon.history(), daemon.rules(), cause).map(droppedText);
  assert.deepEqual(say("connection-changed"), [
    "rule ladder: the reloaded config changed the connection to this target; its ladder for session 1 is dropped before its cancel; " +
      "if it still matches, a new one begins from the first step",
  ]);
  assert.match(say("target-removed")[0] ?? "", /this target no more; .*, and nothing more is done$/);
});

test("whoever takes over begins ladders anew, and keeps what it has seen", () => {
  const follower = climber(ladder);
  follower.climb(unseen());
  follower.climb(unseen().later("5s"));
  follower.climb(unseen().later("10s"));
  const seen: Pick<History, "blocking" | "freedom"> = follower.history();
  follower.takeOver();
  assert.deepEqual([follower.history().blocking, follower.history().freedom], [seen.blocking, seen.freedom]);
  assert.deepEqual(follower.climb(unseen().later("11s")), ["act notify 1"]);
  assert.deepEqual(follower.climb(unseen().later("12s")), ["wait 4000 cancel 1"]);
});
