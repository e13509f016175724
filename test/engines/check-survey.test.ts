import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "../../src/config/mistake.ts";
import { nameDoubts, tableQuestions } from "../../src/core/server-names.ts";
import { timeoutFor } from "../../src/core/server-timeouts.ts";
import type { Survey } from "../../src/core/survey.ts";
import { grants } from "../../src/engines/postgres/grants.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { parseServerDuration } from "../../src/engines/postgres/server-duration.ts";
import { likeness } from "../../src/engines/postgres/survey-tables.ts";
import { fleet } from "../support/fleet.ts";
import { goodConfig } from "../support/load-text.ts";
import { client, eventually } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const servers = await fleet();

const databases: Readonly<Record<string, string>> = {
  app: `create table public.user_session (id int); create index user_session_at on public.user_session (id);
        create table public.event (id int) partition by range (id); create table public.event_1 partition of event for values from (0) to (9);
        create schema "we%rd"; create table "we%rd"."o_dd" (id int)`,
  shop: "create schema sales; create table sales.orders (id int); create materialized view sales.totals as select 1",
  closed: "create table public.hidden (id int)",
  pattern: "create table public.template_only (id int)",
};

for (const { major, postgres } of servers) {
  const admin = await client(postgres.url());
  await admin.query(grants("lockwarden"));
  for (const [name, sql] of Object.entries(databases)) {
    await admin.query(`create database ${name}`);
    const person = await client(postgres.url("postgres", name));
    await person.query(sql);
    await person.end();
  }
  await admin.query("revoke connect on database closed from public; alter database pattern is_template true");
  await admin.query("create role web login; create role team; create role rds_superuser login");

  async function surveyed(rules: string, url = postgres.url("lockwarden", "app")): Promise<Survey> {
    const link = await engine.connect(target(url), patience());
    const config = goodConfig(`targets: [{name: app, url: postgres://u@h}]\nrules:\n${rules}`);
    const survey = await link.survey(tableQuestions(config.rules), patience());
    await link.close();
    return survey;
  }

  async function doubts(rules: string, protect = "{}"): Promise<readonly string[]> {
    const config = goodConfig(`targets: [{name: app, url: postgres://u@h}]\nprotect: ${protect}\nrules:\n${rules}`);
    const here = { target: "app", survey: await surveyed(rules) };
    return nameDoubts(config, { here, all: [here], nearest }).map(({ text }) => text.replace("rule r: ", ""));
  }

  const rule = (match: string, more = "") => `- {name: r, match: {idle_for: 1m, ${match}}, ${more} steps: [terminate]}`;
  const onTables = (tables: string, more = "") => rule(`blocks: {tables: ${tables}, for: 5s}, ${more}`);

  test(`${major}: timeouts are read as set for the server, roles, databases and both, in every unit`, async () => {
    await admin.query("alter system set lock_timeout = '7s'");
    await admin.query("select pg_reload_conf()");
    await admin.query("alter role web set idle_in_transaction_session_timeout = '1.5 min'");
    await admin.query("alter database app set statement_timeout = 2500");
    await admin.query("alter role web in database shop set statement_timeout = '0'");
    await admin.query("alter role all set deadlock_timeout = '3s'");
    const survey = await eventually(async () => {
      const found = await surveyed(rule("users: web"));
      return timeoutFor(found.timeouts, "lock", { role: "x", database: "y" })?.ms === 7_000 ? found : null;
    });
    const ms = (kind: Parameters<typeof timeoutFor>[1], role: string, database: string) =>
      timeoutFor(survey.timeouts, kind, { role, database })?.ms;
    assert.equal(ms("idle in transaction", "web", "app"), 90_000);
    assert.equal(ms("idle in transaction", "other", "app"), 0);
    assert.equal(ms("statement", "other", "app"), 2_500);
    // Our own database has a value of its own: the server's shows in our other session.
    assert.equal(ms("statement", "other", "shop"), 0);
    assert.equal(ms("statement", "web", "shop"), 0);
    assert.equal(ms("deadlock", "other", "shop"), 3_000);
    assert.equal(ms("idle", "web", "app"), major >= 14 ? 0 : undefined);
    assert.equal(ms("transaction", "web", "app"), major >= 17 ? 0 : undefined);
    assert.deepEqual(survey.gaps, []);
    await admin.query("alter role lockwarden set lock_timeout = '3s'");
    const blind = await surveyed(rule("users: web"));
    assert.equal(timeoutFor(blind.timeouts, "lock", { role: "web", database: "app" }), null);
    assert.deepEqual(blind.gaps, [
      "the server-wide lock_timeout cannot be seen, as Lockwarden's role or database has one of its own",
    ]);
    await admin.query("alter role lockwarden reset lock_timeout; alter role web reset all; alter role all reset all");
    await admin.query("alter database app reset all; alter role web in database shop reset all");
    await admin.query("alter system reset lock_timeout");
    await admin.query("select pg_reload_conf()");
  });

  test(`${major}: tables are found in every database that may be asked, by globs, partitions and database names`, async () => {
    for (const tables of [
      "public.user_session",
      "'*.user_sess???'",
      "public.event_1",
      "public.event",
      "app.public.event",
      "'a*.public.event'",
      "sales.orders",
      "sales.totals",
      "shop.sales.orders",
      "'*.sales.*'",
      "we%rd.o_dd",
      "pg_catalog.pg_authid",
      "pg_temp_3.anything",
    ])
      assert.deepEqual(await doubts(onTables(`[${tables}]`)), [], tables);
  });

  test(`${major}: a table that is nowhere is told with the one that was meant`, async () => {
    const { rows } = await admin.query(
      "select datname from pg_database where not has_database_privilege('lockwarden', oid, 'connect')",
    );
    assert.deepEqual(rows, [{ datname: "closed" }]);
    // In a database that cannot be asked there may be any table.
    assert.deepEqual(await doubts(onTables("public.user_sesion")), []);
    const gap = /^tables of database closed could not be looked up, .*: no CONNECT on it$/;
    assert.match((await surveyed(onTables("public.user_sesion"))).gaps.join(), gap);
    assert.deepEqual((await surveyed(onTables("public.user_session"))).gaps, [], "found at home, no other is asked");
    await admin.query("grant connect on database closed to lockwarden");
    const key = "match.blocks.tables:";
    const within = "on target app, in the databases that the rule is about";
    for (const [tables, more, expected] of [
      ["public.user_sesion", "", `${key} no table public.user_sesion on target app: did you mean public.user_session?`],
      ["app.user_session", "", `${key} no table app.user_session on target app: did you mean public.user_session?`],
      ["app.public.user", "", `${key} no table app.public.user on target app`],
      ["shop.sales.order", "", `${key} no table shop.sales.order on target app: did you mean shop.sales.orders?`],
      [
        "shp.sales.orders",
        "",
        `${key} no table shp.sales.orders on target app, as there is no database shp: did you mean shop?`,
      ],
      ["public.template_only", "", `${key} no table public.template_only on target app`],
      [
        "public.user_session_at",
        "",
        `${key} no table public.user_session_at on target app: did you mean public.user_session?`,
      ],
      ["'*.nothing*'", "", `${key} no table matches *.nothing* on target app`],
      ["we_rd.oxdd", "", `${key} no table we_rd.oxdd on target app`],
      ["public.user_session", "databases: shop", `${key} no table public.user_session ${within}`],
    ] as const)
      assert.deepEqual(await doubts(onTables(`[${tables}]`, more)), [expected], tables);
    assert.deepEqual(await doubts(onTables("[public.user_session]", "databases: a*")), []);
    await admin.query("revoke connect on database closed from lockwarden");
  });

  test(`${major}: nobody is left connected to the databases that were asked`, async () => {
    await surveyed(onTables("public.nowhere"));
    const sql = "select datname from pg_stat_activity where application_name = 'lockwarden'";
    await eventually(async () => (await admin.query(sql)).rowCount === 0);
    await admin.query("create database copied template shop");
    await admin.query("drop database copied");
  });

  test(`${major}: roles and databases that are not there, groups and superusers are told, in exceptions too`, async () => {
    for (const [rules, expected] of [
      [rule("users: [web, wep]"), ["match.users: no role wep on target app: did you mean web?"]],
      [rule("users: 'zz*'"), ["match.users: no role matches zz* on target app"]],
      [
        rule("users: [w*, team]"),
        ["match.users: role team may not log in: a session goes by the role that logged in, whatever groups it is in"],
      ],
      [rule("databases: [app, shpo]"), ["match.databases: no database shpo on target app: did you mean shop?"]],
      [
        rule("users: web", "except: {users: wep, databases: old},"),
        [
          "except.users: no role wep on target app: did you mean web?",
          "except.databases: no database old on target app",
        ],
      ],
      [rule("blocks: {for: 5s, users: webb}"), ["match.blocks.users: no role webb on target app: did you mean web?"]],
      [
        rule("users: [postgres, rds_superuser]"),
        [
          "match.users: only superusers (postgres, rds_superuser), which protect.superusers spares: the rule never acts",
        ],
      ],
      [rule("users: [postgres, web]"), []],
      [
        rule("blocks: {for: 5s, waiters: 100000}"),
        [
          `match.blocks.waiters: 100000 sessions never wait on target app, which takes ${await mostSessions()} connections at most`,
        ],
      ],
    ] as const)
      assert.deepEqual(await doubts(rules), expected, rules);
    assert.deepEqual(await doubts(rule("users: web"), "{users: [webb], databases: [shop*, nope]}"), [
      "protect.users: no role webb on target app: did you mean web?",
      "protect.databases: no database nope on target app",
    ]);
    assert.deepEqual(await doubts(rule("users: postgres"), "{superusers: false}"), []);
  });

  async function mostSessions(): Promise<string> {
    const { rows } = await admin.query<{ max_connections: string }>("show max_connections");
    return rows[0]?.max_connections ?? "";
  }

  test(`${major}: what check says of failed transactions is so`, async (t) => {
    if (major < 17) return t.skip("transaction_timeout came with 17");
    const failed = await client(postgres.url());
    await failed.query("set transaction_timeout = '1s'; set idle_in_transaction_session_timeout = '1500ms'");
    await failed.query("begin");
    await assert.rejects(failed.query("select 1 / 0"));
    const { rows } = await admin.query<{ pid: number }>(
      "select pid from pg_stat_activity where state = 'idle in transaction (aborted)'",
    );
    assert.equal(rows.length, 1);
    const old = `select 1 from pg_stat_activity where pid = ${rows[0]?.pid} and state_change < clock_timestamp() - interval '2500 ms'`;
    await eventually(async () => (await admin.query(old)).rowCount === 1);
    await failed.end();
  });

  test(`${major}: the last one tidies up`, () => admin.end());
}

