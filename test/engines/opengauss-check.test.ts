import assert from "node:assert/strict";
import { test } from "node:test";
import type { Link, Missing } from "../../src/engines/engine.ts";
import { judge, type Rights } from "../../src/engines/opengauss/check.ts";
import { grants } from "../../src/engines/opengauss/grants.ts";
import type { Product } from "../../src/engines/opengauss/product.ts";
import { timeoutsOf } from "../../src/engines/opengauss/survey.ts";
import { hiddenSessions } from "../../src/engines/opengauss/visibility.ts";
import { recognised } from "../../src/engines/recognised.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { client, eventually } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const doubles = [await openGauss(), await openGauss({ threadPool: true })] as const;
for (const double of doubles) {
  await double.createUser({ name: "app" });
  await double.createUser({ name: "full", monadmin: true, signalBackend: true, auth: "sha256" });
  const admin = await client(double.url());
  await admin.query("create table t (id int primary key); insert into t values (1); grant all on t to app");
  await admin.end();
}

function connect(url: string): Promise<Link> {
  return recognised({ engine: "opengauss" }).connect(target(url), patience());
}

function briefly(found: readonly Missing[]): readonly string[] {
  return found.map(({ missing, fatal, needed }) => `${missing.split(/[: ]/)[0] ?? ""} ${needed}${fatal ? "!" : ""}`);
}

for (const double of doubles) {
  const mode = double.threadPool ? "thread pool on" : "thread pool off";
  const checked = async (user: string): Promise<readonly Missing[]> => {
    const link = await connect(double.url(user));
    const found = await link.check(patience());
    await link.close();
    return found;
  };

  test(`${mode}: a role with MONADMIN and gs_role_signal_backend lacks nothing`, async () => {
    assert.deepEqual(await checked("full"), []);
  });

  test(`${mode}: what a bare role lacks is told, and the SQL beside it grants it`, async () => {
    const admin = await client(double.url());
    await double.createUser({ name: "bare" });
    const before = await checked("bare");
    assert.deepEqual(briefly(before), ["MONADMIN to see!", "gs_role_signal_backend to act!"]);
    for (const { grant } of before) await admin.query(grant);
    assert.deepEqual(await checked("bare"), []);
    await admin.query("drop role bare");
    await admin.end();
  });

  test(`${mode}: locks of sessions that it cannot see are told, and nobody is acted on`, async () => {
    await double.createUser({ name: "blind", signalBackend: true });
    const holder = await client(double.url("app"));
    await holder.query("begin; update t set id = id");
    // Sessions of a link that has just been closed may keep their locks a moment longer.
    const found = await eventually(async () => {
      const seen = await checked("blind");
      assert.deepEqual(briefly(seen), ["MONADMIN to see!", "1 to act!"]);
      return seen;
    });
    assert.match(
      found[1]?.missing ?? "",
      /^1 session has locks and cannot be seen by this role, so Lockwarden acts on nobody here/,
    );
    assert.equal(found[1]?.grant, 'alter user "blind" monadmin;');
    assert.deepEqual(briefly(await checked("full")), []);
    await holder.end();
    await eventually(async () => (await checked("blind")).length === 1);
  });

  test(`${mode}: the grants run as they are, and leave nothing to be granted`, async () => {
    const admin = await client(double.url());
    for (const role of ["watch", 'a"b; drop role full; --', "o'brien", "ünïcödé"]) {
      await admin.query(grants(role));
      // What the server refuses for its weakness, the double takes.
      const url = `postgres://${encodeURIComponent(role)}:...@127.0.0.1:${double.port}/postgres`;
      const link = await connect(url);
      assert.equal(link.facts.role, role);
      assert.deepEqual(await link.check(patience()), [], role);
      await link.close();
      await eventually(() => admin.query(`drop role "${role.replaceAll('"', '""')}"`).then(() => true));
    }
    await admin.end();
  });

  test(`${mode}: a system administrator works, and is told that less would do`, async () => {
    const found = await checked("dba");
    assert.deepEqual(briefly(found), ["dba known"]);
    assert.match(found[0]?.missing ?? "", /^dba is a system administrator/);
  });

  test(`${mode}: somebody else's prepared transactions are told, as no lesser right ends them`, async () => {
    const someone = await client(double.url("app"));
    await someone.query("begin");
    await someone.query("update t set id = id");
    await someone.query("prepare transaction 'held'");
    const found = await checked("full");
    assert.deepEqual(briefly(found), ["prepared advised"]);
    assert.match(found[0]?.missing ?? "", /^prepared transactions of app cannot be rolled back by this role/);
    await someone.query("rollback prepared 'held'");
    await someone.end();
  });

  test(`${mode}: the survey has the server's own timeouts, roles and databases`, async () => {
    const link = await connect(double.url("full"));
    const survey = await link.survey([{ pattern: "public.t", databases: null }], patience());
    const timeouts = survey.timeouts.map(({ name, kind, ms }) => `${name} ${kind} ${ms}`);
    assert.ok(timeouts.includes("lockwait_timeout lock 1200000"), timeouts.join("\n"));
    assert.ok(timeouts.includes("update_lockwait_timeout lock 120000"));
    assert.deepEqual([survey.rolesHidden, survey.roles.map(({ name }) => name)], [true, ["full"]]);
    assert.ok(survey.databases.includes("postgres"));
    assert.deepEqual(survey.tables[0]?.found, ["public.t"]);
    assert.deepEqual([survey.mostSessions, survey.mostPrepared, survey.ownRole], [400, 20, "full"]);
    assert.deepEqual(survey.gaps, [
      "this server shows a user only himself, so names of users in rules were not looked up",
    ]);
    await link.close();
    const admin = await connect(double.url());
    const { roles, rolesHidden, gaps } = await admin.survey([], patience());
    assert.ok(roles.some(({ name, superuser }) => name === "dba" && superuser));
    assert.deepEqual([rolesHidden, gaps], [undefined, []]);
    await admin.close();
  });
}

