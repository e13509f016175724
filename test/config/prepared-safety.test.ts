import assert from "node:assert/strict";
import { test } from "node:test";
import { mistakesOf, warningsOf } from "../support/load-text.ts";

function ruleText(rule: string): string {
  return `targets: [{name: app, url: postgres://u@h/d}]\nrules: [{name: r, ${rule}}]\n`;
}

function told(rule: string): readonly string[] {
  return mistakesOf(ruleText(rule)).map((mistake) => mistake.replace(/^c:\d+:\d+ rules\.0\./u, ""));
}

for (const rule of [
  "match: {prepared: {gid: 'app-*', for: 10m}}, steps: [rollback-prepared]",
  "match: {prepared: {gid: [app-1, app-2]}, blocks: {for: 5s}}, steps: [notify, {wait: 1m}, rollback-prepared]",
  "match: {prepared: {for: 1d}}, steps: [notify]",
  "match: {prepared: {}, users: app}, steps: [notify]",
  "match: {prepared: {gid: 'app-*', for: 1h}, users: app, databases: app, xmin_age: 9, holds: {tables: public.t}}, steps: [rollback-prepared]",
  "match: {prepared: {gid: 'app-*', for: 1h}}, except: {prepared: {gid: app-keep}, users: etl}, steps: [rollback-prepared]",
])
  test(`${rule} is taken`, () => {
    assert.deepEqual([told(rule), warningsOf(ruleText(rule))], [[], []]);
  });

const whose = "match.prepared: expected a gid that names whose transactions they are, got";
const lost = "transactions of a transaction manager that has only lost its connection would be rolled back";
const age =
  "match.prepared: expected prepared.for or blocks.for beside rollback-prepared, got neither: a transaction that is about to be committed would be rolled back";
const only =
  "expected only prepared, users, databases, holds, blocks or xmin_age in a rule about prepared transactions, got";

const unsafe: readonly (readonly [string, readonly string[]])[] = [
  ["match: {prepared: {for: 1h}}, steps: [rollback-prepared]", [`${whose} none: ${lost}`]],
  [
    "match: {prepared: {gid: '*', for: 1h}}, steps: [rollback-prepared]",
    [`${whose} one that every gid meets: ${lost}`],
  ],
  [
    "match: {prepared: {gid: [app, '?*'], for: 1h}}, steps: [rollback-prepared]",
    [`${whose} one that every gid meets: ${lost}`],
  ],
  ["match: {prepared: {gid: 'app-*'}}, steps: [rollback-prepared]", [age]],
  ["match: {prepared: {gid: 'app-*'}, blocks: {waiters: 5}}, steps: [rollback-prepared]", [age]],
  [
    "match: {prepared: {gid: 'app-*', for: 1h}}, steps: [cancel, terminate]",
    ["cancel", "terminate"].map(
      (step, index) =>
        `steps.${index}: expected notify, rollback-prepared or {wait: DURATION}, got ${step}: a prepared transaction has no session to signal`,
    ),
  ],
  [
    "match: {idle_for: 1m}, steps: [rollback-prepared]",
    [
      "steps.0: expected notify, cancel, terminate or {wait: DURATION}, got rollback-prepared: the rule is about sessions: add prepared to its match",
    ],
  ],
  [
    "match: {prepared: {for: 1h}, applications: web, waits: {for: 1s}}, steps: [notify]",
    ["applications", "waits"].map((key) => `match.${key}: ${only} ${key}: no prepared transaction ever shows it`),
  ],
  [
    "match: {prepared: {for: 1h}}, except: {clients: local}, steps: [notify]",
    [`except.clients: ${only} clients: it is unknown of every prepared transaction, and would spare all of them`],
  ],
  [
    "match: {idle_for: 1m}, except: {prepared: {gid: a}}, steps: [notify]",
    ["except.prepared: expected prepared in match too, got it only in except: no session is a prepared transaction"],
  ],
  [
    "match: {prepared: {}}, steps: [notify]",
    ["match: expected a condition that not every session meets, got only prepared that everybody meets"],
  ],
  [
    "match: {idle_for: 1m}, steps: [terminate], active: {timezone: UTC}",
    ["active: expected days or hours, got neither"],
  ],
];
for (const [rule, expected] of unsafe)
  test(`${rule} is refused`, () => {
    assert.deepEqual(told(rule), expected);
  });

const active = (written: string) => told(`match: {idle_for: 1m}, steps: [terminate], active: ${written}`);
const days = "expected a day or a range of days such as mon-fri (sun, mon, tue, wed, thu, fri or sat), got";
const hours = "expected hours such as 22:00-06:00, from 00:00 to 24:00, got";

test("hours and days have their forms, and a zone is always named", () => {
  for (const good of [
    "{days: [mon-fri], hours: ['22:00-06:00'], timezone: Europe/Berlin}",
    "{hours: 00:00-24:00, timezone: UTC}",
    "[{days: sat, timezone: UTC}, {days: sun, hours: [01:00-02:00, 03:00-04:00], timezone: America/New_York}]",
  ])
    assert.deepEqual(active(good), [], good);
  assert.deepEqual(active("{days: weekdays, timezone: UTC}"), [`active.days: ${days} "weekdays"`]);
  assert.deepEqual(active("{days: [mon, Tue], timezone: UTC}"), [`active.days.1: ${days} "Tue"`]);
  for (const wrong of ["22-6", "9:00-10:00", "22:00-24:01", "24:00-01:00", "10:60-11:00", "10:00-10:00"])
    assert.deepEqual(active(`{hours: '${wrong}', timezone: UTC}`), [`active.hours: ${hours} "${wrong}"`]);
  assert.match(
    active("{days: mon}")[0] ?? "",
    /^active\.timezone: expected a time zone such as Europe\/Berlin|expected a text/,
  );
  assert.match(active("{days: mon, timezone: Mars/Base}")[0] ?? "", /not a zone that this machine knows/);
  assert.match(active("{dayz: mon, timezone: UTC}")[0] ?? "", /did you mean "days"/);
});
