import assert from "node:assert/strict";
import { test } from "node:test";
import type { Missing } from "../../src/engines/engine.ts";
import { globalPrivileges, isBefore, judge, type Rights, whyNotAct } from "../../src/engines/oceanbase/check.ts";
import { grants, grantsIn, quoteUser } from "../../src/engines/oceanbase/grants.ts";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { canBeUndone } from "../../src/engines/oceanbase/probe.ts";
import { modeOf, ownId, versionOf } from "../../src/engines/oceanbase/recognise.ts";
import { timeoutsOf } from "../../src/engines/oceanbase/survey.ts";
import type { NewAccount } from "../support/oceanbase/accounts.ts";
import type { OceanBaseDouble } from "../support/oceanbase/oceanbase.ts";
import { tenants, tenantTarget } from "../support/oceanbase-target.ts";
import { patience } from "../support/targets.ts";

const [oracle, mysql, older, proxy] = await tenants([
  { mode: "oracle" },
  { mode: "mysql" },
  { mode: "oracle", version: "4.1.0.2" },
  { mode: "mysql", proxy: "v1" },
]);
oracle.switches.dbmsLock = true;

const all = { alterSystem: true, showProcess: true } as const;
const needed = (missing: readonly Missing[], what: Missing["needed"]) =>
  missing.filter((one) => one.needed === what).map((one) => one.missing.replace(/:.*/su, ""));

async function checked(
  double: OceanBaseDouble,
  account: NewAccount,
  through: "server" | "proxy" = "server",
): Promise<readonly Missing[]> {
  await double.createUser({ password: "x", ...account });
  const link = await connect(tenantTarget(double.url(account.name, "x", through)), patience());
  try {
    return await link.check(patience());
  } finally {
    await link.close();
  }
}

test("a user of Oracle mode with all that grants prints lacks nothing, and is told who owns a session", async () => {
  const missing = await checked(oracle, { name: "whole", ...all });
  assert.deepEqual(needed(missing, "to see"), []);
  assert.deepEqual(needed(missing, "to act"), []);
  assert.deepEqual(needed(missing, "advised"), ["WHOLE is not SYS"]);
});

test("what would be missing in silence is asked for, with the SQL that grants it", async () => {
  const missing = await checked(oracle, { name: "blind" });
  const found = missing.filter(({ fatal }) => fatal).map(({ needed: what, grant }) => `${what}: ${grant}`);
  assert.deepEqual(found, ["to see: GRANT SHOW PROCESS TO BLIND;", "to act: GRANT ALTER SYSTEM TO BLIND;"]);
});

test("the same in MySQL mode, where PROCESS and SUPER are its names", async () => {
  const missing = await checked(mysql, { name: "blind" });
  const found = missing.filter(({ fatal }) => fatal).map(({ needed: what, grant }) => `${what}: ${grant}`);
  assert.deepEqual(found, ["to see: GRANT PROCESS ON *.* TO 'blind';", "to act: GRANT SUPER ON *.* TO 'blind';"]);
  assert.deepEqual(needed(await checked(mysql, { name: "whole", showProcess: true, super: true }), "to act"), []);
});

test("views that were not granted are named, and what follows from it", async () => {
  for (const [double, prefix, name] of [
    [oracle, "SYS", "NARROW"],
    [mysql, "oceanbase", "'narrow'"],
  ] as const) {
    const missing = await checked(double, { name: "narrow", ...all, super: false, views: [] });
    const sql = missing.map(({ grant }) => grant);
    for (const view of ["GV$OB_LOCKS", "GV$OB_TRANSACTION_SCHEDULERS", "DBA_OB_TABLE_LOCATIONS"])
      assert.ok(sql.includes(`GRANT SELECT ON ${prefix}.${view} TO ${name};`), `${view}: ${sql.join(" ")}`);
    const sessions = missing.find(({ grant }) => grant.includes("GV$OB_PROCESSLIST"));
    assert.ok(sessions?.fatal === true && sessions.needed === "to see");
    assert.match(sessions.missing, /cannot be read: .*(?:ORA-00942|denied)/);
  }
});

test("what an older version does not have is nothing to grant", async () => {
  const missing = await checked(older, { name: "whole", ...all });
  assert.deepEqual(
    missing.filter(({ fatal }) => fatal),
    [],
  );
  assert.deepEqual(
    missing.map(({ grant }) => grant).filter((grant) => grant.includes("4.1.0.2")),
    ["-- it is there from 4.2 on; this is 4.1.0.2", "-- it is there from 4.2.1 on; this is 4.1.0.2"],
  );
});

