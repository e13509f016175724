import assert from "node:assert/strict";
import { test } from "node:test";
import { timeoutDoubts } from "../../src/core/server-timeouts.ts";
import type { ServerTimeout, Survey } from "../../src/core/survey.ts";
import { goodConfig } from "../support/load-text.ts";

const names = {
  idle: "idle_session_timeout",
  "idle in transaction": "idle_in_transaction_session_timeout",
  statement: "statement_timeout",
  lock: "lock_timeout",
  transaction: "transaction_timeout",
  deadlock: "deadlock_timeout",
} as const;

/** `lock 5`, `lock 5 web`, `lock 5 web/app`, `lock 5 /app`: a setting in seconds, of a role, in a database. */
function setting(text: string): ServerTimeout {
  const [, kind, seconds, role, database] = /^([a-z ]+) (\d+)(?: ([a-z]*)(?:\/([a-z]+))?)?$/.exec(text) ?? [];
  assert.ok(kind !== undefined && kind in names, text);
  const known = kind as keyof typeof names;
  const ms = Number(seconds) * 1_000;
  return { name: names[known], kind: known, ms, role: role || null, database: database ?? null };
}

function told(rule: string, settings: readonly string[], protect = "{}"): readonly string[] {
  const config = goodConfig(
    `targets: [{name: t, url: postgres://u@h/d}]\nprotect: ${protect}\nrules: [{name: r, ${rule}}]\n`,
  );
  const role = (name: string, more = {}) => ({ name, login: true, superuser: false, ...more });
  const survey: Survey = {
    timeouts: settings.map(setting),
    roles: [role("web"), role("etl"), role("root", { superuser: true }), role("me"), role("team", { login: false })],
    ownRole: "me",
    databases: ["app", "shop"],
    mostSessions: 100,
    mostPrepared: 10,
    tables: [],
    gaps: [],
  };
  const first = ", unless a session sets its own";
  return timeoutDoubts(config.rules, survey, config.protect).map(({ text }) =>
    text.replace("rule r ", "").replace(first, ""),
  );
}

const idle = "match: {idle_for: 30s}, steps: [terminate]";
const idleName = "idle_in_transaction_session_timeout";

