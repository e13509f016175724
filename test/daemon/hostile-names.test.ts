import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type pg from "pg";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { lockwarden, type Place, place } from "../support/lockwarden.ts";
import { type LoginService, loginService } from "../support/login-service.ts";
import { type Mail, mailServer } from "../support/mail-server.ts";
import { assertPlain, decodedBody, decodedHeader, headerNames, nastyNames } from "../support/nasty.ts";
import { client, eventually, outerMajors } from "../support/servers.ts";

// Everything that a stranger may name, from his session to every place where somebody reads it.

const services: (LoginService & { major: number })[] = [];
for (const major of outerMajors())
  services.push({
    major,
    ...(await loginService({
      major,
      settings: { track_activity_query_size: "102400", max_prepared_transactions: "4", max_connections: "200" },
    })),
  });

/** `statement`: what its session ran last. */
type Stuck = Readonly<{ name: string; statement: string; people: readonly pg.Client[]; waiting: Promise<unknown> }>;

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

async function stick({ postgres }: LoginService, owner: pg.Client, name: string): Promise<Stuck> {
  await owner.query(`create role ${quoted(name)} login`);
  await owner.query(`create table public.${quoted(name)} as select 1 as id`);
  await owner.query(`grant all on public.${quoted(name)} to public`);
  const url = postgres.url(encodeURIComponent(name), "app");
  const victim = await client(url, { application_name: `victim ${name}` });
  const waiter = await client(url, { application_name: name });
  await victim.query("begin");
  await victim.query(`update public.${quoted(name)} set id = 2`);
  const statement = `select /* ${name} */ $q$${name}$q$ as ${quoted(name)}`;
  await victim.query(statement);
  const long = `/* ${name.repeat(2_000).slice(0, 100_000)} */`;
  const waiting = waiter.query(`update public.${quoted(name)} set id = 3 where id < 3 ${long}`);
  waiting.catch(() => undefined);
  return { name, statement, people: [victim, waiter], waiting };
}

/** The same in bytes that are no UTF-8: the role, a table, the statement and the application's name. */
async function stickBytes(service: LoginService): Promise<Stuck> {
  const { admin, postgres } = service;
  await admin.query("create database bytes encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0");
  await admin.query("create role bytes login");
  const owner = await service.person("owner", "postgres");
  await owner.end();
  const inside = await client(postgres.url("postgres", "bytes"));
  const raw = "E'r\\xe9\\xff\\x1b[2J'";
  await inside.query(`do $$ begin execute format('create table public.%I as select 1 as id', ${raw});
    execute format('grant all on public.%I to public', ${raw}); end $$`);
  const people = [await client(postgres.url("bytes", "bytes")), await client(postgres.url("bytes", "bytes"))] as const;
  const [victim, waiter] = people;
  for (const one of people) await one.query("set client_encoding to 'SQL_ASCII'");
  const touch = (id: number) => `do $$ begin execute format('update public.%I set id = ${id}', ${raw}); end $$`;
  await victim.query("begin");
  await victim.query(touch(2));
  await victim.query(`set application_name to ${raw}`);
  await victim.query(`select '${"é".repeat(60_000)}'`);
  const waiting = waiter.query(touch(3));
  waiting.catch(() => undefined);
  await inside.query(`do $$ begin execute format('alter role bytes rename to %I', ${raw}); end $$`);
  return { name: "bytes", statement: "", people: [...people, inside], waiting };
}

function configOf(url: string, mode: string, more = ""): string {
  return `
mode: ${mode}
query_text: plain
targets: [{name: app, url: "${url}", poll: 1s}]
limits: {per_tick: 100, per_minute: 1000}
rules:
  - name: stuck
    match: {state: idle in transaction, idle_for: 500ms, blocks: {waiters: 1}}
    steps: [terminate]
${more}`;
}

/** What commands print of them is plain text, and JSON where it is asked for. */
async function assertCommands(here: Place, words: readonly (readonly string[])[]): Promise<void> {
  for (const asked of words) {
    const ended = await lockwarden([...asked, "--config", here.config]);
    const what = `lockwarden ${asked.join(" ")}`;
    assert.ok(ended.code === 0 || ended.code === 3, `${what}: ${JSON.stringify(ended)}`);
    assertPlain(ended.out, what);
    assertPlain(ended.err, what);
    assert.ok(ended.out.length > 100, `${what}: ${JSON.stringify(ended)}`);
    if (asked.includes("--json")) JSON.parse(ended.out);
  }
}

