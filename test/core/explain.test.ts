import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { lineageKey, noHistory } from "../../src/core/history.ts";
import { judge as judgeLook } from "../../src/core/judge.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { remembering, waitGraph } from "../../src/core/wait-graph.ts";
import { blockOf, explained, ruleOf, stuck, stuckLogin, verdict } from "../support/explain.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

const ddlJam = {
  name: "ddl-jam",
  match: { waits: { modes: ["AccessExclusiveLock"], for: "10s" }, blocks: { waiters: 5 } },
  steps: ["notify", { wait: "5s" }, "cancel"],
};
const rules = [stuckLogin, { ...ddlJam }];

test("everybody who blocks, waits or is in a transaction is explained, the most urgent first, and the rest counted", () => {
  const look = stuck("8s", "7s")
    .session(3, { idle: "50s", application: "batch" })
    .session(4, { state: "idle" })
    .session(5, { state: "idle" })
    .session(6, { own: true })
    .session(7, { role: "internal", backendType: "checkpointer" });
  assert.equal(
    explained(look.build(), { rules }).text,
    `app at 2026-01-01 12:00:00 UTC, as the daemon sees it

1,65a.1  user app, database app, web from 10.0.0.1
  idle in transaction for 8 s; transaction open for 8 s, has written
  last statement: update user_session set seen = now()
  blocks 1 session on public.user_session, for 7 s; waits for nobody
  stuck-login: terminate in 22 s, if it is still idle then
    idle for 8 s, wanted: at least 30 s
  ddl-jam: not matched: waits for no such lock (fails waits, blocks.waiters)

2,65a.2  user app, database app, web from 10.0.0.1
  active for 0 ms; transaction open for 7 s, has written
  statement: update user_session set seen = now()
  waits for a row of public.user_session (ShareLock) for 7 s, behind 1, the root
  stuck-login: not matched: waits itself behind 1, the root (fails root, state,
    idle_for, blocks.waiters, blocks.for)
  ddl-jam: not matched: waits for no such lock (fails waits, blocks.waiters)

3,65a.3  user app, database app, batch from 10.0.0.1
  idle in transaction for 50 s; transaction open for 50 s, has written
  last statement: update user_session set seen = now()
  waits for nobody, blocks nobody
  stuck-login: not matched: blocks nobody on public.user_session (fails
    blocks.waiters, blocks.for)
  ddl-jam: not matched: waits for no such lock (fails waits, blocks.waiters)

and 2 idle sessions that no rule is about, 1 of Lockwarden's own and 1 of the
  server's own (--all shows them)
lockwarden explain PID says it condition by condition`,
  );
});

test("of one session every condition is told, with what was seen and what is wanted, and what decides first", () => {
  const source = { rules: [{ ...stuckLogin, except: { users: ["migrator"] } }, ddlJam], mode: "observe" };
  assert.equal(
    explained(stuck("8s", "7s").build(), source, { session: "1" }).text,
    `app at 2026-01-01 12:00:00 UTC, as the daemon sees it
  mode is observe: nothing is signalled

1,65a.1  user app, database app, web from 10.0.0.1
  idle in transaction for 8 s; transaction open for 8 s, has written
  last statement: update user_session set seen = now()
  blocks 1 session on public.user_session, for 7 s; waits for nobody
  stuck-login: would terminate in 22 s, if it is still idle then
    in 22 s   idle_for: idle for 8 s; wanted: at least 30 s
    yes       root: waits for nobody; wanted: waits for nobody
    yes       state: is idle in transaction; wanted: idle in transaction
    yes       blocks.waiters: blocks 1 session on public.user_session; wanted:
                at least 1 on public.user_session
    yes       blocks.for: has blocked for 7 s; wanted: at least 5 s
    -         except users: user app; spares: migrator
  ddl-jam: not matched
    no        waits: waits for no such lock; wanted: AccessExclusiveLock for at
                least 10 s
    no        blocks.waiters: blocks 1 session; wanted: at least 5`,
  );
});

