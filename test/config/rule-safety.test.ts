import assert from "node:assert/strict";
import { test } from "node:test";
import { mistakesOf, warningsOf } from "../support/load-text.ts";

// One rule a line: what is told of it, without place and the words "expected …" in front of the reason.

const target = "targets: [{name: app, url: postgres://u@h/d}]";

function ruleText(match: string, steps: string): string {
  return `${target}\nrules:\n- name: r\n  match: ${match}\n  steps: ${steps}\n`;
}

const sound: readonly (readonly [string, string])[] = [
  ["{state: idle in transaction, idle_for: 30s}", "[terminate]"],
  ["{state: idle in transaction, idle_for: 30s, blocks: {tables: public.t}}", "[terminate]"],
  [
    "{waits: {modes: AccessExclusiveLock, for: 10s}, blocks: {waiters: 5}}",
    "[notify, {wait: 5s}, cancel, {wait: 10s}, terminate]",
  ],
  ["{blocks: {waiters: 5}}", "[notify]"],
  ["{query: ^select, query_for: 1m, state: active}", "[cancel]"],
  ["{query: ^select, query_for: 1m}", "[cancel]"],
  ["{state: [idle, idle in transaction], idle_for: 1h}", "[terminate]"],
  ["{state: [active, idle in transaction], transaction_for: 1h}", "[cancel, terminate]"],
  ["{users: app*, connected_for: 1d}", "[{wait: 1s}, terminate]"],
  ["{has_written: false}", "[notify]"],
];
for (const [match, steps] of sound)
  test(`${match} with ${steps} is taken`, () => {
    assert.deepEqual([mistakesOf(ruleText(match, steps)), warningsOf(ruleText(match, steps))], [[], []]);
  });

const probed = (probe: string, steps: string) =>
  `${ruleText("{state: idle in transaction, idle_for: 30s}", steps)}  probe: ${probe}\n`;

for (const sql of ["select 1 from public.t for update", "LOCK TABLE public.t in share mode nowait", "(table public.t)"])
  test(`the probe ${sql} is taken`, () => {
    assert.deepEqual(mistakesOf(probed(`{sql: "${sql}"}`, "[terminate]")), []);
  });
for (const sql of ["commit", "set role admin", "do $$ begin end $$", "-- hidden", "prepare transaction 'x'"])
  test(`the probe ${sql} is refused`, () => {
    assert.match(
      mistakesOf(probed(`{sql: "${sql}"}`, "[terminate]")).join(),
      /sql: expected one statement that begins/,
    );
  });
for (const sql of [
  "select 'a; b' from public.t where x = ';'' ;'",
  'select ";" from public."a;b"',
  "select 1 -- one; two",
  "select /* a; /* b; */ c; */ 1;",
  "select 1; -- that was all",
  "select 1 ;; /* ; */ ",
  "select $$a; b$$, $t$ $$; $u$; $t$",
  "select E'\\\\', 'x;y'",
  "select 'a\\'; b'",
  "select a$1, b$x$c from public.t",
  "select '$1', $$ $2 $$",
  "select 1 where 'a'~E'\\\\;'",
])
  test(`the probe ${sql} is one statement`, () => {
    assert.deepEqual(mistakesOf(probed(`{sql: ${JSON.stringify(sql)}}`, "[terminate]")), []);
  });
for (const sql of [
  "select 1; delete from public.t",
  "select ';'; select 2",
  "select $$a$$; select $$b$$",
  "select 1 /* ; */; -- x\nselect 2",
  "select 1;'",
])
  test(`the probe ${sql} is refused as several statements`, () => {
    assert.deepEqual(mistakesOf(probed(`{sql: ${JSON.stringify(sql)}}`, "[terminate]")), [
      "c:6:16 rules.0.probe.sql: expected one statement, got several: only blanks and comments may follow its semicolon",
    ]);
  });
test("a probe with a parameter is refused", () => {
  assert.match(
    mistakesOf(probed('{sql: "select 1 from public.t where id = $1"}', "[terminate]")).join(),
    /rules\.0\.probe\.sql: expected a statement that is complete, .*: a probe takes no parameters$/,
  );
});
test("a probe that may wait longer than half of its targets' statement_timeout is a warning at its place", () => {
  const told = (timeout: string, whose: string) =>
    warningsOf(
      `targets: [{name: app, url: postgres://u@h/d, statement_timeout: 2s}, {name: b, url: postgres://u@h/d}]\n` +
        `rules:\n- {name: r, ${whose} match: {idle_for: 30s, state: idle in transaction}, steps: [terminate], probe: {sql: select 1, timeout: ${timeout}}}\n`,
    ).map((text) => text.replace(/^c:3:\d+ /, ""));
  assert.deepEqual(told("1s", ""), []);
  assert.deepEqual(told("2500ms", "targets: b,"), []);
  assert.deepEqual(told("1100ms", ""), [
    "rules.0.probe.timeout: expected at most 1s, half of the statement_timeout of target app, got 1s100ms: only that half counts",
  ]);
  assert.match(told("3s", "targets: b,").join(), /expected at most 2s500ms, .* of target b, got 3s/);
});
test("a probe on a rule that does not act is refused", () => {
  assert.match(
    mistakesOf(probed("{sql: select 1}", "[notify]")).join(),
    /probe: expected a step that acts beside probe/,
  );
});

