import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../../src/core/decision.ts";
import { nextChangeMs } from "../../src/core/next-change.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { brief, type Judged, judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const idle = { match: { idle_for: "30s" }, steps: ["terminate"] };

/** So many abandoned transactions from `first` on, each a second younger than the one before. */
function abandoned(count: number, first = 1, described: (pid: number) => object = () => ({})) {
  return (look: SnapshotBuilder): SnapshotBuilder => {
    const pids = Array.from({ length: count }, (_, index) => first + index);
    // Told apart by their users, so that none is a repeat offender.
    return pids.reduce(
      (so, pid) => so.session(pid, { idle: `${1_000 - pid}s`, user: `user ${pid}`, ...described(pid) }),
      look,
    );
  };
}

type Source = Parameters<typeof judge>[0];

/** Looks at them and carries out what was decided, each act with its outcome. */
function carrier(source: Source) {
  const judging = judge(source);
  const look = (built: SnapshotBuilder, kind: Outcome["kind"] = "released"): Judged => {
    const seen = built.build();
    const judged = judging.look(seen);
    for (const decision of judged.decisions) {
      const rule = judging.rules.find((one) => one.rule.name === decision.rule)?.rule;
      if (decision.kind !== "act" || rule === undefined) continue;
      const outcome = { kind, tookMs: 1, freed: [], next: null, text: kind };
      judging.setHistory(afterOutcome(judging.history(), decision, outcome, rule, seen.atMs));
    }
    return { ...judged, history: judging.history() };
  };
  return { ...judging, look };
}

function acted({ decisions }: Judged): readonly string[] {
  return decisions.filter(({ kind }) => kind === "act").map((one) => brief(one).replace(/^act \S+ /, ""));
}

function limitsOf({ decisions }: Judged): readonly (string | undefined)[] {
  return [...new Set(decisions.flatMap((one) => (one.kind === "spare" ? [one.limit] : [])))];
}

test("per look exactly the allowed number is touched, oldest transaction first", () => {
  const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { per_tick: 3 } });
  const seen = look(abandoned(500)(snapshot()));
  assert.deepEqual(acted(seen), ["1", "2", "3"]);
  assert.deepEqual(limitsOf(seen), ["limit-per-tick"]);
  assert.equal(seen.decisions.length, 500);
  assert.equal(nextChangeMs(seen.decisions, seen.history, seen.circumstances), 1_000);
});

test("per minute exactly the allowed number is touched; the next one as the first leaves the minute, not a moment before", () => {
  const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { per_tick: 2, per_minute: 3 } });
  assert.deepEqual(acted(look(abandoned(9)(snapshot()))), ["1", "2"]);
  assert.deepEqual(acted(look(abandoned(7, 3)(snapshot().later("10s")))), ["3"]);
  const full = look(abandoned(6, 4)(snapshot().later("59999ms")));
  assert.deepEqual(acted(full), []);
  assert.deepEqual(limitsOf(full), ["limit-per-minute"]);
  assert.equal(nextChangeMs(full.decisions, full.history, full.circumstances), 1_000);
  assert.deepEqual(acted(look(abandoned(6, 4)(snapshot().later("60s")))), ["4", "5"]);
  assert.deepEqual(acted(look(abandoned(4, 6)(snapshot().later("69s")))), []);
  assert.deepEqual(acted(look(abandoned(4, 6)(snapshot().later("70s")))), ["6"]);
});

test("a rule's own limits hold back that rule alone", () => {
  const rules = [
    { name: "few", ...idle, match: { ...idle.match, applications: ["few"] }, limits: { per_tick: 1, per_minute: 2 } },
    { name: "many", ...idle, match: { ...idle.match, applications: ["many"] } },
  ];
  const { look } = carrier({ rules, limits: { per_tick: 4, per_minute: 100 } });
  const crowd = (first: number) => abandoned(8, first, (pid) => ({ application: pid % 2 === 1 ? "few" : "many" }));
  const seen = look(crowd(1)(snapshot()));
  assert.deepEqual(acted(seen), ["1", "2", "4", "6"]);
  assert.deepEqual(limitsOf(seen), ["limit-rule-per-tick", "limit-per-tick"]);
  assert.match(
    seen.decisions.find((one) => brief(one) === "spare limit 3")?.reason.text ?? "",
    /limit of rule few of 1 per look reached$/,
  );
  assert.deepEqual(acted(look(crowd(3)(snapshot().later("1s")))).includes("3"), true);
  const full = look(crowd(5)(snapshot().later("2s")));
  assert.deepEqual(acted(full), ["6", "8", "10", "12"]);
  assert.ok(limitsOf(full).includes("limit-rule-per-minute"));
});

test("a rule that is held back by its own limit leaves the session to another rule", () => {
  const rules = [
    { name: "gentle", ...idle, steps: ["cancel", "terminate"], limits: { per_tick: 1 } },
    { name: "firm", ...idle },
  ];
  const { decisions } = carrier({ rules }).look(abandoned(2)(snapshot()));
  assert.deepEqual(
    decisions.map((one) => `${brief(one)} ${one.rule}`),
    ["act terminate 1 gentle", "spare other-rule 1 firm", "spare limit 2 gentle", "act terminate 2 firm"],
  );
});