for (const [why, expected, source, given] of [
  ["an act is due", "matched; terminate is due now", {}, {}],
  ["the mode is observe", "matched; would terminate: mode is observe", { mode: "observe" }, {}],
  [
    "the rule observes",
    "matched; would terminate: mode is observe",
    { rules: [{ ...stuckLogin, mode: "observe" }] },
    {},
  ],
  ["it is paused", "matched; would terminate: paused by hand", {}, { paused: true }],
  ["another daemon acts", "matched; would terminate: another Lockwarden acts on this target", {}, { leader: false }],
  ["nothing can be written down", "matched; spared: the journal cannot be written", {}, { journalled: false }],
  [
    "it is excepted",
    "matched; spared: except users: user app",
    { rules: [{ ...stuckLogin, except: { users: ["app"] } }] },
    {},
  ],
  ["it is protected", "matched; spared: its user app is protected", { protect: { users: ["app"] } }, {}],
  [
    "only people are told",
    "matched; people are told",
    { rules: [{ ...stuckLogin, steps: ["notify", "terminate"] }] },
    {},
  ],
  [
    "the ladder waits",
    "matched; terminate in 5 s, as its steps say",
    { rules: [{ ...stuckLogin, steps: [{ wait: "5s" }, "terminate"] }] },
    {},
  ],
  [
    "a cancel would be useless",
    "matched; spared: a cancel does nothing to an idle session, and",
    { rules: [{ ...stuckLogin, steps: ["cancel"] }] },
    {},
  ],
] as const) {
  test(`the verdict says what the judge decided when ${why}`, () => {
    assert.equal(verdict(stuck().build(), { rules: [stuckLogin], ...source }, given), `  stuck-login: ${expected}`);
  });
}

test("where a look did not read who has written, nobody is said not to have", () => {
  const look = stuck().build();
  const unread = (one: Session): Session =>
    one.transaction.kind === "open"
      ? { ...one, transaction: { ...one.transaction, writeId: null, writeUnknown: true } }
      : one;
  const unasked = { ...look, sessions: look.sessions.map(unread) };
  const said = (seen: Snapshot) => explained(seen, { rules: [stuckLogin] }, { session: "1" }).text;
  assert.match(said(look), /, has written/);
  assert.match(said(unasked), /, may have written/);
});

test("when it will match depends on what it waits for", () => {
  for (const [expected, match] of [
    ["if it is still idle then", { idle_for: "1m" }],
    ["if its transaction is still open then", { transaction_for: "1m", state: "idle in transaction" }],
    ["if it still blocks them then", { idle_for: "10s", blocks: { for: "40s" } }],
  ] as const) {
    const rule = { name: "soon", match, steps: ["terminate"] };
    assert.equal(verdict(stuck().build(), { rules: [rule] }), `  soon: terminate in 20 s, ${expected}`);
  }
});

test("without a daemon nobody is told, only would be", () => {
  const source = { rules: [{ ...stuckLogin, steps: ["notify"] }] };
  for (const basis of ["first look", "recording"] as const)
    assert.equal(verdict(stuck().build(), source, { basis }), "  stuck-login: matched; people would be told");
});

test("who is not idle in a transaction is not said to be busy by a header that calls it idle", () => {
  const look = stuck().session(3, { state: "idle", stateMs: 60_000 }).build();
  const idleFor = (match: object) =>
    ruleOf(
      explained(look, { rules: [{ name: "idlers", match, steps: ["notify"] }] }, { all: true }).explanation,
      "3",
      "idlers",
    )?.conditions.find(({ name }) => name === "idle_for")?.seen;
  assert.equal(idleFor({ idle_for: "30s" }), "not idle in a transaction");
  assert.equal(idleFor({ state: "idle", idle_for: "30s" }), "idle for 1 min");
});

test("a ladder that begins with a wait does not make what comes after it due at the match", () => {
  const source = { rules: [{ ...stuckLogin, steps: [{ wait: "5s" }, "terminate"] }] };
  const { text } = explained(stuck("8s", "7s").build(), source);
  assert.match(
    text.replace(/\n {4}(?! )/g, " "),
    / {2}stuck-login: matches in 22 s, if it is still idle then; terminate 5 s later, as its steps say /,
  );
});

test("what protects a session is said whether a rule matches it or not", () => {
  const look = stuck("40s", "20s", { superuser: true }).build();
  const { text } = explained(look, { rules: [ddlJam] });
  assert.match(blockOf(text, 1), /\n {2}protected: belongs to a superuser\n {2}ddl-jam: not matched: /);
  assert.doesNotMatch(blockOf(text, 2), /protected/);
});

