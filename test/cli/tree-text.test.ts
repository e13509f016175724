import assert from "node:assert/strict";
import { test } from "node:test";
import { renderLine, textWidth } from "../../src/cli/terminal-text.ts";
import { forestLines, type TreeTextOptions } from "../../src/cli/tree-text.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { treeOf } from "../../src/core/tree.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

type Options = Readonly<{ columns?: number; all?: boolean; show?: TreeTextOptions["show"] }>;

function textOf(
  seen: Snapshot | SnapshotBuilder,
  { columns, all = false, show = ({ query }) => query }: Options = {},
): string {
  const built = "build" in seen ? seen.build() : seen;
  const lines = forestLines(treeOf(built), { all, show });
  return lines.map((line) => renderLine(line, columns ?? null, false)).join("\n");
}

const row = { table: "public.user_session" };
const orders = { locktype: "relation", table: "public.orders", lock: "relation 1/2" };
const quiet = { query: null };

test("roots with their facts, the worst first, and under each who waits, for what and for how long", () => {
  const seen = snapshot()
    .session(4711, { idle: "6s", xact: "9s" })
    .session(4712, { application: "web-2" })
    .session(4713, { application: "web-3", query: null })
    .session(5000, { xact: "12m", query_age: "11m", application: "report", query: "select * from orders" })
    .session(5001, { application: "migrate", user: "postgres", query: "alter table orders add n int" })
    .session(5002, { application: "", ...quiet })
    .session(5003, quiet)
    .waits(4712, { ...row, on: 4711, for: "5s" })
    .waits(4713, { ...row, on: 4712, for: "4s", locktype: "tuple", mode: "ExclusiveLock" })
    .waits(5001, { ...orders, on: 5000, for: "10m", mode: "AccessExclusiveLock" })
    .waits(5002, { ...orders, on: 5001, soft: true, for: "9m", mode: "AccessShareLock" })
    .waits(5003, { ...orders, on: 5001, soft: true, for: "8m", mode: "RowExclusiveLock" });
  assert.equal(
    textOf(seen),
    `app (postgres 18.4): 5 sessions wait for a lock, the longest for 10 min
5000,65a.1388  report, user app, database app, from 10.0.0.1
│  active for 0 ms, transaction 12 min old, blocks 3
│  statement: select * from orders
└─ 5001,65a.1389 migrate (postgres) waits 10 min for public.orders (AccessExclusiveLock): alter table orders add n int
   ├─ 5002 app queues behind it 9 min for public.orders (AccessShareLock)
   └─ 5003 web (app) queues behind it 8 min for public.orders (RowExclusiveLock)
4711,65a.1267  web, user app, database app, from 10.0.0.1
│  idle in transaction for 6 s, transaction 9 s old, blocks 2
│  last statement: update user_session set seen = now()
└─ 4712,65a.1268 web-2 (app) waits 5 s for a row of public.user_session (ShareLock): update user_session set seen = now()
   └─ 4713 web-3 (app) waits 4 s for a row of public.user_session (ExclusiveLock)`.replace(
      "active for 0 ms",
      "active for 11 min",
    ),
  );
});

test("in 80 columns no line is wider, and what is cut ends in an ellipsis", () => {
  const seen = snapshot()
    .session(1, { idle: "6s", application: "用户管理系统用户管理系统用户管理系统用户管理系统用户管理系统" })
    .session(2, { application: "e\u0301tage 👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽👍🏽" })
    .waits(2, { ...row, on: 1, for: "5s" });
  for (const columns of [0, 1, 10, 20, 39, 40, 41, 79, 80, 81, 120]) {
    for (const line of textOf(seen, { columns }).split("\n")) assert.ok(textWidth(line) <= columns, line);
  }
  const [, root = ""] = textOf(seen, { columns: 40 }).split("\n");
  assert.equal(root, "1,65a.1  用户管理系统用户管理系统用户管…");
});

test("whatever strangers call themselves, a terminal obeys none of it", () => {
  const nasty = "\u001b[2J\u001b]0;owned\u0007\r\n\u202egnp.exe\u2066\u200b\u0000";
  const seen = snapshot()
    .session(1, { idle: "6s", application: nasty, user: nasty, database: nasty, client: nasty, query: nasty })
    .session(2, { application: nasty, user: nasty, query: nasty })
    .waits(2, { on: 1, candidates: [`public.${nasty}`], lock: nasty, locktype: "advisory" });
  const text = textOf(seen);
  assert.equal(text.split("\n").length, 5);
  assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
  assert.match(text, /\\x1b\[2J\\x1b\]0;owned\\x07 \\u202egnp\.exe/);
});

