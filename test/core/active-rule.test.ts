import assert from "node:assert/strict";
import { test } from "node:test";
import { newsOfDecision } from "../../src/core/news.ts";
import { nextHoursMs } from "../../src/core/next-change.ts";
import { afterOutcome } from "../../src/core/remember.ts";
import { brief, judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

// The looks begin on Thursday the 1st of January 2026 at 12:00 UTC.
const idle = { match: { idle_for: "30s" }, steps: ["terminate"] };
const rule = (active: object | readonly object[]) => ({ name: "r", ...idle, active });
const at = (hours: string) => rule({ hours, timezone: "UTC" });
const stuck = () => snapshot().session(1, { idle: "1h" });

function briefs(rules: readonly object[], look: SnapshotBuilder): string[] {
  return judge({ rules }).look(look.build()).decisions.map(brief);
}

test("a rule finds nobody outside its hours, and somebody in them", () => {
  assert.deepEqual(briefs([at("11:00-13:00")], stuck()), ["act terminate 1"]);
  assert.deepEqual(briefs([at("13:00-14:00")], stuck()), []);
  assert.deepEqual(briefs([rule({ days: "thu", timezone: "UTC" })], stuck()), ["act terminate 1"]);
  assert.deepEqual(briefs([rule({ days: ["fri", "sat-wed"], timezone: "UTC" })], stuck()), []);
  assert.deepEqual(briefs([rule({ hours: "13:00-14:00", timezone: "Europe/Berlin" })], stuck()), ["act terminate 1"]);
});

test("outside its hours a rule tells nothing of a root beyond reach either", () => {
  const look = snapshot().prepared(7).session(2).waits(2, { on: "prepared/7", for: "1m", table: "public.t" });
  const blocks = (hours: string) => ({ ...at(hours), match: { idle_for: "1s", blocks: { for: "1s" } } });
  assert.deepEqual(briefs([blocks("11:00-13:00")], look), ["spare protect gid-7"]);
  assert.deepEqual(briefs([blocks("13:00-14:00")], look), []);
});

test("the next look is when the hours of some rule begin or end", () => {
  const { rules } = judge({ rules: [at("13:00-14:00"), { ...at("08:00-12:30"), name: "s" }] });
  assert.equal(nextHoursMs(rules, stuck().build().atMs), 30 * 60_000);
  assert.equal(nextHoursMs(judge({ rules: [{ name: "r", ...idle }] }).rules, 0), Number.POSITIVE_INFINITY);
});

test("how long somebody has blocked counts from before the hours", () => {
  const blocks = { ...at("12:01-13:00"), match: { idle_for: "10s", blocks: { for: "40s" } } };
  const judging = judge({ rules: [blocks] });
  const look = (later: string) =>
    judging.look(
      snapshot().later(later).session(1, { idle: "1h" }).session(2).waits(2, { on: 1, table: "public.t" }).build(),
    );
  assert.deepEqual(look("1s").decisions, []);
  assert.deepEqual(look("1m").decisions.map(brief), ["act terminate 1"]);
});

test("a ladder that is under way when the hours end stops, says so once, and begins anew with them", () => {
  const ladder = { ...at("11:00-12:01"), steps: ["notify", { wait: "2m" }, "terminate"] };
  const judging = judge({
    rules: [{ ...ladder, active: [ladder.active, { hours: "12:10-13:00", timezone: "UTC" }] }],
  });
  const look = (later: string) => judging.look(stuck().later(later).build());
  const settle = (judged: ReturnType<typeof look>) => {
    const [decision] = judged.decisions;
    const [compiled] = judging.rules;
    assert.ok(decision !== undefined && compiled !== undefined);
    const told = { kind: "released", tookMs: 0, freed: [], next: null, text: "told" } as const;
    const after = afterOutcome(judging.history(), decision, told, compiled.rule, judged.circumstances.atMs);
    judging.setHistory(after);
  };
  const first = look("30s");
  assert.deepEqual(first.decisions.map(brief), ["act notify 1"]);
  settle(first);
  assert.deepEqual(look("59s").decisions.map(brief), ["wait 91000 terminate 1"]);
  for (const later of ["1m", "5m"]) {
    const [decision] = look(later).decisions;
    assert.ok(decision?.kind === "spare");
    assert.equal(brief(decision), "spare inactive 1");
    assert.equal(newsOfDecision(decision)?.phase, "changed");
    const left = later === "1m" ? "9 min" : "5 min";
    const text = `the rule's hours are over for another ${left}; its ladder stops before terminate, and begins anew with them`;
    assert.equal(decision.reason.text, text);
  }
  const again = look("10m");
  assert.deepEqual(again.decisions.map(brief), ["act notify 1"]);
  settle(again);
  assert.deepEqual(look("11m").decisions.map(brief), ["wait 60000 terminate 1"]);
  assert.deepEqual(look("12m").decisions.map(brief), ["act terminate 1"]);
});

test("one on whom nothing was done yet is only forgotten when the hours end", () => {
  const judging = judge({ rules: [{ ...at("11:00-12:01"), steps: [{ wait: "5m" }, "terminate"] }] });
  const look = (later: string) => judging.look(stuck().later(later).build()).decisions.map(brief);
  assert.deepEqual(look("1s"), ["wait 300000 terminate 1"]);
  assert.deepEqual(look("2m"), []);
});