test("through a proxy with session ids of its own acting is impossible, and the ways out are named", async () => {
  const missing = await checked(proxy, { name: "whole", showProcess: true, super: true }, "proxy");
  const [found, ...more] = missing.filter((one) => one.needed === "to act");
  assert.equal(more.length, 0);
  assert.ok(found?.fatal === true);
  assert.match(found.missing, /session ids of its own: a KILL there means another session/);
  assert.match(found.grant, /port 2881.*client_session_id_version = 2/);
  assert.match(whyNotAct({ proxySessionIds: true }, false) ?? "", /only observes; name a server itself/);
});

test("what grants prints makes a user that lacks nothing", async () => {
  for (const double of [oracle, mysql]) {
    const admin = await double.person();
    const lines = grantsIn(double.mode, "granted").split("\n");
    for (const sql of lines.filter((line) => !/^--|^\s*$|DBMS_LOCK/u.test(line)))
      await admin.query(sql.replace(/;$/u, ""));
    await admin.end();
    const link = await connect(tenantTarget(double.url("granted", "change this password")), patience());
    const missing = await link.check(patience());
    await link.close();
    assert.deepEqual(
      missing.filter(({ fatal }) => fatal),
      [],
    );
  }
});

test("grants prints both forms, and a name in it is a name whatever is in it", () => {
  const text = grants("lockwarden");
  for (const line of [
    'CREATE USER lockwarden IDENTIFIED BY "change this password";',
    "GRANT CREATE SESSION TO lockwarden;",
    "GRANT ALTER SYSTEM TO lockwarden;",
    "GRANT SHOW PROCESS TO lockwarden;",
    "GRANT SELECT ON SYS.GV$OB_PROCESSLIST TO lockwarden;",
    "CREATE USER 'lockwarden' IDENTIFIED BY 'change this password';",
    "GRANT PROCESS ON *.* TO 'lockwarden';",
    "GRANT SELECT ON oceanbase.GV$OB_LOCKS TO 'lockwarden';",
  ])
    assert.ok(text.split("\n").includes(line), line);
  assert.equal(quoteUser("oracle", "a b; drop"), '"a b; drop"');
  assert.equal(quoteUser("mysql", "o'b\\"), "'o''b\\\\'");
  for (const name of ["", "a\nb", "a\0", "x".repeat(65)]) assert.throws(() => grants(name), /^Error: role: expected/);
  assert.throws(() => quoteUser("oracle", 'a"b'), /without a double quote/);
});

const rights: Rights = {
  server: {
    mode: "oracle",
    version: "4.2.5.3",
    tenant: "shop",
    sessionId: "3221487726",
    throughProxy: false,
    proxySessionIds: false,
    views: {
      schedulers: true,
      locks: true,
      lockId3: true,
      participants: true,
      locations: true,
      objects: false,
      addresses: true,
    },
  },
  recognised: { user: "LOCKWARDEN", standby: false, noProcesses: null },
  privileges: new Set(["SHOW PROCESS", "ALTER SYSTEM"]),
  lease: true,
  unset: [],
};

test("privileges that cannot be read are no privileges that are there, nor such that are not", () => {
  const [found, ...more] = judge({ ...rights, privileges: null }).filter(({ missing }) =>
    missing.includes("SHOW PROCESS"),
  );
  assert.equal(more.length, 0);
  assert.equal(found?.needed, "advised");
  assert.match(found.missing, /cannot be asked here, and without it they are left out in silence/);
});

test("SYS and the system tenant need no grants, and are told what they are", () => {
  const sys = judge({ ...rights, recognised: { ...rights.recognised, user: "SYS" }, privileges: new Set() });
  // Whoever is told to log in as SYS is not sent back to a user who may not end others.
  assert.match(sys[0]?.grant ?? "", /a user with less.* ends only sessions of its own name$/);
  assert.deepEqual(
    sys.map(({ needed: what, missing }) => `${what}: ${missing.slice(0, 31)}`),
    ["known: SYS is the tenant's administrat"],
  );
  const tenant = judge({
    ...rights,
    server: { ...rights.server, mode: "mysql", tenant: "sys" },
    privileges: new Set(),
  });
  assert.deepEqual(needed(tenant, "to see"), []);
  assert.match(tenant.map(({ missing }) => missing).join(), /none of another tenant is acted on/);
});

