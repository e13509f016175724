import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { outcomesOf } from "../support/rule-test-text.ts";

const rules = "rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]";

/** One test of these looks, whose lines begin at line 4. */
function withLooks(looks: string): string {
  return `${rules}\ntests:\n- name: t\n  looks: ${looks}\n`;
}

const config = `
mode: observe
targets:
  - {name: app, url: "\${DATABASE_URL}", password_file: /run/secrets/app}
  - {name: other, url_file: nowhere}
rules:
  - {name: here, targets: app, match: {idle_for: 30s}, steps: [terminate], notify: [oncall]}
  - {name: there, targets: other, match: {idle_for: 30s}, steps: [notify]}
channels:
  - {name: oncall, type: email, smtp_file: nowhere, from: a@example.org, to: b@example.org}
`;

const cases: readonly (readonly [string, string, readonly string[]])[] = [
  ["an empty file", "", ["r:1:1 expected config and tests, got an empty file"]],
  ["a list", "- a\n", ["r:1:1 expected a map with tests, and config or rules, got a list"]],
  ["neither tests nor rules", "{}", ["r:1:1 tests: expected a list, got nothing"]],
  ["no test", `${rules}\ntests: []\n`, ["r:2:8 tests: expected at least one test, got an empty list"]],
  [
    "slips of keys and words",
    withLooks("[{at: 5, sesions: [], sessions: [{pid: x, usr: a, state: Idle}], expect: [{akt: kill, pid: 1}]}]"),
    [
      "r:4:16 tests.0.looks.0.at: expected a duration such as 30s, or 0s, got 5",
      'r:4:19 tests.0.looks.0.sesions: expected a known key, got "sesions"; did you mean "sessions"?',
      'r:4:49 tests.0.looks.0.sessions.0.pid: expected a pid: a whole number from 1, got "x"',
      'r:4:52 tests.0.looks.0.sessions.0.usr: expected a known key, got "usr"; did you mean "user"?',
      'r:4:67 tests.0.looks.0.sessions.0.state: expected active, idle, idle in transaction or idle in transaction (aborted), got "Idle"; did you mean "idle"?',
      'r:4:85 tests.0.looks.0.expect.0.akt: expected a known key, got "akt"; did you mean "act"?',
    ],
  ],
  [
    "a decision that there is not",
    withLooks("[{at: 0s, sessions: [{pid: 1}], expect: [{act: kill, pid: 1}]}]"),
    ['r:4:57 tests.0.looks.0.expect.0.act: expected notify, cancel, terminate or rollback-prepared, got "kill"'],
  ],
  [
    "a rule that no config may have",
    `rules: [{name: r, match: {}, steps: [terminate]}]\ntests: [{name: t, looks: [{at: 0s, expect: []}]}]\n`,
    [
      "r:1:26 rules.0.match: expected a condition that not every session meets, got none: the rule would match everybody",
    ],
  ],
  [
    "a rule of a test that no config may have",
    `tests: [{name: t, rules: [{name: r, match: {users: a}, steps: [cancel]}], looks: [{at: 0s, expect: []}]}]\n`,
    [
      "r:1:44 tests.0.rules.0.match: expected idle_for, transaction_for, query_for, connected_for, blocks.for or waits.for beside an action, got none of them: work of any age would be ended",
    ],
  ],
  [
    "no rules at all",
    "tests: [{name: t, looks: [{at: 0s, expect: []}]}]\n",
    ["r:1:9 tests.0: expected config or rules at the top, or rules in the test, got none of them"],
  ],
  [
    "a config in the place of tests",
    `targets: [{name: app, url: postgres://u@h/d}]\n${rules}\n`,
    [
      "r:1:1 targets: expected a file of rule tests, got a config: lockwarden check --config FILE checks it, and the config key of a file of tests names it",
    ],
  ],
  [
    "a list that is never closed",
    "tests: [\n",
    ["r:2:1 expected a ] that closes what was opened above, got something else"],
  ],
  [
    "answers of probes that are not there, and answers that are none",
    `${rules}\ntests: [{name: t, probes: {here: works}, looks: [{at: 0s, expect: []}]}]\n`,
    ['r:2:28 tests.0.probes.here: expected the name of one of the rules with a probe, got "here"'],
  ],
  [
    "a probe that says something else",
    `${rules}\ntests: [{name: t, looks: [{at: 0s, probes: {here: free}, expect: []}]}]\n`,
    ['r:2:51 tests.0.looks.0.probes.here: expected works, stuck or failed, got "free"'],
  ],
  [
    "a config and rules",
    `config: c.yaml\n${rules}\ntests: [{name: t, limits: {per_tick: 1}, looks: [{at: 0s, expect: []}]}]\n`,
    [
      "r:2:1 rules: expected config, or rules in this file, got config and rules",
      "r:3:19 tests.0.limits: expected config, or rules in this file, got config and limits",
    ],
  ],
  [
    "a config that is not there",
    "config: nowhere.yaml\ntests: [{name: t, looks: [{at: 0s, expect: []}]}]\n",
    [
      'r:1:9 config: expected the path of a config from this file\'s folder, got "nowhere.yaml": expected a readable config file, got no such file',
    ],
  ],
  [
    "a config with mistakes, which are told at their places",
    "config: bad.yaml\ntests: [{name: t, looks: [{at: 0s, expect: []}]}]\n",
    ["/etc/bad.yaml:2:8 rules: expected at least one rule, got an empty list"],
  ],
  [
    "names that the config does not have",
    "config: c.yaml\ntests: [{name: t, target: ap, looks: [{at: 0s, sessions: [{pid: 1}], expect: [{act: notify, pid: 1, rule: her}]}]}]\n",
    [
      'r:2:27 tests.0.target: expected the name of one of the targets (app or other), got "ap"; did you mean "app"?',
      'r:2:107 tests.0.looks.0.expect.0.rule: expected the name of one of the rules (here or there), got "her"; did you mean "here"?',
    ],
  ],
  [
    "looks out of order",
    withLooks("[{at: 2m, expect: []}, {at: 1m}]"),
    ["r:4:38 tests.0.looks.1.at: expected a moment not before the look above, which is 60 s later, got an earlier one"],
  ],
  [
    "a test that tests nothing",
    withLooks("[{at: 0s}]"),
    ["r:4:10 tests.0.looks: expected expect in at least one look, got none: nothing is tested"],
  ],
  [
    "people who were never described",
    withLooks("[{at: 0s, gone: 4, sessions: [{pid: 1, waits: {on: [2, x]}}], expect: [{act: notify, pid: [1, 3]}]}]"),
    [
      'r:4:26 tests.0.looks.0.gone: expected somebody who is described in this look or above (nobody is there yet), got "4"',
      'r:4:61 tests.0.looks.0.sessions.0.waits.on: expected somebody who is described in this look or above (there are 1), got "2"',
      'r:4:61 tests.0.looks.0.sessions.0.waits.on: expected somebody who is described in this look or above (there are 1), got "x"',
      'r:4:100 tests.0.looks.0.expect.0.pid: expected somebody who is described in this look or above (there are 1), got "3"',
    ],
  ],
  [
    "expectations that say too little or too much",
    withLooks(
      "[{at: 0s, sessions: [{pid: 1}], expect: [{pid: 1}, {act: notify}, {act: notify, wait: cancel, pid: 1}, {act: cancel, pid: 1, in: 4s, action: cancel}, {spare: done, pid: 1, outcome: gone}]}]",
    ),
    [
      "r:4:51 tests.0.looks.0.expect.0: expected act, wait or spare, got none of them",
      "r:4:61 tests.0.looks.0.expect.1: expected pid or gid, got none of them",
      "r:4:90 tests.0.looks.0.expect.2.wait: expected act, wait or spare, got act and wait",
      "r:4:135 tests.0.looks.0.expect.3.in: expected in only with wait, got it without",
      "r:4:143 tests.0.looks.0.expect.3.action: expected action only with spare, got it without",
      "r:4:182 tests.0.looks.0.expect.4.outcome: expected outcome only with act, got it without",
    ],
  ],
  [
    "sessions that no server shows",
    withLooks(
      "[{at: 0s, expect: [], sessions: [{pid: 9}, {pid: 9}, {pid: 1, idle_for: 9s, transaction_for: 1s}, {pid: 2, state: active, idle_for: 1s}, {pid: 3, state: idle, transaction_for: 1s}, {pid: 4, idle_for: 1s, waits: {on: 4}}, {pid: 5, query_for: 2s, connected_for: 1s}]}]",
    ),
    [
      "r:4:59 tests.0.looks.0.sessions.1.pid: expected each pid once in a look, got 9 again",
      "r:4:103 tests.0.looks.0.sessions.2.transaction_for: expected at least its idle_for, got less",
      "r:4:142 tests.0.looks.0.sessions.3.idle_for: expected an idle state beside idle_for, got active",
      "r:4:186 tests.0.looks.0.sessions.4.transaction_for: expected none in the state idle: it has no transaction, got one",
      "r:4:221 tests.0.looks.0.sessions.5.waits: expected the state active beside waits, got an idle one: it runs no statement",
      "r:4:226 tests.0.looks.0.sessions.5.waits.on: expected somebody else, got the session 4 itself",
      "r:4:270 tests.0.looks.0.sessions.6.connected_for: expected at least its other ages, got less",
    ],
  ],
  [
    "two tests of one name",
    `${rules}\ntests:\n- &t {name: t, looks: [{at: 0s, expect: []}]}\n- *t\n`,
    ['r:3:13 tests.1.name: expected a name that no other test has, got "t" again'],
  ],
  [
    "a start that is no moment",
    `${rules}\ntests: [{name: t, start: 2026-02-31T25:00:00Z, looks: [{at: 0s, expect: []}]}]\n`,
    ['r:2:26 tests.0.start: expected a moment such as 2026-03-29T01:30:00Z, got "2026-02-31T25:00:00Z"'],
  ],
];
for (const [name, text, expected] of cases)
  test(`a file of rule tests is told its mistakes: ${name}`, () => {
    assert.deepEqual(
      outcomesOf(text, {
        "/etc/c.yaml": config,
        "/etc/bad.yaml": "targets: [{name: a, url: postgres://u@h/d}]\nrules: []\n",
      }),
      expected,
    );
  });

