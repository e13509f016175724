import assert from "node:assert/strict";
import { test } from "node:test";
import { assertEnded } from "../support/clean-output.ts";
import { lockwarden, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

const { admin, url, person } = await loginService();
await admin.query("create role web login");
await admin.query("create database shop");

type Checked = Readonly<{ targets: readonly Readonly<{ warnings: { rule: string | null; text: string }[] }>[] }>;

/** The configured rules, and what check says of them. */
async function told(
  rules: string,
  ...words: string[]
): Promise<Readonly<{ code: number | null; out: string; texts: string[] }>> {
  const here = await place(`targets: [{name: app, url: "${url}"}]\nrules:\n${rules}`);
  const ended = await lockwarden(["check", ...words, "--config", here.config]);
  const json = await lockwarden(["check", "--json", "--config", here.config]);
  const { targets } = JSON.parse(json.out) as Checked;
  return {
    code: ended.code,
    out: ended.out,
    texts: targets.flatMap(({ warnings }) => warnings.map(({ text }) => text)),
  };
}

const stuck = `- name: stuck-login
  match: {state: idle in transaction, idle_for: 30s, blocks: {tables: [public.user_session], for: 5s}}
  steps: [terminate]`;

test("a rule that the server's own timeout always forestalls is told, for the role it is set for", async (t) => {
  t.after(() => admin.query("alter role web reset all; alter role login_service reset all"));
  assert.deepEqual((await told(stuck)).texts, []);
  await admin.query("alter role web set idle_in_transaction_session_timeout = '10s'");
  const { code, out, texts } = await told(stuck);
  assert.deepEqual(texts, [
    "rule stuck-login can never act on sessions of role web: the server's idle_in_transaction_session_timeout (10 s, set for role web) acts first, unless a session sets its own; the rule asks for idle_for 30 s",
  ]);
  assert.equal(code, 0);
  assert.match(
    out,
    /^app: warning: .*\n(?: .*\n)* {2}warning: rule stuck-login can never act on sessions of role web: /m,
  );
  assert.match(out, /\n2 warnings: no failure, so the exit code stays 0; --strict makes it 1\n$/);
  assert.equal((await told(stuck, "--strict")).code, 1);
});

test("and so it is: the server ends such a session before the rule would", async (t) => {
  t.after(() => admin.query("alter role web reset all"));
  await admin.query("alter role web set idle_in_transaction_session_timeout = '10ms'");
  const idle = await person("web-1", "web");
  await idle.query("begin").catch(() => undefined);
  await eventually(async () => {
    const { rowCount } = await admin.query("select from pg_stat_activity where usename = 'web'");
    return rowCount === 0;
  });
});

test("that all rules come in time is told too, with what they were compared with", async (t) => {
  t.after(() => admin.query("alter database shop reset all"));
  await admin.query("alter database shop set lock_timeout = '1min'");
  const { out, texts } = await told(stuck);
  assert.deepEqual(texts, []);
  const said = out.replaceAll(/\s+/g, " ");
  assert.match(said, / ok: every rule acts before the server's own lock_timeout \(1 min, set for database shop\) /);
});

test("misspelt names are told with what was meant, the warnings of a rule together", async () => {
  const { texts } = await told(`- name: first
  match: {users: login_servce, idle_for: 1m, blocks: {tables: [public.user_sesion], for: 5s}}
  steps: [terminate]
- name: second
  match: {databases: shopp, idle_for: 1m}
  except: {users: migrator}
  steps: [terminate]`);
  assert.deepEqual(texts, [
    "rule first: match.users: no role login_servce on target app: did you mean login_service?",
    "rule first: match.blocks.tables: no table public.user_sesion on target app: did you mean public.user_session?",
    "rule second: except.users: no role migrator on target app",
    "rule second: match.databases: no database shopp on target app: did you mean shop?",
  ]);
});

test("names with control characters steer no terminal", async (t) => {
  const name = 'evil\u001b[2J"';
  const quoted = `"${name.replaceAll('"', '""')}"`;
  await admin.query(`create role ${quoted} login`);
  await admin.query(`alter role ${quoted} set idle_in_transaction_session_timeout = '10s'`);
  t.after(() => admin.query(`drop role ${quoted}`));
  const here = await place(`targets: [{name: app, url: "${url}"}]\nrules:\n${stuck}`);
  for (const words of [[], ["--json"]]) {
    const ended = await lockwarden(["check", ...words, "--config", here.config]);
    assertEnded(ended, { code: 0, out: /evil(?:\\u001b|\\\\u001b)/ });
  }
});

test("the probe of a rule is run once, and what it says is told; one that cannot be run is a warning", async () => {
  const owner = await person("owner", "postgres");
  await owner.query("create table public.hidden_from_us (id int)");
  const probed = (sql: string) => `${stuck}\n  probe: {sql: "${sql}", timeout: 2s}`;
  const fails = await told(probed("select 1 from public.hidden_from_us"));
  assert.match(
    flat(fails.out),
    /warning: rule stuck-login: the probe could not say anything: permission denied for table/,
  );
  assert.match(flat(fails.out), /until it can be run the rule acts on nobody/);
  assert.equal(fails.code, 0);
  const works = await told(probed("select 1"));
  assert.match(flat(works.out), /note: rule stuck-login: the probe got through in .*: the way is free/);
  await owner.query("grant update, select on public.hidden_from_us to lockwarden");
  await owner.query("begin; lock table public.hidden_from_us");
  const waits = await told(probed("select 1 from public.hidden_from_us"));
  assert.match(flat(waits.out), /note: rule stuck-login: the probe is stuck: it waited/);
  await owner.query("rollback");
});

test("a probe in a database that is not there is told with its key", async () => {
  const nowhere = await told(`${stuck}\n  probe: {sql: select 1, database: shopp}`);
  assert.match(
    flat(nowhere.out),
    /warning: rules\.stuck-login\.probe\.database: expected a database of this server, got "shopp"; did you mean "shop"\?; until there is one the rule acts on nobody/,
  );
});

test("a rule about prepared transactions is told of a server that takes none", async () => {
  const rule = "- {name: forgotten, match: {prepared: {gid: 'app-*', for: 1h}}, steps: [notify]}";
  assert.deepEqual((await told(rule)).texts, [
    "rule forgotten match.prepared: nobody is ever found, as max_prepared_transactions is 0 on this server",
  ]);
});

/** Its lines are as long as the terminal is wide. */
function flat(out: string): string {
  return out.replaceAll(/\n\s+/gu, " ");
}