test("two daemons where no lock tells them apart, a refused setting and a standby are told", () => {
  const unset = ["SET SESSION wait_timeout = 31536000", "CALL DBMS_APPLICATION_INFO.SET_MODULE('lockwarden', '')"];
  const recognised = { ...rights.recognised, standby: true };
  const texts = judge({ ...rights, lease: false, unset, recognised }).map(({ missing }) => missing);
  assert.ok(texts.some((text) => text.includes("two on this target would both act, so run one")));
  assert.ok(texts.some((text) => text.endsWith("SET SESSION wait_timeout = 31536000")));
  assert.ok(texts.some((text) => text.startsWith("this is a standby tenant")));
  assert.ok(!texts.some((text) => text.includes("SET_MODULE")));
  assert.match(whyNotAct({ proxySessionIds: false }, true) ?? "", /standby tenant/);
  assert.equal(whyNotAct({ proxySessionIds: false }, false), null);
});

test("what the server says of itself is read as it is, and never guessed", () => {
  assert.equal(versionOf("OceanBase 4.2.1.11 (r111-ab) (Built Jan 1 2026)"), "4.2.1.11");
  assert.equal(versionOf("OceanBase_CE 4.3.5.3 (r1)"), "4.3.5.3");
  assert.equal(versionOf("something"), "unknown");
  assert.deepEqual(
    [modeOf("ORACLE", ""), modeOf("1", ""), modeOf("MYSQL", ""), modeOf("0", "")],
    ["oracle", "oracle", "mysql", "mysql"],
  );
  for (const value of [null, "", "0", "-1", "01", "4294967296", "1 or 1"])
    assert.throws(() => ownId(value), { kind: "refused" }, String(value));
  assert.equal(ownId("4294967295"), "4294967295");
  assert.equal(isBefore("4.2.0.9", [4, 2, 1]), true);
  assert.equal(isBefore("4.10", [4, 2, 1]), false);
  assert.equal(isBefore("unknown", [4, 2]), false);
  assert.equal(isBefore("1.4.0.0 seekdb", [4, 2]), false);
});

test("global privileges are read from SHOW GRANTS, and those on single tables are none", () => {
  const rows = ["GRANT PROCESS, SUPER ON *.* TO 'lw'", "GRANT SELECT ON `oceanbase`.* TO 'lw'"];
  assert.deepEqual(globalPrivileges(rows.map((text) => ({ "GRANTS FOR LW@%": text }))), new Set(["PROCESS", "SUPER"]));
  // A database's name grants nothing.
  const trap = "GRANT SELECT ON `a, PROCESS ON *.* TO b`.* TO 'lw'";
  assert.deepEqual(globalPrivileges([{ GRANTS: trap }]), new Set());
  assert.equal(globalPrivileges(null), null);
  assert.equal(globalPrivileges([]), null);
});

test("the server's own timeouts are read in its units, and one below zero is off", () => {
  const row = (VARIABLE_NAME: string, VALUE: string) => ({ VARIABLE_NAME, VALUE });
  const rows = [
    row("ob_trx_idle_timeout", "120000000"),
    row("ob_trx_lock_timeout", "-1"),
    row("wait_timeout", "28800"),
    row("net_read_timeout", "30"),
    row("ob_trx_timeout", "soon"),
  ];
  assert.deepEqual(
    timeoutsOf(rows).map(({ name, kind, ms }) => ({ name, kind, ms })),
    [
      { name: "ob_trx_idle_timeout", kind: "idle in transaction", ms: 120_000 },
      { name: "ob_trx_lock_timeout", kind: "lock", ms: 0 },
      { name: "wait_timeout", kind: "idle", ms: 28_800_000 },
    ],
  );
});