test("a queue of a thousand is cut, and --all shows it whole", () => {
  let seen = snapshot().session(1, { idle: "1m" });
  for (let pid = 2; pid <= 1_001; pid++) seen = seen.waits(pid, { ...row, on: 1, for: "9s" });
  const lines = textOf(seen).split("\n");
  assert.equal(lines.length, 4 + 11);
  assert.equal(lines.at(-1), "└─ and 990 more (--all shows them)");
  assert.equal(lines.at(-2), "├─ 11 waits 9 s for a row of public.user_session (ShareLock)");
  const whole = textOf(seen, { all: true }).split("\n");
  assert.equal(whole.length, 4 + 1_000);
  assert.match(whole.at(-1) ?? "", /^└─ 1001 waits/);
});

test("one more than the most is shown rather than spoken of, and whoever is cut counts with all behind him", () => {
  let seen = snapshot().session(1, { idle: "1m" });
  for (let pid = 2; pid <= 12; pid++) seen = seen.waits(pid, { ...row, on: 1, for: "9s" });
  assert.doesNotMatch(textOf(seen), /more/);
  for (let pid = 13; pid <= 24; pid++) seen = seen.waits(pid, { ...row, on: pid - 11, for: "1s" });
  // Of twelve, each with one behind, ten are shown.
  assert.match(textOf(seen.waits(25, { on: 1 })), /└─ and 3 more \(--all shows them\)$/);
});

test("a long chain is cut, and shown whole it is indented no further than a screen can bear", () => {
  let seen = snapshot().session(1, { idle: "1m" });
  for (let pid = 2; pid <= 500; pid++) seen = seen.waits(pid, { ...row, on: pid - 1, for: "9s" });
  assert.match(textOf(seen), /\n {30}└─ and 489 more behind it \(--all shows them\)$/);
  const whole = textOf(seen, { all: true }).split("\n");
  assert.equal(whole.length, 4 + 499);
  assert.match(whole.at(-1) ?? "", /^ {57}└─ 499 deep: 500 waits 9 s/);
});

test("many roots are cut too", () => {
  let seen = snapshot();
  for (let pid = 1; pid <= 30; pid++) seen = seen.waits(100 + pid, { ...row, on: pid, for: "1s" });
  assert.match(textOf(seen), /\nand 10 more that block others, with 10 sessions behind them \(--all shows them\)$/);
  assert.doesNotMatch(textOf(seen, { all: true }), /--all/);
});

test("one who waits for several stands under one of them, and the others name him", () => {
  const seen = snapshot()
    .session(1, { idle: "9s", ...quiet })
    .session(2, quiet)
    .session(3, quiet)
    .session(4, { idle: "9s", ...quiet })
    .waits(2, { ...row, on: 1, for: "8s" })
    .waits(3, { ...row, on: [2, 1, 4], for: "7s" });
  assert.equal(
    textOf(seen),
    `app (postgres 18.4): 2 sessions wait for a lock, the longest for 8 s
1,65a.1  web, user app, database app, from 10.0.0.1
│  idle in transaction for 9 s, transaction 9 s old, blocks 2
├─ 2,65a.2 web (app) waits 8 s for a row of public.user_session (ShareLock)
│  └─ 3 waits for it too: drawn under 1
└─ 3 web (app) waits 7 s for a row of public.user_session (ShareLock)
4,65a.4  web, user app, database app, from 10.0.0.1
│  idle in transaction for 9 s, transaction 9 s old, blocks 1
└─ 3 waits for it too: see above, under 1`,
  );
});

test("a cycle is drawn once and called one", () => {
  const seen = snapshot()
    .session(1, quiet)
    .session(2, quiet)
    .session(3, quiet)
    .waits(1, { ...row, on: 2, for: "2s" })
    .waits(2, { ...row, on: 1, for: "1s" })
    .waits(3, { ...row, on: 2, for: "900ms" });
  assert.equal(
    textOf(seen),
    `app (postgres 18.4): 3 sessions wait for a lock, the longest for 2 s
a cycle of 2: 1 and 2 wait for each other; the server's deadlock detector ends one of them
└─ 1,65a.1 web (app) waits 2 s in a cycle with 2 for a row of public.user_session (ShareLock)
   └─ 2,65a.2 web (app) waits 1 s in a cycle with 1 for a row of public.user_session (ShareLock)
      ├─ 3 web (app) waits 900 ms for a row of public.user_session (ShareLock)
      └─ 1 waits for it too: see above; the cycle closes here`,
  );
});