test("a session that will match and is excepted is spared then", () => {
  const source = { rules: [{ ...stuckLogin, except: { applications: "web" } }] };
  assert.equal(
    verdict(stuck("29s").build(), source),
    "  stuck-login: matches in 1 s; spared: except applications: application web",
  );
});

test("the exception that spares comes before the conditions", () => {
  const source = { rules: [{ ...stuckLogin, except: { users: ["migrator"], applications: ["web"] } }] };
  const { explanation, text } = explained(stuck().build(), source, { session: "1" });
  assert.equal(ruleOf(explanation, "1", "stuck-login")?.except[0]?.name, "applications");
  const said = blockOf(text, 1).split("\n");
  assert.deepEqual(said.slice(4, 6), [
    "  stuck-login: matched; spared: except applications: application web",
    "    spares    except applications: application web; spares: web",
  ]);
});

test("an unknown never matches and spares, and both are said so", () => {
  const look = stuck("40s", "20s", { user: null }).build();
  const match = { ...stuckLogin, match: { ...stuckLogin.match, users: "app" } };
  const { text } = explained(look, { rules: [match] }, { session: "1" });
  assert.match(text, /stuck-login: not matched\n {4}unknown {3}users: user unknown; wanted: app\n/);
  const except = { ...stuckLogin, except: { users: "migrator" } };
  const spared = explained(look, { rules: [except] }, { session: "1" });
  assert.match(spared.text, /spared: except users is unknown, and an unknown spares\n/);
  assert.match(spared.text, /\n {4}spares {4}except users: user unknown; spares, as what is unknown: migrator\n/);
});

test("a waiter in the middle of a chain is told behind whom, and who the root is", () => {
  const look = stuck().session(3, { xact: "9s" }).waits(3, { on: 2, for: "9s", table: "public.user_session" }).build();
  const { explanation, text } = explained(look, { rules: [stuckLogin] });
  assert.match(
    text,
    /\n {2}waits for a row of public\.user_session \(ShareLock\) for 9 s, behind 2\s+\(the\s+root\s+is 1\)\n/,
  );
  assert.deepEqual(ruleOf(explanation, "3", "stuck-login")?.conditions[0], {
    name: "root",
    wanted: "waits for nobody",
    seen: "waits itself behind 2 (the root is 1)",
    holds: "no",
    inMs: null,
  });
  assert.deepEqual(
    explanation.sessions.map(({ standing: { kind, blocks, roots } }) => [kind, blocks, ...roots]),
    [
      ["root", 2],
      ["waiter", 1, "1"],
      ["waiter", 0, "1"],
    ],
  );
});

test("a deadlock is the server's business, for every rule", () => {
  const look = snapshot()
    .session(1, { xact: "1m" })
    .session(2, { xact: "1m" })
    .waits(1, { on: 2, for: "1m", mode: "AccessExclusiveLock", locktype: "relation" })
    .waits(2, { on: 1, for: "1m", mode: "AccessExclusiveLock", locktype: "relation" });
  const { explanation } = explained(look.build(), { rules: [stuckLogin, ddlJam] });
  for (const name of ["stuck-login", "ddl-jam"]) {
    const first = ruleOf(explanation, "1", name)?.conditions[0];
    assert.equal(first?.seen, "is part of a deadlock, which the server itself ends: waits behind 2");
  }
});

test("Lockwarden's own sessions, workers and the server's processes say why they are never touched", () => {
  const look = snapshot()
    .session(1, { own: true, application: "lockwarden" })
    .session(2, { role: "replication", backendType: "walsender" })
    .session(3, { group: "4" })
    .session(4, { xact: "1s" })
    .session(5, { hidden: true, backendType: null });
  const { text, explanation } = explained(look.build(), { rules: [stuckLogin] }, { all: true });
  for (const [pid, why] of [
    [1, "it is one of Lockwarden's own sessions"],
    [2, "it is no client but walsender"],
    [3, "it is a parallel worker of 4, and judged as that one"],
    [5, "its state and transaction do not show, as the server does not track them"],
  ] as const) {
    assert.ok(blockOf(text, pid).replace(/\n +/g, " ").includes(` never touched: ${why}`), text);
  }
  assert.deepEqual(explanation.rest, { behind: [], busy: 0, idle: 0, own: 0, internal: 0 });
});