test("a survey knows users, databases, timeouts, and for which patterns there is a table", async () => {
  for (const double of [oracle, mysql]) {
    const person = await double.person();
    await person.query("create table app.surveyed (id int primary key)");
    await person.query("set global ob_trx_idle_timeout = 120000000");
    await double.createUser({ name: "surveyor", password: "x", ...all });
    const schema = double.mode === "oracle" ? "SURVEYOR" : "app";
    await person.query(`create table ${double.mode === "oracle" ? "surveyor.own" : "app.own"} (id int primary key)`);
    await person.end();
    const link = await connect(tenantTarget(double.url("surveyor", "x")), patience());
    const patterns = ["*.[Oo]wn", "*.OWN", "*.own", "*.nowhere"].map((pattern) => ({ pattern, databases: null }));
    const survey = await link.survey(patterns, patience());
    await link.close();
    const name = double.mode === "oracle" ? "SURVEYOR" : "surveyor";
    assert.equal(survey.ownRole, name);
    assert.ok(survey.roles.some((role) => role.name === name && role.login && !role.superuser));
    assert.ok(survey.roles.some((role) => role.name === (double.mode === "oracle" ? "SYS" : "root") && role.superuser));
    assert.ok(survey.databases.includes(schema), survey.databases.join());
    const idle = survey.timeouts.find(({ kind }) => kind === "idle in transaction");
    assert.deepEqual([idle?.name, idle?.ms], ["ob_trx_idle_timeout", 120_000]);
    // The tenant's own, not what Lockwarden's session has set for itself.
    const others = survey.timeouts.filter(({ name: one }) => one === "ob_query_timeout" || one === "wait_timeout");
    assert.deepEqual(new Set(others.map(({ ms }) => ms)), new Set([10_000, 28_800_000]));
    const home = survey.tables.find(({ database }) => database === schema);
    assert.equal(home?.refused, null);
    assert.deepEqual(home.found, [double.mode === "oracle" ? "*.OWN" : "*.own"]);
  }
});

test("a survey that cannot read names fails with the reason, so that no name is called misspelt", async () => {
  await mysql.createUser({ name: "nosy", password: "x", ...all, views: ["gv$ob_processlist"] });
  const link = await connect(tenantTarget(mysql.url("nosy", "x")), patience());
  await assert.rejects(link.survey([], patience()), /^Error: the names of users cannot be read: SELECT command denied/);
  await link.close();
});

test("a probe that waits for a lock is stuck, one that gets through works, and nothing stays of it", async () => {
  for (const double of [oracle, mysql]) {
    const person = await double.person();
    const table = "app.login";
    await person.query(`create table ${table} (id int primary key, seen int)`);
    await person.query(`insert into ${table} values (1, 0)`);
    await double.createUser({ name: "prober", password: "x", ...all });
    const link = await connect(tenantTarget(double.url("prober", "x")), patience());
    const probe = { sql: `update ${table} set seen = seen + 1 where id = 1`, timeout: 2_000 };
    assert.equal((await link.probe(probe, patience())).kind, "works");
    await person.query("begin");
    await person.query(`update ${table} set seen = 7 where id = 1`);
    assert.equal((await link.probe({ ...probe, timeout: 200 }, patience())).kind, "stuck");
    await person.query("rollback");
    assert.equal((await link.probe(probe, patience())).kind, "works");
    const [rows] = await person.query(`select seen as SEEN from ${table}`);
    assert.equal(String(Object.values((rows as Record<string, unknown>[])[0] ?? {})[0]), "0");
    const failed = await link.probe({ sql: "select * from nowhere_at_all", timeout: 2_000 }, patience());
    assert.equal(failed.kind, "failed");
    await link.close();
    await person.end();
  }
});

test("a probe that may commit is not run at all", async () => {
  for (const sql of [
    "truncate table t",
    "create table t (a int)",
    "commit",
    "begin update t set a=1; commit; end",
    "call p()",
    "-- select\ndrop table t",
    "/* select */ lock tables t write",
    "",
  ])
    assert.equal(canBeUndone(sql), false, sql);
  for (const sql of [
    "select 1 from dual",
    " (select 1)",
    "-- why\nUPDATE t set a = 1",
    "/* why */ with x as (select 1) select * from x",
    "insert into t values (1)",
  ])
    assert.equal(canBeUndone(sql), true, sql);
  const link = await connect(tenantTarget(mysql.url()), patience());
  const before = mysql.statements.length;
  const probed = await link.probe({ sql: "truncate table app.login", timeout: 200 }, patience());
  assert.equal(probed.kind, "failed");
  assert.match(probed.kind === "failed" ? probed.error : "", /may commit/);
  assert.ok(!mysql.statements.slice(before).some(({ sql }) => sql.includes("truncate")));
  await link.close();
});