test("a repeat offender is looked at again when it has room, not every second", () => {
  const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { repeat: { times: 1, within: "10m" } } });
  const same = () => ({ user: "app" });
  assert.deepEqual(acted(look(abandoned(3, 1, same)(snapshot()))), ["1"]);
  const held = look(abandoned(2, 2, same)(snapshot().later("1m")));
  assert.deepEqual(limitsOf(held), ["limit-repeat"]);
  assert.equal(nextChangeMs(held.decisions, held.history, held.circumstances), 540_000);
});

test("whoever had gone, had changed or could not be signalled does not count", () => {
  for (const kind of ["gone", "changed", "denied", "failed"] as const) {
    const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { per_minute: 1 } });
    look(abandoned(1)(snapshot()), kind);
    assert.deepEqual(acted(look(abandoned(1, 2)(snapshot().later("1s")))), ["2"], kind);
  }
});

test("an act that a clock since set back has put into the future counts as one of now, and not for longer", () => {
  const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { per_minute: 1 } });
  assert.deepEqual(acted(look(abandoned(1)(snapshot().later("5h")))), ["1"]);
  assert.deepEqual(acted(look(abandoned(1, 2)(snapshot()))), []);
  assert.deepEqual(acted(look(abandoned(1, 2)(snapshot().later("59s")))), []);
  assert.deepEqual(acted(look(abandoned(1, 2)(snapshot().later("60s")))), ["2"]);
});

const breaker = { acts: 4, within: "10m", open_for: "30m" };

test("the breaker opens at its number of sessions, spares everybody, and closes by itself at its moment", () => {
  const { look } = carrier({ rules: [{ name: "r", ...idle }], limits: { per_tick: 3, breaker } });
  assert.deepEqual(acted(look(abandoned(9)(snapshot()))), ["1", "2", "3"]);
  const opening = look(abandoned(6, 4)(snapshot().later("1m")));
  assert.deepEqual(acted(opening), ["4"]);
  assert.deepEqual(limitsOf(opening), ["breaker"]);
  assert.equal(nextChangeMs(opening.decisions, opening.history, opening.circumstances), 30 * 60_000);
  const open = look(abandoned(5, 5)(snapshot().later("1m").later("1799999ms")));
  assert.deepEqual(acted(open), []);
  assert.deepEqual(new Set(open.decisions.map((one) => brief(one).slice(0, 13))), new Set(["spare breaker"]));
  assert.match(
    open.decisions[0]?.reason.text ?? "",
    /; the breaker is open since 2026-01-01 12:01:00 UTC, until 2026-01-01 12:31:00 UTC: 4 sessions were signalled within 10 min$/,
  );
  assert.equal(nextChangeMs(open.decisions, open.history, open.circumstances), 1);
  assert.deepEqual(acted(look(abandoned(5, 5)(snapshot().later("31m")))), ["5", "6", "7"]);
});

test("the breaker counts sessions: a ladder's second signal to the same one is not another", () => {
  const rule = { name: "r", match: { transaction_for: "30s" }, steps: ["cancel", "terminate"] };
  const running = (pid: number) => (so: SnapshotBuilder) =>
    so.session(pid, { xact: `${100 - pid}s`, user: `user ${pid}` });
  const { look } = carrier({ rules: [rule], limits: { breaker: { ...breaker, acts: 2 } } });
  assert.deepEqual(acted(look(running(1)(snapshot()), "survived")), ["1"]);
  assert.deepEqual(acted(look(running(1)(snapshot().later("1s")), "survived")), ["1"]);
  const second = look(running(3)(running(2)(snapshot().later("2s"))));
  assert.deepEqual(second.decisions.map(brief), ["act cancel 2", "spare breaker 3"]);
  // Whoever was signalled already takes no room, though another one has just taken the last.
  const there = carrier({ rules: [rule], limits: { breaker: { ...breaker, acts: 2 } } });
  there.look(running(5)(snapshot()), "survived");
  const both = there.look(running(5)(running(1)(snapshot().later("1s"))));
  assert.deepEqual(both.decisions.map(brief), ["act cancel 1", "act terminate 5"]);
});

test("a breaker that is switched off never opens; notify steps go on behind an open one", () => {
  const off = carrier({ rules: [{ name: "r", ...idle }], limits: { per_tick: 100, per_minute: 100, breaker: false } });
  assert.equal(acted(off.look(abandoned(50)(snapshot()))).length, 50);
  const rules = [
    { name: "r", ...idle },
    { name: "told", match: { idle_for: "30s" }, steps: ["notify"] },
  ];
  const { look } = carrier({ rules, limits: { breaker: { ...breaker, acts: 1 } } });
  const { decisions } = look(abandoned(2)(snapshot()));
  assert.deepEqual(
    decisions.map((one) => `${brief(one)} ${one.rule}`),
    ["act terminate 1 r", "act notify 1 told", "spare breaker 2 r", "act notify 2 told"],
  );
});