test("a prepared transaction in the way says what ends it", () => {
  const prepared = {
    kind: "prepared",
    key: "prepared 7",
    gid: "order-7",
    transactionId: "7",
    user: "app",
    database: "app",
    ageMs: 60_000,
  } as const;
  const built = snapshot().session(2, { xact: "40s" }).build();
  const [wait] = stuck("40s", "40s").build().waits ?? [];
  assert.ok(wait);
  const waits = [{ ...wait, blockers: [{ node: prepared.key, soft: false }] }];
  const look: Snapshot = { ...built, prepared: [prepared], waits, contended: true };
  const { text } = explained(look, { rules: [stuckLogin] });
  assert.equal(
    text.split("\n\n")[1],
    `prepared transaction order-7
  of app, in database app, prepared 1 min ago
  blocks 1 session on public.user_session, for 40 s; waits for nobody
  never touched: it is a prepared transaction, and has no session to signal
  stuck-login: matched; spared: prepared 1 min ago, blocks 1 session on
    public.user_session; it has no session to signal: its owner app or a
    superuser runs rollback prepared 'order-7' (or commit prepared) in database
    app`,
  );
  assert.match(text, /not matched: waits itself behind prepared transaction order-7,\n {4}the root/);
  assert.equal(explained(look, { rules: [stuckLogin] }, { session: "order-7" }).explanation.sessions.length, 1);
});

test("a rule about prepared transactions is explained condition by condition, whatever holds it back", () => {
  const rule = { name: "abandoned", match: { prepared: { gid: "gid-*", for: "10m" } }, steps: ["rollback-prepared"] };
  const text = (age: string, more: object = {}) =>
    explained(snapshot().prepared(7, { age }).build(), { rules: [rule], ...more }, { session: "gid-7" }).text.split(
      "\n\n",
    )[1];
  assert.equal(
    text("1h", { mode: "observe" }),
    `prepared transaction gid-7
  of app, in database app, prepared 1 h ago
  waits for nobody, blocks nobody
  abandoned: matched; would rollback-prepared: its identity is read again just
    before the rollback, not within it; mode is observe
    yes       prepared.gid: gid gid-7; wanted: gid-*
    yes       prepared.for: prepared 1 h ago; wanted: at least 10 min`,
  );
  assert.match(text("9m") ?? "", /abandoned: .*rollback-prepared in 1 min/);
  assert.match(text("1h", { protect: { users: ["app"] } }) ?? "", /protected: its user app is protected/);
});

test("what a daemon remembers counts: ladders go on, and successors are left alone", () => {
  const ladder = { ...stuckLogin, steps: [{ wait: "10s" }, "terminate"] };
  const daemon = judge({ rules: [ladder] });
  const { history } = daemon.look(stuck().build());
  const later = stuck("44s", "24s").later("4s").build();
  assert.equal(
    verdict(later, { rules: [ladder] }, { history }),
    "  stuck-login: matched; terminate in 6 s, as its steps say",
  );
  const cooldown = {
    rule: "stuck-login",
    atMs: later.atMs - 18_000,
    untilMs: later.atMs + 12_000,
    lineage: new Set(later.sessions.filter(({ pid }) => pid === "1").map(lineageKey)),
    locks: new Set<string>(),
  };
  const { text } = explained(later, { rules: [stuckLogin] }, { history: { ...noHistory, cooldowns: [cooldown] } });
  assert.match(
    text,
    /\n {2}rule stuck-login has acted: who came to block its lock since is left alone for\n {4}another 12 s\n/,
  );
  assert.match(text, /stuck-login: matched; spared: it became the blocker after an act of rule/);
  const cooldowns = [cooldown, { ...cooldown, untilMs: later.atMs + 20_000 }];
  const stormy = explained(later, { rules: [stuckLogin] }, { history: { ...noHistory, cooldowns } }).text;
  assert.equal(stormy.split("has acted").length, 2, stormy);
  assert.match(stormy, /\n {2}rule stuck-login has acted 2 times: [^]* the last\s+for another 20 s\n/);
});

