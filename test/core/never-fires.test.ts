import assert from "node:assert/strict";
import { test } from "node:test";
import { mistakesOf, warningsOf } from "../support/load-text.ts";

// One rule a line, and what is told of it: only what is certain.

function text(rule: string, more = ""): string {
  return `targets: [{name: t, url: postgres://u@h/d}]\n${more}\nrules:\n- {name: r, ${rule}}\n`;
}

function told(rule: string, more = ""): readonly string[] {
  const whole = text(rule, more);
  assert.deepEqual(mistakesOf(whole), []);
  return warningsOf(whole).map((warning) => warning.replace(/^c:\d+:\d+ rules\.0\./u, "").replace(/expected /u, ""));
}

const spared = "to spare some of those that match selects, got all of them: the rule never fires";

const doubtful: readonly (readonly [string, readonly string[]])[] = [
  [
    "match: {users: a, backend_types: autovacuum*}, steps: [notify]",
    [
      "match.backend_types: a pattern for client backend, got only others: no other backend is ever selected, so the rule never fires",
    ],
  ],
  ["match: {users: a, backend_types: [autovacuum*, client*]}, steps: [notify]", []],
  [
    "match: {state: idle, has_written: true}, steps: [notify]",
    [
      "match.has_written: a state with a transaction beside has_written, got only idle: such a session has no transaction, so the rule never fires",
    ],
  ],
  ["match: {state: idle, has_written: false}, steps: [notify]", []],
  [
    "match: {state: idle, idle_for: 1m, blocks: {for: 5s}}, steps: [terminate]",
    [
      "match.blocks: a state with a transaction beside blocks, got only idle: such a session holds no locks but advisory ones (locktypes: advisory), so the rule never fires",
    ],
  ],
  ["match: {state: idle, idle_for: 1m, blocks: {for: 5s, locktypes: [advisory]}}, steps: [terminate]", []],
  [
    "match: {state: idle, idle_for: 1m, holds: {tables: public.t}}, steps: [terminate]",
    [
      "match.holds: a state with a transaction beside holds, got only idle: such a session holds no locks but advisory ones, in ShareLock or ExclusiveLock, so the rule never fires",
    ],
  ],
  ["match: {state: idle, idle_for: 1m, holds: {modes: ExclusiveLock}}, steps: [terminate]", []],
  ["match: {has_written: false, holds: {modes: RowExclusiveLock}}, steps: [notify]", []],
  [
    "match: {idle_for: 1m, blocks: {tables: public.t, for: 5s, locktypes: advisory}}, steps: [terminate]",
    [
      "match.blocks.tables: locktypes of a table beside tables, got only advisory: such a lock is of no table, so the rule never fires",
    ],
  ],
  ["match: {users: [web, api], idle_for: 1m}, except: {users: web}, steps: [terminate]", []],
  [
    "match: {users: [web, api], idle_for: 1m}, except: {users: [api, w*]}, steps: [terminate]",
    [`except.users: ${spared}`],
  ],
  ["match: {users: app_*, idle_for: 1m}, except: {users: app*}, steps: [terminate]", [`except.users: ${spared}`]],
  ["match: {users: app*, idle_for: 1m}, except: {users: app_*}, steps: [terminate]", []],
  ["match: {users: a*, idle_for: 1m}, except: {users: a?}, steps: [terminate]", []],
  ["match: {users: a?, idle_for: 1m}, except: {users: a?}, steps: [terminate]", [`except.users: ${spared}`]],
  ["match: {idle_for: 1m}, except: {applications: '*'}, steps: [terminate]", [`except.applications: ${spared}`]],
  ["match: {idle_for: 1m}, except: {backend_types: client*}, steps: [terminate]", [`except.backend_types: ${spared}`]],
  [
    "match: {idle_for: 1m}, except: {state: [idle in transaction, idle in transaction (aborted)]}, steps: [terminate]",
    [`except.state: ${spared}`],
  ],
  ["match: {idle_for: 1m}, except: {state: idle in transaction}, steps: [terminate]", []],
  ["match: {idle_for: 1m}, except: {idle_for: 30s}, steps: [terminate]", [`except.idle_for: ${spared}`]],
  ["match: {idle_for: 1m}, except: {idle_for: 2m}, steps: [terminate]", []],
  ["match: {state: [idle, idle in transaction], idle_for: 1m}, except: {idle_for: 30s}, steps: [terminate]", []],
  [
    "match: {clients: [10.0.0.0/8], idle_for: 1m}, except: {clients: [10.0.0.0/8]}, steps: [terminate]",
    [`except.clients: ${spared}`],
  ],
  [
    "match: {idle_for: 1m, has_written: true}, except: {has_written: true}, steps: [terminate]",
    [`except.has_written: ${spared}`],
  ],
  [
    "match: {idle_for: 1m, blocks: {tables: [a.b], for: 5s, waiters: 3}}, except: {blocks: {waiters: 2, tables: [a.b, c.d]}}, steps: [terminate]",
    [`except.blocks: ${spared}`],
  ],
  ["match: {idle_for: 1m, blocks: {tables: [a.b], for: 5s}}, except: {blocks: {waiters: 2}}, steps: [terminate]", []],
  ["match: {idle_for: 1m, blocks: {for: 5s}}, except: {blocks: {tables: a.b}}, steps: [terminate]", []],
  [
    "match: {applications: pg_dump, idle_for: 1m}, steps: [terminate]",
    [
      "match.applications: applications that protect (applications, or backups by default) does not protect, got only protected ones: the rule never acts",
    ],
  ],
];
for (const [rule, expected] of doubtful)
  test(`${rule}: ${expected.length === 0 ? "nothing is told" : "is told"}`, () =>
    assert.deepEqual(told(rule), expected));

