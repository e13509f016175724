import assert from "node:assert/strict";
import { after, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place } from "../support/lockwarden.ts";
import { type MailServer, mailServer } from "../support/mail-server.ts";
import { type OceanBaseDouble, oceanBase } from "../support/oceanbase/oceanbase.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { person } from "../support/opengauss/person.ts";

// What people read and type where the server is no PostgreSQL: on a pool of threads, and through a proxy whose ids mean others.

const gauss = await openGauss({ threadPool: true });
const proxied = await oceanBase({ mode: "oracle", proxy: "v1" });
for (const name of ["app", "clerk"]) await gauss.createUser({ name });
await gauss.createUser({ name: "lockwarden", monadmin: true, signalBackend: true, auth: "sha256" });
const dba = await person(gauss, "dba");
await dba.rows("create table public.user_session (id int primary key, n int)");
await dba.rows("insert into public.user_session select i, 0 from generate_series(1, 9) i");
await dba.rows("grant all on public.user_session to app, clerk");
for (const name of ["app", "clerk"]) await proxied.createUser({ name });
const rights = { super: true, alterSystem: true, showProcess: true };
await proxied.createUser({ name: "lockwarden", password: "secret", ...rights });
const owner = await proxied.person("app");
await owner.query("CREATE TABLE user_session (id INT PRIMARY KEY, n INT)");
await owner.query("INSERT INTO user_session VALUES (1, 0)");

const rule = `{name: stuck-login, match: {state: idle in transaction, idle_for: 100ms, blocks: {tables: ["*.user_session", "*.USER_SESSION"]}}, steps: [terminate]}`;

function config(url: string, more = ""): Promise<Place> {
  return place(`mode: enforce\ntargets: [{name: app, url: "${url}", poll: 200ms}]\nrules: [${rule}]\n${more}`);
}

const run = (here: Place, ...words: string[]) => lockwarden([...words, "--config", here.config]);

/** Abandoned on the pool of threads, with somebody behind it. */
async function stuckOnPool(row: number): Promise<string> {
  const [holder, waiter] = [await person(gauss, "app"), await person(gauss, "clerk")];
  await holder.rows("begin");
  await holder.rows("update public.user_session set n = 1 where id = $1", [row]);
  void waiter.start(`update public.user_session set n = 2 where id = ${row}`);
  const [seen] = await eventually("it waits", async () => {
    const rows = await dba.rows("select pid from pg_stat_activity where sessionid = $1 and waiting", [
      waiter.sessionId,
    ]);
    return rows.length > 0
      ? dba.rows("select pid from pg_stat_activity where sessionid = $1", [holder.sessionId])
      : null;
  });
  return `${seen?.["pid"]},${holder.sessionId}`;
}

async function stuckBehind(double: OceanBaseDouble): Promise<string> {
  const [holder, waiter] = [await double.person("app"), await double.person("clerk")];
  await holder.query("BEGIN");
  await holder.query("UPDATE APP.USER_SESSION SET n = 1 WHERE id = 1");
  waiter.query("UPDATE APP.USER_SESSION SET n = 2 WHERE id = 1").catch(() => undefined);
  after(() => holder.destroy());
  return String(await double.idOf(holder));
}

test("a server that does not say since when somebody waits is not said to have kept him for 0 ms", async () => {
  const handle = await stuckOnPool(1);
  const here = await config(gauss.url("lockwarden"));
  const tree = await run(here, "tree");
  assert.match(tree.out, /^app \(opengauss 7\.0\.0-RC2 \(thread pool on\)\): 1 session waits for a lock\n/);
  assert.match(tree.out, /clerk \(clerk\) waits for a row of public\.user_session \(ShareLock\)/);
  const explained = await run(here, "explain", handle);
  assert.match(explained.out, /\n {2}blocks 1 session on public\.user_session; waits for nobody\n/);
  // As people know it from elsewhere.
  const ended = await run(here, "sql", `SELECT pg_terminate_session(${handle.replace(",", ", ")});`, "--yes");
  assert.match(ended.out, new RegExp(`^app: terminate ${handle}: released: `));
  assert.equal(ended.code, 0);
});

test("a pid alone, as in the sessions of PostgreSQL, ends nobody, and says what to type", async () => {
  const handle = await stuckOnPool(2);
  const [pid] = handle.split(",");
  const here = await config(gauss.url("lockwarden"));
  const { code, err } = await run(here, "sql", `select pg_terminate_backend(${pid})`, "--yes");
  assert.equal(code, 2);
  assert.match(err, new RegExp(`got ${pid}: a pid alone may be another session's by now; .* is ${handle} now\\n$`));
  assert.equal((await run(here, "sql", `KILL ${pid}`, "--yes")).code, 2);
  assert.equal((await run(here, "kill", handle, "--yes")).code, 0);
});

test("where nothing may be sent, nobody is told that it is for the config's mode", async (t) => {
  const mail: MailServer = await mailServer(t);
  const smtp = `smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [dba@example.org]`;
  const handle = await stuckBehind(proxied);
  const here = await config(
    proxied.url("lockwarden", "secret", "proxy"),
    `channels: [{name: oncall, type: email, ${smtp}}]`,
  );
  const why = "signals cannot be sent safely to this target, so Lockwarden only observes it: lockwarden check says why";
  const killed = await run(here, "sql", `KILL '${handle}'`, "--yes");
  assert.equal(killed.code, 3);
  assert.match(killed.out, /: denied: nothing was sent: the way leads through a proxy/);
  const daemon = here.run();
  const [told] = await eventually("people are told", () => (mail.mails.length > 0 ? mail.mails : null));
  const text = told?.text.replaceAll("=\r\n", "").replaceAll("\r\n", "\n") ?? "";
  assert.match(text, /nothing was done\. Lockwarden only observes this server\./);
  assert.match(text, /See why nothing is sent there: lockwarden check\n/);
  assert.match(text, /\nlockwarden for target app, oceanbase 4\.2\.5\.3 \(Oracle mode\), on /);
  assert.doesNotMatch(text, /mode:? (?:is )?(?:observe|enforce)|lockwarden kill/);
  const status = await run(here, "status");
  assert.ok(status.out.includes(`\ntarget app: connected to oceanbase 4.2.5.3 (Oracle mode), ${why}\n`), status.out);
  const explained = await run(here, "explain", `${handle}, 0`);
  assert.ok(explained.out.replaceAll(/\n +/g, " ").includes(` nothing is signalled: ${why}`), explained.out);
  assert.match(daemon.said(), /"msg":"connected to oceanbase 4\.2\.5\.3 \(Oracle mode\) as LOCKWARDEN"/);
});