test("who is missing from one look only has ended in between, and is not hidden", async () => {
  const asked = (looks: readonly (readonly string[])[]) => {
    const rest = [...looks];
    const query = async () => (rest.shift() ?? []).map((sessionid) => ({ sessionid }));
    return hiddenSessions({ query }, product, patience()).then((hidden) => [hidden, rest.length]);
  };
  assert.deepEqual(await asked([[], ["1"]]), [[], 1]);
  assert.deepEqual(await asked([["1", "2"], ["3"], ["1"]]), [[], 1]);
  assert.deepEqual(await asked([["1", "2"], ["2", "3"], ["2"], []]), [["2"], 1]);
});

const all: Rights = {
  role: "me",
  initialUser: false,
  administrator: false,
  monitors: true,
  signals: true,
  recovery: false,
  tracksActivities: true,
  hidden: [],
  functions: [],
  databases: [],
  preparedOwners: [],
};
const product: Product = {
  name: "openGauss",
  version: "7.0.0",
  threadPool: true,
  terminateSession: true,
  cancelSession: true,
  activity: "pg_catalog.pg_stat_get_activity(null)",
  lockTags: true,
  emptyIsNull: true,
  killSession: null,
};

test("what a server says of a role and of itself, and what it means", () => {
  const table: readonly [Partial<Rights>, Partial<Product>, readonly string[]][] = [
    [{}, {}, []],
    [{ initialUser: true, administrator: true, signals: false, monitors: false }, {}, ["me known"]],
    [{ administrator: true, signals: null, monitors: false, preparedOwners: ["app"] }, {}, ["me known"]],
    [{ recovery: true }, {}, ["this known"]],
    [{ signals: null }, {}, ["this to act!"]],
    [{ tracksActivities: false }, {}, ["track_activities to see!"]],
    [{ functions: ["pg_terminate_session"] }, {}, ["me to act!"]],
    [{ databases: ["closed"] }, {}, ["CONNECT advised"]],
    [{}, { terminateSession: false }, ["pg_terminate_session to act!"]],
    [{}, { cancelSession: false }, ["pg_cancel_session advised"]],
    [{}, { threadPool: false, terminateSession: false, cancelSession: false }, []],
  ];
  for (const [rights, release, expected] of table)
    assert.deepEqual(
      briefly(judge({ ...all, ...rights }, { ...product, ...release })),
      expected,
      JSON.stringify(rights),
    );
});

test("a bare number of a timeout is in the setting's own unit, wherever it was set", () => {
  const settings = [
    { name: "session_timeout", value: "600", unit: "s" },
    { name: "statement_timeout", value: "0", unit: "ms" },
  ];
  const own = [
    { roleid: "7", role: "app", database: null, setting: "session_timeout=30" },
    { roleid: "0", role: "unknown (OID=0)", database: "shop", setting: "statement_timeout=2min" },
  ];
  assert.deepEqual(
    timeoutsOf(settings, own).map(({ name, kind, ms, role, database }) => [name, kind, ms, role, database].join(" ")),
    [
      "session_timeout idle 600000  ",
      "session_timeout idle in transaction 600000  ",
      "statement_timeout statement 0  ",
      "session_timeout idle 30000 app ",
      "session_timeout idle in transaction 30000 app ",
      "statement_timeout statement 120000  shop",
    ],
  );
});