test("what the config's own protection covers is told, and what it lifts is not", () => {
  const rule = "match: {users: [web1, web2], idle_for: 1m}, steps: [terminate]";
  const expected = [
    "match.users: users that protect.users does not protect, got only protected ones: the rule never acts",
  ];
  assert.deepEqual(told(rule, "protect: {users: [web*]}"), expected);
  assert.deepEqual(told(rule, "protect: {users: [web1]}"), []);
  assert.deepEqual(
    told("match: {applications: pg_dump, idle_for: 1m}, steps: [terminate]", "protect: {backups: false}"),
    [],
  );
});

function second(rules: string, mode = "enforce", targets = "[{name: t, url: postgres://u@h/d}]"): readonly string[] {
  return warningsOf(`mode: ${mode}\ntargets: ${targets}\nrules:\n${rules}`).map((one) =>
    one.replace(/^c:\d+:\d+ /u, ""),
  );
}

test("a rule with the conditions of an earlier one is told, unless one of them only observes or tells", () => {
  const first = "- {name: a, match: {idle_for: 1m, users: [x, y]}, steps: [terminate]}\n";
  const again = "- {name: b, match: {users: [y, x], idle_for: 60s}, steps: [notify, terminate]}\n";
  const hint =
    "rules.1.match: expected conditions that no earlier rule has, got those of rule a: that one acts, and this one finds nothing left to do";
  assert.deepEqual(second(first + again), [hint]);
  assert.deepEqual(second(first + again.replace("[notify, terminate]", "[notify]")), []);
  assert.deepEqual(second(first.replace("a,", "a, mode: observe,") + again), []);
  assert.deepEqual(second(first + again.replace("60s", "61s")), []);
  const two = "[{name: t, url: postgres://u@h/d}, {name: s, url: postgres://u@h/d}]";
  assert.deepEqual(second(first.replace("a,", "a, targets: s,") + again, "enforce", two), []);
  assert.deepEqual(
    second(first.replace("a,", "a, targets: s,") + again.replace("b,", "b, targets: s,"), "enforce", two),
    [hint],
  );
});

test("a rule that enforces where all its targets observe is told", () => {
  const rule = "- {name: a, mode: enforce, targets: [s], match: {idle_for: 1m}, steps: [terminate]}\n";
  const targets = "[{name: t, url: postgres://u@h/d}, {name: s, mode: observe, url: postgres://u@h/d}]";
  assert.deepEqual(second(rule, "enforce", targets), [
    "rules.0.mode: expected a target of its own in mode enforce, got only ones in observe: observe wins, nothing is done",
  ]);
  assert.deepEqual(second(rule.replace("[s]", "[s, t]"), "enforce", targets), []);
});

test("a password in a url beside another one is told with its place", () => {
  const url = (more: string) => `targets: [{name: t, url: "postgres://u:p@h/d", ${more}}]`;
  const rule = "rules: [{name: a, match: {idle_for: 1m}, steps: [terminate]}]";
  const world = { files: { "/etc/pw": "secret\n" } };
  assert.deepEqual(warningsOf(`${url("password_file: pw")}\n${rule}`, world), [
    "c:1:26 targets.0.url: expected no password in the url beside password_file, got one in both: that of password_file is used, so take it out of the url",
  ]);
  assert.equal(warningsOf(`${url("password: other")}\n${rule}`).length, 1);
  assert.deepEqual(warningsOf(`${url("password: other").replace(":p@", "@")}\n${rule}`), []);
});