function assertMail(mail: Mail): void {
  assert.deepEqual(headerNames(mail.headers), [
    "Auto-Submitted",
    "Content-Transfer-Encoding",
    "Content-Type",
    "Date",
    "From",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X-Auto-Response-Suppress",
  ]);
  assert.deepEqual(mail.to, ["dba@example.org"]);
  const subject = /^subject: *((?:.|\r\n[ \t])*)/im.exec(mail.headers)?.[1] ?? "";
  assertPlain(decodedHeader(subject.replaceAll("\r\n", "")).replaceAll("\r", ""), "the subject");
  assertPlain(decodedBody(mail.headers, mail.text).replaceAll("\r\n", "\n"), "the mail");
}

/** Each line is one event, and gives back what the server showed. */
async function assertJournal(here: Place, stuck: readonly Stuck[]): Promise<readonly JournalEvent[]> {
  const text = await readFile(join(here.stateDir, "journal.jsonl"), "utf8");
  assertPlain(text, "the journal");
  const events = await here.journal();
  assert.equal(text.split("\n").length - 1, events.length);
  const victims = events.flatMap((event) => (event.event === "intent" ? [event.decision.evidence] : []));
  assert.equal(victims.length, stuck.length);
  for (const { name, statement } of stuck.filter(({ name: one }) => one !== "bytes")) {
    const found = victims.find(({ victim }) => victim.kind === "session" && victim.user === name);
    assert.ok(found?.victim.kind === "session", `nobody called ${JSON.stringify(name)}`);
    assert.equal(found.victim.query, statement);
    assert.equal(found.waits[0]?.relation?.name, name);
    assert.equal(found.waiters[0]?.user, name);
  }
  return events;
}

async function freed(t: TestContext, service: LoginService & { major: number }, stuck: readonly Stuck[]) {
  const mail = await mailServer(t);
  const channel = `{name: oncall, type: email, smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [dba@example.org]}`;
  const here = await place(configOf(service.url, "enforce", `channels: [${channel}]`));
  const daemon = here.run();
  for (const { waiting } of stuck) await waiting;
  await eventually(
    async () => (await here.journal()).filter(({ event }) => event === "outcome").length === stuck.length,
  );
  await eventually(() => mail.mails.length >= stuck.length);
  daemon.child.kill("SIGTERM");
  const { code, out, err } = await daemon.ended;
  assert.equal(code, 0, err);
  assertPlain(out, "the log");
  assertPlain(err, "the log's errors");
  for (const line of out.trimEnd().split("\n")) JSON.parse(line);
  for (const one of mail.mails) assertMail(one);
  await assertJournal(here, stuck);
  await assertCommands(here, [["history"], ["history", "--all"], ["history", "--all", "--json"]]);
}

for (const service of services) {
  test(`${service.major}: whatever strangers call themselves, nothing that people read is broken or fooled by it, and they are freed`, async (t) => {
    const owner = await service.person("owner", "postgres");
    const stuck: Stuck[] = [];
    for (const name of nastyNames) stuck.push(await stick(service, owner, name));
    stuck.push(await stickBytes(service));
    const aside = await service.person("aside", "postgres");
    await aside.query("begin; lock table public.audit");
    await aside.query(`prepare transaction 'g\u001b[2J\u202e\r\nBcc: x'`);
    const sql = "select pid::text from pg_stat_activity where wait_event_type = 'Lock'";
    const waiting = await eventually(async () => {
      const { rows } = await service.admin.query<{ pid: string }>(sql);
      return rows.length === stuck.length && rows;
    });
    const explainOne = ["explain", waiting[0]?.pid ?? ""];
    const observer = await place(configOf(service.url, "observe"));
    await assertCommands(observer, [
      ["once"],
      ["once", "--json"],
      explainOne,
      ["explain", "--json"],
      ["tree"],
      ["tree", "--json"],
    ]);
    const bytes = await place(configOf(service.postgres.url("lockwarden", "bytes"), "observe"));
    await assertCommands(bytes, [["explain"], ["tree", "--json"]]);
    await freed(t, service, stuck);
    await owner.query("rollback prepared 'g\u001b[2J\u202e\r\nBcc: x'");
    for (const { people } of stuck) for (const one of people) await one.end().catch(() => undefined);
  });
}