test("a name that one of a rule's targets knows is not misspelt", () => {
  const config = goodConfig(
    "targets: [{name: a, url: postgres://u@h}, {name: b, url: postgres://u@h}]\nrules:\n" +
      "- {name: r, match: {users: web, idle_for: 1m}, steps: [terminate]}\n" +
      "- {name: s, targets: [a], match: {users: web, idle_for: 1m}, steps: [notify]}\n",
  );
  const survey = (role: string): Survey => ({
    timeouts: [],
    roles: [{ name: role, login: true, superuser: false }],
    ownRole: "me",
    databases: ["app"],
    mostSessions: 100,
    mostPrepared: 10,
    tables: [],
    gaps: [],
  });
  const all = [
    { target: "a", survey: survey("api") },
    { target: "b", survey: survey("web") },
  ];
  const texts = all.flatMap((here) => nameDoubts(config, { here, all, nearest })).map(({ text }) => text);
  assert.deepEqual(texts, ["rule s: match.users: no role web on target a"]);
});

test("timeouts are read in the forms in which the server keeps them", () => {
  const forms: readonly (readonly [string, number | null])[] = [
    ["10s", 10_000],
    ["500", 500],
    [" 1.5 min ", 90_000],
    ["0x10", 16],
    ["010", 8],
    [".5h", 1_800_000],
    ["1d", 86_400_000],
    ["1e3", 1_000],
    ["1500us", 2],
    ["10S", null],
    ["soon", null],
    ["", null],
  ];
  for (const [written, ms] of forms) assert.equal(parseServerDuration(written), ms, written);
});

test("what is wild in LIKE and not in a glob stands for itself", () => {
  assert.equal(likeness("a_b%c\\d*e?"), "a\\_b\\%c\\\\d%e_");
});