const late: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
  ["nothing is set", idle, ["idle in transaction 0", "lock 1", "statement 1", "idle 1"], []],
  ["a longer one comes later", idle, ["idle in transaction 31"], []],
  [
    "the same is first: Lockwarden looks a moment after",
    idle,
    ["idle in transaction 30"],
    [`can never act: the server's ${idleName} (30 s) acts first; the rule asks for idle_for 30 s`],
  ],
  [
    "one role's own",
    idle,
    ["idle in transaction 0", "idle in transaction 10 web"],
    [
      `can never act on sessions of role web: the server's ${idleName} (10 s, set for role web) acts first; the rule asks for idle_for 30 s`,
    ],
  ],
  [
    "a rule about that role alone never acts at all",
    "match: {users: w*, idle_for: 30s}, steps: [terminate]",
    ["idle in transaction 0", "idle in transaction 10 web"],
    [`can never act: the server's ${idleName} (10 s, set for role web) acts first; the rule asks for idle_for 30 s`],
  ],
  [
    "a role in a database goes before the role, that before the database, and that before the server",
    idle,
    [
      "idle in transaction 1",
      "idle in transaction 2 /app",
      "idle in transaction 3 web",
      "idle in transaction 0 web/shop",
    ],
    [
      `can never act on sessions of role web: the server's ${idleName} (3 s, set for role web) acts first; the rule asks for idle_for 30 s`,
      `can never act on sessions of database app: the server's ${idleName} (2 s, set for database app) acts first; the rule asks for idle_for 30 s`,
      `can never act on sessions without a setting of their own: the server's ${idleName} (1 s) acts first; the rule asks for idle_for 30 s`,
    ],
  ],
  [
    "whom the rule, its exceptions or protection leave out does not count",
    "match: {databases: app, idle_for: 30s}, except: {users: web}, steps: [terminate]",
    [
      "idle in transaction 1 web",
      "idle in transaction 1 /shop",
      "idle in transaction 1 root",
      "idle in transaction 1 me",
    ],
    [],
  ],
  [
    "plain idle has a timeout of its own",
    "match: {state: [idle, idle in transaction], idle_for: 30s}, steps: [terminate]",
    ["idle 10"],
    [],
  ],
  [
    "and with both of them nothing is left",
    "match: {state: [idle, idle in transaction], idle_for: 30s}, steps: [terminate]",
    ["idle 10", "idle in transaction 20"],
    [
      `can never act: the server's idle_session_timeout (10 s) and ${idleName} (20 s) act first; the rule asks for idle_for 30 s`,
    ],
  ],
  [
    "of several the first counts",
    "match: {query_for: 1m}, steps: [cancel]",
    ["statement 20", "transaction 10", "lock 1"],
    ["can never act: the server's transaction_timeout (10 s) acts first; the rule asks for query_for 1 min"],
  ],
  [
    "a wait ends with lock_timeout",
    "match: {waits: {for: 10s}}, steps: [cancel]",
    ["lock 5"],
    ["can never act: the server's lock_timeout (5 s) acts first; the rule asks for waits.for 10 s"],
  ],
  [
    "a failed transaction outlives transaction_timeout",
    "match: {transaction_for: 1m}, steps: [terminate]",
    ["transaction 10"],
    [
      "can never act but on failed transactions: the server's transaction_timeout (10 s) acts first; the rule asks for transaction_for 1 min",
    ],
  ],
  [
    "a block lasts no longer than its transaction",
    "match: {state: idle in transaction, blocks: {for: 1m}}, steps: [terminate]",
    ["transaction 10"],
    ["can never act: the server's transaction_timeout (10 s) acts first; the rule asks for blocks.for 1 min"],
  ],
  [
    "but an advisory one",
    "match: {state: idle in transaction, blocks: {for: 1m, locktypes: advisory}}, steps: [terminate]",
    ["transaction 10"],
    [],
  ],
  [
    "a transaction that is busy is not idle",
    "match: {transaction_for: 1m}, steps: [terminate]",
    ["idle in transaction 10"],
    [],
  ],
  [
    "a ladder that waits too long",
    "match: {idle_for: 5s}, steps: [notify, {wait: 6s}, terminate]",
    ["idle in transaction 10"],
    [
      `never comes to terminate: the server's ${idleName} (10 s) acts first; that step asks for idle_for 5 s and then 6 s`,
    ],
  ],
  [
    "a ladder that is in time",
    "match: {idle_for: 5s}, steps: [notify, {wait: 4s}, terminate]",
    ["idle in transaction 10"],
    [],
  ],
  [
    "who only tells is late too",
    "match: {idle_for: 30s}, steps: [notify]",
    ["idle in transaction 10"],
    [`can never tell: the server's ${idleName} (10 s) acts first; the rule asks for idle_for 30 s`],
  ],
  [
    "waiters that give up one after the other",
    "match: {idle_for: 1s, blocks: {for: 30s, users: w*}}, steps: [terminate]",
    ["lock 5 web", "lock 10 etl", "statement 3 web/shop"],
    [
      "acts only where waiters follow one another: each gives up at the server's lock_timeout (5 s, set for role web) at the latest, unless it sets its own; the rule asks for blocks.for 30 s",
    ],
  ],
  [
    "one waiter that stays is enough",
    "match: {idle_for: 1s, blocks: {for: 30s}}, steps: [terminate]",
    ["lock 5 web"],
    [],
  ],
];
for (const [name, rule, settings, expected] of late)
  test(`${name} (${settings.join(", ")})`, () => {
    assert.deepEqual(told(rule, settings), expected);
  });

test("superusers count where nothing protects them", () => {
  const rule = "match: {users: root, idle_for: 30s}, steps: [terminate]";
  assert.deepEqual(told(rule, ["idle in transaction 10"]), []);
  assert.equal(told(rule, ["idle in transaction 10"], "{superusers: false}").length, 1);
});

test("acting below twice the server's deadlock_timeout is told where the config alone could not know", () => {
  const rule = "match: {idle_for: 1s, blocks: {for: 5s}}, steps: [terminate]";
  const text =
    "may act on what the server is about to solve by itself: blocks.for 5 s is less than twice its deadlock_timeout (3 s, set for role etl)";
  assert.deepEqual(told(rule, ["deadlock 1", "deadlock 3 etl"]), [text]);
  assert.deepEqual(told(rule, ["deadlock 1"]), []);
  assert.deepEqual(told(rule.replace("terminate", "notify"), ["deadlock 3"]), []);
});