test("prepared transactions, blockers that cannot be seen and sessions that show nothing are roots", () => {
  const built = snapshot()
    .session(1, { hidden: true, application: "batch" })
    .session(2, quiet)
    .session(3, quiet)
    .session(4, quiet)
    .waits(2, { ...row, on: 1, for: "3s" })
    .waits(3, { ...row, on: 9, for: "2s" })
    .waits(4, { on: [] })
    .build();
  const waits = (built.waits ?? []).map((wait) => ({
    ...wait,
    blockers: wait.blockers.map((blocker) => (blocker.node === "9" ? { ...blocker, node: "prepared/7" } : blocker)),
    hiddenBlocker: wait.waiter === "4",
  }));
  const prepared = { key: "prepared/7", gid: "it's", transactionId: "7", user: "bank", database: "app" };
  const seen = { ...built, waits, prepared: [{ ...prepared, kind: "prepared" as const, ageMs: 120_000 }] };
  assert.equal(
    textOf(seen),
    `app (postgres 18.4): 3 sessions wait for a lock, the longest for 3 s
1,65a.1  batch, user app, database app
│  state unknown (not tracked, or hidden from our role), blocks 1
└─ 2 web (app) waits 3 s for a row of public.user_session (ShareLock)
prepared transaction it's, transaction 7, user bank, database app
│  prepared 2 min ago, blocks 1; its owner ends it: rollback prepared 'it''s'
└─ 3 web (app) waits 2 s for a row of public.user_session (ShareLock)
blockers that cannot be seen block 1: they ended meanwhile, or the server does not show them
└─ 4 web (app) waits for another's transaction (ShareLock)`,
  );
});

for (const [name, waited, expected] of [
  ["a table", { locktype: "relation", table: "public.t" }, "public.t"],
  ["a table without a known name", { locktype: "relation" }, "a relation without a known name"],
  ["a row", { locktype: "tuple", table: "public.t" }, "a row of public.t"],
  [
    "a row of one of two tables",
    { candidates: ["public.a", "public.b"] },
    "another's transaction, a row of public.a or public.b",
  ],
  ["a transaction", {}, "another's transaction"],
  ["a virtual transaction", { locktype: "virtualxid" }, "another's transaction (virtualxid)"],
  ["a table's growth", { locktype: "extend", table: "public.t" }, "the extension of public.t"],
  ["a page", { locktype: "page", table: "public.t" }, "a page of public.t"],
  ["an advisory lock", { locktype: "advisory", lock: "advisory 5/0/7/1" }, "advisory 5/0/7/1"],
] as const) {
  test(`a wait for ${name} is told as such`, () => {
    const seen = snapshot()
      .session(2, quiet)
      .waits(2, { on: 1, ...waited });
    assert.ok(textOf(seen).endsWith(` waits for ${expected} (ShareLock)`), textOf(seen));
  });
}

for (const [name, session, expected] of [
  ["idle without a transaction", { state: "idle", stateMs: 5_000 }, "idle for 5 s, no transaction, blocks 1"],
  ["maintenance", { maintenance: true, query_age: "5s" }, "active for 5 s, maintenance, no transaction, blocks 1"],
] as const) {
  test(`a blocker's state is told: ${name}`, () => {
    const seen = snapshot().session(1, session).waits(2, { on: 1 });
    assert.equal(textOf(seen).split("\n")[2], `│  ${expected}`);
  });
}

test("a process of the server's own is called by its kind, and Lockwarden by its name", () => {
  const seen = snapshot()
    .session(1, { role: "internal", backendType: "autovacuum worker", application: "", user: null, client: null })
    .session(2, { own: true })
    .session(3, { client: "local", application: "" })
    .waits(11, { on: 1, for: "3s" })
    .waits(12, { on: 2, for: "2s" })
    .waits(13, { on: 3, for: "1s" });
  const lines = textOf(seen).split("\n");
  assert.deepEqual(
    lines.filter((line) => /^\d/.test(line)),
    [
      "1,65a.1  autovacuum worker, database app",
      "2,65a.2  Lockwarden, user app, database app, from 10.0.0.1",
      "3,65a.3  no application name, user app, database app, local",
    ],
  );
});

test("when nobody waits that is said, and whether there are some who cannot be seen", () => {
  const calm = snapshot().session(1).build();
  assert.equal(textOf(calm), "app (postgres 18.4): nobody waits for a lock");
  const hidden = { ...calm, recovery: true, gaps: ["3 sessions are hidden from our role"] };
  assert.equal(textOf(hidden), "app (postgres 18.4, a standby): nobody that can be seen waits for a lock");
  const unread = { ...calm, waits: null, contended: true };
  assert.equal(
    textOf(unread),
    "app (postgres 18.4): sessions wait for locks, but who waits for whom could not be read",
  );
});

test("statements are shown as the config says, or not at all", () => {
  const seen = snapshot()
    .session(1, { idle: "6s" })
    .session(2)
    .waits(2, { ...row, on: 1 });
  assert.equal(textOf(seen, { show: () => "update ?" }).match(/update \?/g)?.length, 2);
  assert.doesNotMatch(textOf(seen, { show: () => null }), /update|statement/);
});