const every = "expected a condition that not every session meets, got";
const age =
  "expected idle_for, transaction_for, query_for, connected_for, blocks.for or waits.for beside an action, got none of them: work of any age would be ended";
const storm =
  "expected blocks.for or idle_for beside an action, got neither: of sessions that queue for one row each next holder would be ended in its turn";
const idle = (key: string) =>
  `${key}: expected the state active beside ${key}, got only idle ones (idle_for is one): no session is both`;
const cancel = "steps: expected terminate, got only cancel: it does nothing to a session that runs no statement";

const unsafe: readonly (readonly [string, string, readonly string[]])[] = [
  ["{}", "[notify]", [`match: ${every} none: the rule would match everybody`]],
  ["{}", "[terminate]", [`match: ${every} none: the rule would match everybody`]],
  ["{users: '*'}", "[notify]", [`match: ${every} only users that everybody meets`]],
  ["{users: [a, '**'], clients: 0.0.0.0/0}", "[notify]", [`match: ${every} only users, clients that everybody meets`]],
  ["{backend_types: client backend}", "[notify]", [`match: ${every} only backend_types that everybody meets`]],
  [
    "{state: [active, idle, idle in transaction, idle in transaction (aborted)]}",
    "[notify]",
    [`match: ${every} only state that everybody meets`],
  ],
  ["{holds: {}}", "[notify]", [`match: ${every} only holds that everybody meets`]],
  ["{users: app}", "[terminate]", [`match: ${age}`]],
  ["{has_written: true}", "[cancel]", [`match: ${age}`]],
  ["{xmin_age: 1000}", "[notify, terminate]", [`match: ${age}`]],
  ["{waits: {modes: ShareLock}}", "[cancel]", [`match: ${age}`]],
  ["{blocks: {waiters: 5}}", "[terminate]", [`match.blocks: ${storm}`]],
  ["{blocks: {waiters: 5}, transaction_for: 1h}", "[terminate]", [`match.blocks: ${storm}`]],
  ["{state: idle in transaction, query_for: 1m}", "[terminate]", [`match.${idle("query_for")}`]],
  ["{state: [idle, idle in transaction], query: x}", "[notify]", [`match.${idle("query")}`]],
  ["{idle_for: 1m, query: x}", "[terminate]", [`match.${idle("query")}`]],
  ["{state: idle in transaction (aborted), waits: {for: 5s}}", "[terminate]", [`match.${idle("waits")}`]],
  [
    "{state: active, idle_for: 1m}",
    "[terminate]",
    ["match.idle_for: expected an idle state beside idle_for, got only active: no session is both"],
  ],
  [
    "{state: idle, transaction_for: 1m}",
    "[notify]",
    [
      "match.transaction_for: expected a state other than idle beside transaction_for, got only idle: such a session has no transaction",
    ],
  ],
  [
    "{state: [idle, active], connected_for: 1d}",
    "[terminate]",
    ["match.state: expected idle_for beside the state idle and an action, got none: every pooled connection is idle"],
  ],
  [
    "{state: [active, idle in transaction], query: x, transaction_for: 1m}",
    "[terminate]",
    [
      "match.query: expected only the state active beside query and an action, got idle ones too: there it is only the last statement",
    ],
  ],
  ["{state: idle in transaction, idle_for: 1m}", "[notify, {wait: 1s}, cancel]", [cancel]],
  ["{idle_for: 1m}", "[cancel]", [cancel]],
  ["{idle_for: 1m}", "[terminate, {wait: 1s}]", ["steps.1: expected a step after the last wait, got none"]],
  [
    "{idle_for: 1m}",
    "[{wait: 1s}, {wait: 1s}, terminate]",
    ["steps.1: expected one wait, got two in a row: merge them"],
  ],
];
for (const [match, steps, expected] of unsafe)
  test(`${match} with ${steps} is refused`, () => {
    const told = mistakesOf(ruleText(match, steps)).map((mistake) => mistake.replace(/^c:\d+:\d+ rules\.0\./u, ""));
    assert.deepEqual(told, expected);
  });

test("an except without a condition is refused", () => {
  const text = `${ruleText("{idle_for: 1m}", "[terminate]")}  except: {}\n`;
  assert.deepEqual(mistakesOf(text), [
    "c:6:11 rules.0.except: expected at least one condition, or no except at all, got none",
  ]);
});

for (const key of ["blocks", "waits"])
  test(`an acting ${key}.for below twice the deadlock timeout draws a warning, a telling one does not`, () => {
    const match = `{${key}: {for: 1999ms}}`;
    const least = "expected at least 2s (twice the default deadlock_timeout), got 1s999ms";
    const warning = `rules.0.match.${key}.for: ${least}: the server may be about to solve it by itself`;
    assert.deepEqual(warningsOf(ruleText(match, "[cancel]")), [`c:4:${key.length + 19} ${warning}`]);
    assert.deepEqual(warningsOf(ruleText(match, "[notify]")), []);
    assert.deepEqual(warningsOf(ruleText(`{${key}: {for: 2s}}`, "[cancel]")), []);
  });
