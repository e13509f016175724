import assert from "node:assert/strict";
import { test } from "node:test";
import { crowdsNow, crowdText, mostNamed } from "../../src/core/crowd.ts";
import type { Crowd } from "../../src/core/history.ts";
import { body, subject } from "../../src/notify/text.ts";
import { judge } from "../support/judge.ts";
import { notice } from "../support/notice-samples.ts";
import { snapshot } from "../support/snapshot.ts";

const idle = { match: { idle_for: "30s" }, steps: ["terminate"] };
const newId = () => "crowd 1";

type Source = Parameters<typeof judge>[0];

/** So many abandoned transactions, of which the limits let one through. */
function storm(count: number, source: Partial<Source> = {}, user: (pid: number) => string = String) {
  const judging = judge({ rules: [{ name: "r", ...idle }], limits: { per_tick: 1 }, ...source });
  const look = Array.from({ length: count }, (_, index) => index + 1).reduce(
    (so, pid) => so.session(pid, { idle: `${5_000 - pid}s`, user: user(pid) }),
    snapshot(),
  );
  const { decisions } = judging.look(look.build());
  return { decisions, rules: judging.rules, limits: judging.config.limits };
}

test("all that are held back make one notice: how many, by which limit, the first ten by name", () => {
  const { decisions, rules, limits } = storm(500);
  const { news, crowds } = crowdsNow(new Map(), decisions, { rules, newId });
  assert.equal(news.length, 1);
  const [one] = news;
  assert.ok(one !== undefined);
  assert.deepEqual([one.phase, one.members.length, one.channels], ["opened", 499, undefined]);
  const { text, details } = crowdText(one, one.members.slice(0, mostNamed), { rules, limits });
  const told = notice({ decision: null, outcome: null, text, details, phase: "opened" });
  assert.equal(
    subject(told),
    "[lockwarden app] left 499 sessions alone: limit of 1 per look reached; the oldest: session 2,65a.2 (2, web)",
  );
  const lines = body(told).split("\n");
  assert.equal(lines.filter((line) => line.startsWith("  terminate session ")).length, 10);
  assert.ok(lines.includes("  and 489 more"), body(told));
  assert.match(body(told), /more of them follow, oldest first, as the limits have room/);
  assert.deepEqual(crowdsNow(crowds, decisions, { rules, newId }).news, []);
});

test("the limits per look and per minute take turns in a storm: that is told once; a repeat offender is told too", () => {
  const first = storm(9);
  const { crowds } = crowdsNow(new Map(), first.decisions, { rules: first.rules, newId });
  const later = first.decisions.map((one) =>
    one.kind === "spare" ? { ...one, limit: "limit-per-minute" as const } : one,
  );
  assert.deepEqual(crowdsNow(crowds, later, { rules: first.rules, newId }).news, []);
  const again = storm(9, { limits: { repeat: { times: 1, within: "10m" } } }, () => "app");
  const { news } = crowdsNow(crowds, again.decisions, { rules: again.rules, newId });
  assert.deepEqual(
    news.map(({ phase, incident }) => [phase, incident]),
    [["changed", "crowd 1"]],
  );
});

test("when nobody is held back any more that is told once, to the same channels", () => {
  const { decisions, rules, limits } = storm(9, { rules: [{ name: "r", ...idle, notify: ["b", "a"] }] });
  const { crowds } = crowdsNow(new Map(), decisions, { rules, newId });
  const over = crowdsNow(crowds, [], { rules, newId });
  assert.deepEqual(over.news, [{ phase: "resolved", incident: "crowd 1", channels: ["a", "b"], members: [] }]);
  assert.equal(crowdText(over.news[0] ?? assert.fail(), [], { rules, limits }).details.length, 0);
  assert.deepEqual(crowdsNow(over.crowds, [], { rules, newId }).news, []);
});

test("each set of channels has a notice of its own", () => {
  const own = (name: string, user: string, notify: string[]) => {
    return { name, ...idle, match: { ...idle.match, users: [user] }, notify };
  };
  const rules = [own("one", "a", ["x"]), own("two", "b", ["y"]), own("three", "c", ["x"])];
  const seen = storm(9, { rules }, (pid) => ["a", "b", "c"][pid % 3] ?? "");
  const { news } = crowdsNow(new Map(), seen.decisions, { rules: seen.rules, newId });
  const told = new Map(news.map(({ channels, members }) => [channels?.join(), members.length]));
  assert.deepEqual(
    told,
    new Map([
      ["x", 6],
      ["y", 2],
    ]),
  );
});

test("a single one is told as everybody else is, with its reason", () => {
  const { decisions, rules, limits } = storm(2);
  const [one] = crowdsNow(new Map<string, Crowd>(), decisions, { rules, newId }).news;
  assert.ok(one !== undefined);
  const { text, details } = crowdText(one, one.members, { rules, limits });
  assert.match(
    text,
    /^did not terminate session 2,65a\.2 \(2, web\): idle in transaction, .*; limit of 1 per look reached$/,
  );
  assert.deepEqual(details, []);
});
