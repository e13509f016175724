import assert from "node:assert/strict";
import { test } from "node:test";
import { blockOf, explained, ruleOf, stuck, stuckLogin, verdict } from "../support/explain.ts";
import { judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

test("a rule outside its hours says so, and when it will match", () => {
  const night = { ...stuckLogin, active: { hours: ["18:00-06:30", "12:30-13:00"], days: "mon-fri", timezone: "UTC" } };
  const { explanation, text } = explained(stuck().build(), { rules: [night] });
  const said = blockOf(text, 1).split("\n").slice(4);
  assert.deepEqual(said, [
    "  stuck-login: terminate in 30 min, when its hours begin, if nothing changes",
    "    outside its hours; they begin in 30 min, wanted: mon-fri 18:00-06:30 or",
    "      12:30-13:00 UTC",
  ]);
  const found = ruleOf(explanation, "1", "stuck-login");
  assert.deepEqual([found?.verdict, found?.inMs, found?.decision?.kind], ["will match", 1_800_000, "wait"]);
  assert.match(blockOf(text, 2), /not matched: waits itself behind 1, the root \(fails root,[^]* active[,)]/);
});

test("within its hours a rule says for how long, and one whose hours never come says that", () => {
  const source = (hours: string, more: object = {}) => ({
    rules: [{ ...stuckLogin, ...more, active: { hours, timezone: "UTC" } }],
  });
  const within = explained(stuck().build(), source("11:00-15:00"), { session: "1" });
  assert.match(
    within.text,
    /matched; terminate is due now\n {4}yes {7}active: within its hours, for another 3 h; wanted: 11:00-15:00 UTC\n/,
  );
  const except = { except: { users: "app" } };
  assert.equal(
    verdict(stuck().build(), source("13:00-15:00", except)),
    "  stuck-login: matches in 1 h; spared: except users: user app",
  );
  const observed = { ...source("13:00-15:00"), mode: "observe" };
  assert.match(
    verdict(stuck().build(), observed),
    /: would terminate in 1 h, when its hours begin, if nothing changes$/,
  );
  const always = source("00:00-24:00");
  assert.match(
    explained(stuck().build(), always, { session: "1" }).text,
    /active: within its hours; wanted: 00:00-24:00/,
  );
});

test("a ladder that the end of the hours has stopped says that it begins anew, and whether it will match", () => {
  const ladder = { ...stuckLogin, steps: ["notify", "terminate"], active: { hours: "13:00-14:00", timezone: "UTC" } };
  const daemon = judge({ rules: [{ ...ladder, active: undefined }] });
  const { history, decisions } = daemon.look(stuck().build());
  const incident = history.incidents.get(decisions[0]?.incident ?? "");
  assert.ok(incident);
  const begun = { ...history, incidents: new Map([[incident.key, { ...incident, step: 1 }]]) };
  const stopped = "spared: the rule's hours are over for another 1 h; its ladder stops before";
  const seen = (look: SnapshotBuilder) =>
    blockOf(explained(look.build(), { rules: [ladder] }, { history: begun }).text, 1).replace(/\n {4,}/g, " ");
  assert.ok(seen(stuck()).includes(`stuck-login: matches in 1 h; ${stopped}`), seen(stuck()));
  const busy = stuck("40s", "20s", { state: "active" });
  assert.ok(seen(busy).includes(`stuck-login: not matched; ${stopped}`), seen(busy));
});

test("of a rule with a probe it is said that the probe decides, and in observe that it is not run", () => {
  const probe = { sql: "select 1 from public.user_session limit 1" };
  const source = { rules: [{ ...stuckLogin, probe }] };
  const ifStuck = "if its probe finds the way stuck";
  assert.equal(verdict(stuck().build(), source), `  stuck-login: matched; terminate is due now, ${ifStuck}`);
  const soon = explained(stuck("29s").build(), source, { session: "1" });
  assert.match(
    soon.text.replace(/\n {4}(?! )/g, " "),
    /terminate in 1 s, if it is still idle then and its probe finds the way stuck/,
  );
  assert.match(soon.text, /\n {4}- {9}probe: is asked just before the act; wanted: finds the way stuck/);
  const observed = explained(stuck().build(), { ...source, mode: "observe" }, { session: "1" });
  assert.match(observed.text, /matched; would terminate: mode is observe\n/);
  assert.match(observed.text, /\n {4}- {9}probe: is not run in observe; wanted:/);
  const told = { rules: [{ ...stuckLogin, probe, steps: ["notify", "terminate"] }] };
  assert.equal(verdict(stuck().build(), told), "  stuck-login: matched; people are told");
});

const abandoned = {
  name: "abandoned",
  match: { prepared: { gid: "gid-*", for: "1h" }, blocks: { for: "10s" } },
  steps: ["rollback-prepared"],
};
const queueFor = (age: string, described: object = {}) =>
  snapshot()
    .prepared(7, { age, ...described })
    .session(2, { xact: "40s" })
    .waits(2, { on: "prepared/7", for: "40s", table: "public.user_session" })
    .build();

test("a prepared transaction that a rule is about has conditions like a session, and is not called never touched", () => {
  const told = (age: string, described = {}, given = {}) =>
    explained(queueFor(age, described), { rules: [abandoned, stuckLogin] }, given).text.split("\n\n")[1];
  const soon = `prepared transaction gid-7
  of app, in database app, prepared 59 min ago
  blocks 1 session on public.user_session, for 40 s; waits for nobody
  abandoned: rollback-prepared in 1 min, if it is still prepared then`;
  const spared = `  stuck-login: matched; spared: prepared 59 min ago, blocks 1 session on
    public.user_session; it has no session to signal: its owner app or a
    superuser runs rollback prepared 'gid-7' (or commit prepared) in database
    app`;
  assert.equal(told("59m"), `${soon}\n    prepared 59 min ago, wanted: at least 1 h\n${spared}`);
  assert.equal(
    told("59m", {}, { session: "gid-7" }),
    `${soon}
    in 1 min  prepared.for: prepared 59 min ago; wanted: at least 1 h
    yes       prepared.gid: gid gid-7; wanted: gid-*
    yes       blocks.waiters: blocks 1 session; wanted: at least 1
    yes       blocks.for: has blocked for 40 s; wanted: at least 10 s
${spared}`,
  );
  assert.match(told("2h") ?? "", /\n {2}abandoned: matched; rollback-prepared is due now: its identity is read again/);
  const never = "never touched: it is a prepared transaction, and has no session to signal";
  const other = told("2h", { gid: "other-7" }) ?? "";
  assert.ok(other.includes(never) && other.includes("abandoned: not matched: gid other-7 (fails prepared.gid)"), other);
  assert.match(told("2h", { superuser: true }) ?? "", /\n {2}protected: belongs to a superuser\n/);
});

test("a rule about prepared transactions that finds no waiter may still come to one", () => {
  const { text } = explained(snapshot().prepared(7, { age: "2h" }).build(), { rules: [abandoned] });
  assert.doesNotMatch(text, /never touched/);
  assert.match(text, /abandoned: not matched: blocks nobody \(fails blocks\.waiters, blocks\.for\)/);
  assert.match(text, /\nlockwarden explain with a PID or a gid says it condition by condition$/);
});
