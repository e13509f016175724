import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import type { OutcomeKind, SpareBy } from "../../src/core/decision.ts";
import { body, subject } from "../../src/notify/text.ts";
import { act, evidence, lockWait, notice, outcome, session, spare, waiter } from "../support/notice-samples.ts";

test("a resolved incident reads from the stuck session to what is to be done", () => {
  assert.equal(subject(notice()), "[lockwarden app] resolved: terminated 4711 (stuck-login), 2 sessions freed");
  assert.equal(
    body(notice()),
    `terminated 4711 (stuck-login), 2 sessions freed

STUCK
  session        4711,69a39c60.1267
  user           app_login
  database       app
  application    login-service
  client         10.0.0.7
  state          idle in transaction for 3 min 12 s
  transaction    open for 3 min 20 s, has written
  last statement update user_session set seen = $1 where id = $2

BLOCKED (2)
  4712,69a39c60.0 alice (web), for 45 s, public.user_session, ShareLock transactionid
  4713,69a39c60.1 bob (web), for 44 s, public.user_session, ShareLock transactionid

DONE
  Lockwarden terminated the session.
  rule stuck-login, step 1: idle in transaction for 3 min 12 s (at least 30 s)
  outcome released after 340 ms: its 2 waiters moved on

NOW
  The lock is free: 2 sessions do not wait any more.

WHAT TO DO
  Nothing.

-- 
lockwarden for target app, on ${hostname()}, 2026-03-01T03:03:13.000Z
`,
  );
});

test("observing says plainly that nothing was done", () => {
  const text = body(notice({ phase: "opened", decision: spare("observe"), outcome: null }));
  assert.match(text, /Would have terminated the session; nothing was done\. Lockwarden only observes here/);
  assert.match(text, /A person has to look at session 4711,69a39c60\.1267/);
  assert.match(text, /\n {2}To see it: lockwarden explain '4711,69a39c60\.1267'\n/);
  assert.match(text, /\n {2}To end it: lockwarden kill '4711,69a39c60\.1267' --target app\n/);
  assert.doesNotMatch(text, /NOW/);
});

const spares: readonly SpareBy[] = [
  "except",
  "protect",
  "limit",
  "observe",
  "paused",
  "follower",
  "not-root",
  "cooldown",
  "unknown",
  "idle",
  "done",
  "victims",
  "journal",
  "verifying",
];
for (const by of spares) {
  test(`a session spared by ${by} is told as one to whom nothing was done`, () => {
    const text = body(notice({ decision: spare(by), outcome: null }));
    assert.match(text, /DONE\n {2}Would have .*; nothing was done\. [A-Z].*\n/);
    assert.match(text, /WHAT TO DO\n {2}\S/);
  });
}

const outcomes: readonly (readonly [OutcomeKind, RegExp])[] = [
  ["released", /Lockwarden terminated the session\.[^]*The lock is free[^]*WHAT TO DO\n {2}Nothing\./],
  ["gone", /Nothing was sent[^]*ended by itself[^]*WHAT TO DO\n {2}Nothing\./],
  ["changed", /Nothing was sent[^]*something else than what was judged/],
  ["survived", /has not let go[^]*NOT free[^]*A person has to look/],
  ["denied", /may not terminate[^]*NOT free[^]*lockwarden check/],
  ["failed", /attempt to terminate the session failed[^]*NOT free/],
  ["unknown", /does not know whether[^]*not known whether/],
];
for (const [kind, expected] of outcomes) {
  test(`the outcome ${kind} claims no more than what happened`, () => {
    const text = body(notice({ outcome: outcome({ kind }) }));
    assert.match(text, expected);
    if (kind !== "released") assert.doesNotMatch(text, /Lockwarden terminated/);
  });
}

test("who blocks next is told", () => {
  const text = body(notice({ outcome: outcome({ next: "4712 alice, for 2 s" }) }));
  assert.match(text, /now blocked by 4712 alice, for 2 s/);
  assert.match(text, /who blocks now is judged by the same rules/);
});

test("a crowd is counted, not listed to the end", () => {
  const waiters = Array.from({ length: 500 }, (_, number) => waiter(number));
  const text = body(notice({ decision: act({ evidence: evidence({ waiters, waits: [lockWait(0)] }) }) }));
  assert.match(text, /BLOCKED \(500\)/);
  assert.match(text, /and 480 more/);
  assert.match(text, /behind another waiter/);
});

test("a victim that waits itself, a prepared transaction and an unknown one are told as what they are", () => {
  const waits = [lockWait(0, { waiter: "4711", mode: "AccessExclusiveLock", locktype: "relation" })];
  const ddl = evidence({ victim: session({ state: "active" }), waits, waiters: [] });
  assert.match(
    body(notice({ decision: act({ evidence: ddl }) })),
    /waits {10}for 45 s, public\.user_session, AccessExcl/,
  );
  const ids = { gid: "order-1", transactionId: "77" };
  const prepared = { kind: "prepared", key: "p1", ...ids, user: "u", database: "d", ageMs: 60_000 } as const;
  const text = body(notice({ decision: act({ evidence: evidence({ victim: prepared }) }) }));
  assert.match(text, /prepared {7}order-1\n {2}transaction {4}77, prepared 1 min ago/);
  const hidden = session({ user: null, state: null, query: null, client: null, transaction: { kind: "unknown" } });
  assert.match(body(notice({ decision: act({ evidence: evidence({ victim: hidden }) }) })), /state {10}unknown/);
});

test("a notice of the daemon itself is its sentence", () => {
  const text = body(
    notice({ phase: "system", target: null, decision: null, outcome: null, text: "lockwarden started" }),
  );
  assert.equal(text, `lockwarden started\n\n-- \nlockwarden, on ${hostname()}, 2026-03-01T03:03:13.000Z\n`);
});

test("hostile names forge no line, steer no terminal and put no command into anybody's shell", () => {
  const evil = "x\r\nBcc: all@example.org\n\nWHAT TO DO\n  Nothing.\u001b[2J\u202e\ud800".padEnd(20_000, "n");
  const victim = session({
    user: evil,
    database: evil,
    application: evil,
    client: evil,
    query: `${evil}${"q".repeat(100_000)}`,
    sessionId: "'; rm -rf ~ #",
    transaction: { kind: "open", startedAt: evil, ageMs: 1, writeId: evil },
  });
  const relation = { database: evil, schema: evil, name: evil, ancestors: [] };
  const waits = [
    lockWait(0, { relation, mode: evil, locktype: evil }),
    lockWait(1, { relation: null, candidates: [relation] }),
  ];
  const waiters = [waiter(0, { user: evil, application: evil, sessionId: evil }), waiter(1)];
  const told = notice({
    decision: act({ evidence: evidence({ victim, waits, waiters }) }),
    outcome: outcome({ kind: "survived", next: evil, text: evil }),
    text: evil,
    target: evil,
    at: evil,
  });
  assert.doesNotMatch(subject(told), /[\p{Cc}\p{Cf}\p{Cs}]/u);
  const text = body(told);
  assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}\p{Cs}]/u);
  const honest = body(notice({ outcome: outcome({ kind: "survived", next: "somebody", text: "x" }) }));
  assert.equal(text.split("\n").length, honest.split("\n").length);
  assert.ok(text.length < 10_000);
});