test("after our own cancel what it changed is not asked again", () => {
  const ladder = { ...stuckLogin, steps: ["cancel", "terminate"] };
  const daemon = judge({ rules: [ladder] });
  const { history, decisions } = daemon.look(stuck().build());
  const [decision] = decisions;
  assert.ok(decision);
  const incident = history.incidents.get(decision.incident);
  assert.ok(incident);
  const incidents = new Map([[incident.key, { ...incident, cancelled: true, step: 1 }]]);
  const given = { session: "1", history: { ...history, incidents } };
  const { text } = explained(stuck("1s").build(), { rules: [ladder] }, given);
  assert.match(text, /\n {4}- {9}idle_for: not asked again after Lockwarden's own cancel; wanted:/);
});

test("a statement is shown masked, and a rule on it never repeats its text", () => {
  const secret = "select 'hunter2'";
  const look = snapshot().session(1, { xact: "1m", query_age: "1m", query: secret }).build();
  const rule = { name: "slow", match: { query: "hunter", query_for: "10s" }, steps: ["cancel"] };
  const { explanation, text } = explained(look, { rules: [rule] }, { session: "1" });
  assert.match(text, /statement: select \?\n/);
  assert.match(text, /query: its statement matches; wanted: hunter/);
  assert.ok(!JSON.stringify(explanation).includes("hunter2"));
  const [decision] = judge({ rules: [rule] }).look(look).decisions;
  assert.ok(!decision?.reason.text.includes("hunter2"), decision?.reason.text);
});

test("what strangers call themselves does not steer the terminal", () => {
  const look = stuck("40s", "20s", { application: "a\u001b[2Jb", user: "\u202eroot" }).build();
  const { text } = explained(look, { rules });
  assert.ok(!text.includes("\u001b") && !text.includes("\u202e"), JSON.stringify(text));
  assert.ok(text.includes("a\\x1b[2Jb"), text);
});

test("whoever is matched comes before roots, roots before those who will match, and waiters later", () => {
  const look = snapshot()
    .session(1, { xact: "5s" })
    .session(2, { xact: "4s" })
    .session(3, { idle: "10s" })
    .session(4, { idle: "20s" })
    .session(5, { idle: "31s" })
    .session(6, { xact: "1h" })
    .waits(1, { on: 6, for: "1s" })
    .waits(2, { on: 1, for: "1s" });
  const rule = { name: "idler", match: { idle_for: "30s" }, steps: ["notify"] };
  const { explanation } = explained(look.build(), { rules: [rule] });
  assert.deepEqual(
    explanation.sessions.map(({ who }) => who.kind === "session" && who.pid),
    ["5", "6", "4", "3", "1", "2"],
  );
});

test("a graph that remembers answers as the graph does, for each node and kind of lock", () => {
  const look = stuck("40s", "9s")
    .session(3, { xact: "8s" })
    .waits(3, { on: 2, for: "8s", locktype: "advisory" })
    .build();
  const graph = waitGraph(look);
  const again = remembering(graph);
  for (const locktypes of [["transactionid"], ["advisory"], ["transactionid", "advisory"]].map((one) => new Set(one)))
    for (const node of ["1", "2", "3", "1"])
      assert.deepEqual([...again.behind(node, locktypes)], [...graph.behind(node, locktypes)]);
});

test("of those who only wait in one chain a few are told, and the rest counted by who they wait behind", () => {
  let look = stuck().session(3, { xact: "1m" }).session(4, { xact: "9s" }).waits(4, { on: 3, for: "9s" });
  for (let pid = 10; pid < 310; pid++) {
    // As on a hot row: the first waits for the holder, all others in a queue behind the first.
    const on = pid === 10 ? 1 : [10, ...(pid === 11 ? [] : [pid - 1])];
    look = look.session(pid, { xact: "9s" }).waits(pid, { on, for: "9s" });
  }
  const { explanation, text } = explained(look.build(), { rules });
  assert.equal(explanation.sessions.length, 8);
  assert.deepEqual(explanation.rest.behind, [{ root: "1", sessions: 296 }]);
  assert.equal(explanation.rest.busy, 0);
  assert.match(text, /\nand 296 more that wait behind 1 \(--all shows them\)\n/);
  assert.equal(explained(look.build(), { rules }, { all: true }).explanation.sessions.length, 304);
  const rule = { name: "waiters", match: { waits: { for: "5s" } }, steps: ["notify"] };
  assert.equal(explained(look.build(), { rules: [rule] }).explanation.sessions.length, 100);
});

test("what ends a chain may be a deadlock or somebody unseen, and its waiters are cut all the same", () => {
  let look = snapshot().session(1, { xact: "1m" }).session(2, { xact: "1m" });
  look = look.waits(1, { on: 2, for: "1m" }).waits(2, { on: 1, for: "1m" });
  for (let pid = 10; pid < 20; pid++) look = look.session(pid, { xact: "9s" }).waits(pid, { on: 1, for: "9s" });
  for (let pid = 20; pid < 30; pid++) look = look.session(pid, { xact: "9s" }).waits(pid, { on: [], for: "9s" });
  const built = look.build();
  const waits = (built.waits ?? []).map((wait) => ({ ...wait, hiddenBlocker: wait.blockers.length === 0 }));
  const { explanation, text } = explained({ ...built, waits }, { rules });
  assert.deepEqual(
    explanation.rest.behind.map(({ sessions }) => sessions),
    [7, 5],
  );
  assert.match(
    text.replace(/\n +/g, " "),
    /\nand 12 more that wait behind [12] and somebody who cannot be seen \(--all/,
  );
});

test("too many are cut to what people can read, and counted", () => {
  let look = snapshot();
  for (let pid = 10; pid < 310; pid++) look = look.session(pid, { xact: "9s" });
  const { explanation, text } = explained(look.build(), { rules });
  assert.equal(explanation.sessions.length, 100);
  assert.equal(explanation.rest.busy, 200);
  assert.match(text, /and 200 more that wait, block or are in a transaction \(--all shows them\)/);
  assert.equal(explained(look.build(), { rules }, { all: true }).explanation.sessions.length, 300);
});

test("a long duration does not run into its condition", () => {
  const rule = { name: "slow", match: { state: "idle in transaction", transaction_for: "1h" }, steps: ["notify"] };
  const { text } = explained(stuck("90s").build(), { rules: [rule] }, { session: "1" });
  assert.match(text, /\n {4}in 58 min 30 s {2}transaction_for: [^]*\n {4}yes {13}root: /);
});

test("no line is wider than the terminal", () => {
  const { text } = explained(stuck("8s", "7s").build(), { rules }, { session: "2" });
  for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
});

const ages = fc.constantFrom("1s", "4s", "6s", "29s", "31s", "2m");
const someone = fc.record({
  idle: fc.option(ages, { nil: undefined }),
  xact: fc.option(ages, { nil: undefined }),
  user: fc.constantFrom("app", "migrator", null),
  hidden: fc.boolean(),
  own: fc.boolean(),
  blocker: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  waited: ages,
  table: fc.constantFrom("public.user_session", "public.other"),
});
const scene = fc.array(someone, { minLength: 1, maxLength: 6 }).map((people) => {
  let look = snapshot();
  for (const [at, { idle, xact, hidden, ...rest }] of people.entries()) {
    const { user, own } = rest;
    const described = { user, own, hidden: hidden && own, ...(idle === undefined ? {} : { idle }) };
    look = look.session(at + 1, { ...described, ...(xact === undefined ? {} : { xact }) });
  }
  for (const [at, { blocker, waited, table }] of people.entries()) {
    if (blocker !== undefined && blocker !== at + 1 && blocker <= people.length)
      look = look.waits(at + 1, { on: blocker, for: waited, table });
  }
  return look.build();
});

test("no explanation contradicts the judge: verdicts, conditions and decisions agree", () => {
  const many = {
    rules: [
      stuckLogin,
      { ...stuckLogin, name: "excepting", except: { users: "migrator" } },
      { name: "waiters", match: { waits: { for: "5s" }, users: "app" }, steps: ["cancel"] },
      { name: "holders", match: { holds: {}, transaction_for: "30s" }, steps: ["notify"] },
    ],
  };
  fc.assert(
    fc.property(scene, (look) => {
      const { explanation, rules: compiled, circumstances } = explained(look, many, { all: true });
      const evaluation = evaluate(look, compiled, noHistory);
      const { decisions } = judgeLook({ snapshot: look, evaluation }, noHistory, { rules: compiled, circumstances });
      const said = explanation.sessions.flatMap(({ rules: list }) => list);
      assert.equal(said.filter(({ decision }) => decision !== null).length, decisions.length);
      for (const { verdict: is, inMs, conditions } of said.filter((one) => one.conditions.length > 0)) {
        const holds = new Set(conditions.map((one) => one.holds));
        const fails = holds.has("no") || holds.has("unknown");
        assert.equal(is, fails ? "not" : holds.has("later") ? "will match" : "matched");
        if (is === "will match") assert.equal(inMs, conditions[0]?.inMs);
      }
    }),
  );
});