test("rules are tested without the secrets, variables and files that lead to servers and people", () => {
  const told = outcomesOf(
    `
config: c.yaml
tests:
  - name: the first target
    looks: [{at: 0s, sessions: [{pid: 1, idle_for: 1m}], expect: [{act: terminate, pid: 1, rule: here}]}]
  - name: the other one
    target: other
    looks: [{at: 0s, sessions: [{pid: 1, idle_for: 1m}], expect: [{act: notify, pid: 1, rule: there}]}]
  - name: as it is written, in observe
    mode: observe
    looks: [{at: 0s, sessions: [{pid: 1, idle_for: 1m}], expect: [{spare: observe, pid: 1}]}]
`,
    { "/etc/c.yaml": config },
  );
  assert.deepEqual(told, []);
});

test("a variable within a rule has to be there", () => {
  const written =
    'targets: [{name: a, url: "$' +
    '{URL}"}]\nrules: [{name: r, match: {users: "$' +
    '{WHO}", idle_for: 1m}, steps: [cancel, terminate]}]\n';
  const told = outcomesOf("config: c.yaml\ntests: [{name: t, looks: [{at: 0s, expect: []}]}]\n", {
    "/etc/c.yaml": written,
  });
  assert.deepEqual(told, [
    "/etc/c.yaml:2:34 rules.0.match.users: expected the environment variable WHO to be set, got nothing",
  ]);
});

const age = fc.constantFrom("0s", "1s", "30s", "3650d", null);
const who = fc.constantFrom(1, 2, 3, "x");
const ages = [{ idle_for: age }, { query_for: age }, { transaction_for: age }, { connected_for: age }];
const states = fc.constantFrom("active", "idle", "idle in transaction", null);
const wait = fc.record({ on: fc.array(who, { minLength: 1, maxLength: 3 }), for: age }, { requiredKeys: ["on"] });
const said = fc.oneof(
  ...ages.map((one) => fc.record<Readonly<Record<string, unknown>>>(one)),
  fc.record({ state: states }),
  fc.record({ waits: wait }),
  fc.record({ waits: fc.constant(null) }),
  fc.record({ hidden: fc.boolean(), user: fc.constantFrom("a", null) }),
  fc.record({ leader: fc.constantFrom(1, 2, 3) }),
);
const changes = fc.record(
  {
    sessions: fc.uniqueArray(fc.tuple(fc.constantFrom(1, 2, 3), said), { selector: ([pid]) => pid, maxLength: 3 }),
    gone: fc.uniqueArray(who, { minLength: 1, maxLength: 2 }),
    expect: fc.array(
      fc.record({
        act: fc.constantFrom("cancel", "terminate"),
        pid: fc.constantFrom(1, 2, 3),
        outcome: fc.constantFrom("released", "survived", "changed"),
      }),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: [] },
);

test("whatever is described ends in mistakes or in differences, never in an exception", () => {
  let ran = 0;
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 5 }), (later) => {
      const first = { at: "0s", sessions: [{ pid: 1 }, { pid: 2 }, { pid: 3 }], prepared: [{ gid: "x" }], expect: [] };
      const looks = later.map(({ sessions = [], ...rest }, index) => {
        return { at: `${index}m`, sessions: sessions.map(([pid, one]) => ({ pid, ...one })), ...rest };
      });
      const written = JSON.stringify({
        rules: [
          { name: "r", match: { transaction_for: "1s", blocks: { for: "1s" } }, steps: ["cancel", "terminate"] },
          { name: "w", match: { waits: { for: "1s" } }, steps: ["notify", "terminate"] },
          { name: "i", match: { state: ["idle", "idle in transaction"], idle_for: "1s" }, steps: ["terminate"] },
        ],
        tests: [{ name: "t", looks: [first, ...looks] }],
      });
      if (outcomesOf(written).every((line) => line.startsWith("look "))) ran++;
    }),
    { numRuns: 500 },
  );
  assert.ok(ran > 50, `only ${ran} of them were without mistakes`);
});
