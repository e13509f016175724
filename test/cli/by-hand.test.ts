import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { sight } from "../../src/core/by-hand.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { ownStateDir } from "../../src/state-dir.ts";
import { assertEnded } from "../support/clean-output.ts";
import { type Ended, lockwarden, type Place, place } from "../support/lockwarden.ts";
import { abandon, type LoginService, logIn, loginService } from "../support/login-service.ts";
import { called, deafToCancel } from "../support/persons.ts";
import { outerMajors } from "../support/servers.ts";
import { snapshot } from "../support/snapshot.ts";

// Only who asks for it waits for a replica, which is nowhere.
const settings = { synchronous_standby_names: "nowhere", synchronous_commit: "local" };
const services: LoginService[] = [];
for (const major of outerMajors()) services.push(await loginService({ major, settings }));
const newest = services.at(-1) as LoginService;

const rules = "rules: [{name: r, match: {idle_for: 1h, blocks: {waiters: 1}}, steps: [notify]}]";

/** In mode observe, which does not hold a person back. */
function configOf(url: string, more = ""): string {
  return `targets: [{name: app, url: "${url}"}]\nverify_for: 1500ms\n${rules}\n${more}`;
}

function run(here: Place, ...words: string[]): Promise<Ended> {
  return lockwarden([...words, "--config", here.config]);
}

const brief = (event: JournalEvent) =>
  "decision" in event
    ? `${event.event} ${event.decision.action}`
    : "outcome" in event
      ? event.outcome.kind
      : event.event;
const whoAsked = /^user \S+ \(uid \d+\)|^uid \d+/;

for (const [index, service] of services.entries()) {
  const major = outerMajors()[index];

  test(`${major}: kill ends whoever abandoned a transaction, in mode observe too, and the journal says who asked`, async () => {
    const here = await place(configOf(service.url));
    const victim = await called(service, "web-1");
    await abandon(victim.client, 1);
    const waiter = await called(service, "web-2");
    const login = logIn(waiter.client, 1);
    await waiter.shows("wait_event_type = 'Lock'");
    const ended = await run(here, "kill", victim.handle, "--yes");
    assertEnded(ended, {
      code: 0,
      out: new RegExp(
        `^app: terminate ${victim.handle}: released: the session is gone; 1 session freed after \\d+ m?s\\n$`,
      ),
      err: /^app at .* UTC\n\d+,\S+ {2}user login_service, database app, web-1 from 127\.0\.0\.1\n {2}idle in transaction for .*; transaction open for .*, has written\n {2}last statement: update public\.user_session .* = \$1\n {2}blocks 1 session on public\.user_session.*; waits for nobody\n {2}behind it: \d+\n$/,
    });
    await login;
    const events = await here.journal();
    assert.deepEqual(events.map(brief), ["intent terminate", "released"]);
    const [intent] = events;
    assert.ok(intent?.event === "intent");
    assert.equal(intent.decision.rule, "by hand");
    assert.match(
      intent.decision.reason.text,
      /^asked for by (?:user|uid) .*: idle in transaction, blocks \d+; the cancel is passed/,
    );
    for (const { by = "" } of events) assert.match(by, whoAsked);
    const again = await run(here, "kill", victim.handle, "--yes");
    assertEnded(again, {
      code: 1,
      out: new RegExp(`^app: ${victim.handle}: gone: no client of app is .*; nothing was sent\\n$`),
    });
    assert.equal((await here.journal()).length, 2);
  });

  test(`${major}: cancel ends the statement and leaves the session, and says which`, async () => {
    const here = await place(configOf(service.url));
    const victim = await called(service, "web-1");
    const running = victim.start("select pg_sleep(600)");
    await victim.shows("state = 'active' and query like '%600%'");
    const ended = await run(here, "cancel", victim.handle, "--yes");
    assertEnded(ended, {
      code: 0,
      out: new RegExp(`^app: cancel ${victim.handle}: released: its statement and its transaction are over; .*\\n$`),
      err: / {2}statement: select pg_sleep\(\?\)\n/,
    });
    assert.match(String(await running), /canceling statement due to user request/);
    assert.equal(await victim.isThere(), true);
    assertEnded(await run(here, "cancel", victim.handle, "--yes"), {
      code: 1,
      out: /: failed: there is nothing to cancel: it is idle and runs no statement; to end the session: kill; nothing was sent\n$/,
    });
    assert.deepEqual((await here.journal()).map(brief), ["intent cancel", "released"]);
  });

  test(`${major}: a cancel behind a savepoint, whose locks stay, has survived, and says why`, async () => {
    const here = await place(configOf(service.url));
    const victim = await called(service, "web-1");
    await abandon(victim.client, 2);
    await victim.client.query("savepoint s");
    const running = victim.start("select pg_sleep(600)");
    const waiter = await called(service, "web-2");
    const login = logIn(waiter.client, 2);
    await waiter.shows("wait_event_type = 'Lock'");
    await victim.shows("state = 'active'");
    const ended = await run(here, "cancel", victim.handle, "--yes");
    assertEnded(ended, {
      code: 1,
      out: /: survived: its statement is over, but its transaction is open and 1 session still waits for its locks .* after the cancel\n$/,
      err: /behind it/,
    });
    await running;
    const killed = await run(here, "kill", victim.handle, "--immediate", "--yes");
    assertEnded(killed, { code: 0, out: /^app: terminate \S+: released: [^\n]*\n$/, err: /behind it/ });
    await login;
  });

  test(`${major}: a cancel that is swallowed has survived; kill goes on to terminate`, async () => {
    const here = await place(configOf(service.url));
    const victim = await called(service, "web-1");
    void victim.start(deafToCancel);
    await victim.shows("wait_event = 'PgSleep'");
    const survived = /^app: cancel \S+: survived: its statement still runs \d+ m?s after the cancel\n/;
    assertEnded(await run(here, "cancel", victim.handle, "--yes"), { code: 1, out: survived, err: /^app at/ });
    assert.equal(await victim.isThere(), true);
    const killed = await run(here, "sql", `ALTER SYSTEM KILL SESSION '${victim.handle}'`, "--yes");
    assertEnded(killed, { code: 0, out: survived, err: /^app at/ });
    assert.match(
      killed.out,
      /\napp: terminate \S+: released: the session is gone; its locks are free after \d+ m?s\n$/,
    );
    assert.equal(await victim.isThere(), false);
    assert.deepEqual((await here.journal()).map(brief), [
      "intent cancel",
      "survived",
      "intent cancel",
      "survived",
      "intent terminate",
      "released",
    ]);
  });

  test(`${major}: whoever waits for a replica to confirm his commit is refused, whatever is lifted`, async () => {
    const here = await place(configOf(service.url));
    const victim = await called(service, "web-1");
    void victim.start(
      "set synchronous_commit = on; update public.audit set note = ''; insert into public.audit values (9, '')",
    );
    await victim.shows("wait_event = 'SyncRep'");
    for (const words of [["kill"], ["kill", "--immediate"], ["cancel"]]) {
      const ended = await run(here, ...words, victim.handle, "--yes", "--lift-protection");
      assertEnded(ended, {
        code: 1,
        out: /: refused: it waits for a standby to confirm its commit, and nothing lifts that; nothing was sent\n$/,
      });
    }
    assert.equal(await victim.isThere(), true);
    assert.deepEqual(await here.journal(), []);
    await service.admin.query("select pg_terminate_backend($1)", [victim.pid]);
  });
}

test("a cancel behind a savepoint, whose locks nobody waits for, has done what it can, and says what stays", async () => {
  const here = await place(configOf(newest.url));
  const victim = await called(newest, "web-1");
  await abandon(victim.client, 3);
  await victim.client.query("savepoint s");
  void victim.start("select pg_sleep(600)");
  await victim.shows("state = 'active' and query like '%600%'");
  const text = "its statement is over; its transaction is still open, but keeps nobody waiting; ";
  assertEnded(await run(here, "cancel", victim.handle, "--yes"), {
    code: 0,
    out: new RegExp(`^app: cancel ${victim.handle}: released: ${text}`),
    err: /^app at/,
  });
  await victim.client.query("rollback");
});

test("what is asked of a daemon names the very session that was shown", async () => {
  const here = await place(configOf(newest.url));
  const owned = await ownStateDir(here.stateDir);
  assert.ok(owned.kind === "owned");
  const victim = await called(newest, "web-1");
  const look = snapshot().session(Number(victim.pid), { idle: "1m", sessionId: victim.handle.split(",")[1] ?? "" });
  const who = { pid: victim.pid, sessionId: victim.handle.split(",")[1] ?? "" };
  const seen = sight(
    look.build(),
    { ...who, identity: null, way: "gentle", lift: false },
    { protection: () => null, show: () => null },
  );
  assert.ok(seen.kind === "found");
  const received: unknown[] = [];
  owned.serve((message) => {
    received.push(message);
    const { command } = message as { command: string };
    if (command === "status") return Promise.resolve({ pid: 1, paused: null, config: "other", file: "other" });
    if (command === "find") return Promise.resolve({ kind: "found", picture: seen.picture });
    return Promise.resolve({ outcome: "released", text: "the session is gone", steps: [] });
  });
  const ended = await run(here, "kill", victim.handle, "--yes", "--lift-protection");
  await owned.close();
  assert.equal(ended.code, 0, JSON.stringify(ended));
  const [, find, act] = received as Record<string, unknown>[];
  const asked = { ...who, identity: null, way: "gentle", lift: true };
  assert.deepEqual(find, { command: "find", target: "app", asked });
  const { by, ...rest } = act ?? {};
  assert.deepEqual(rest, { command: "byHand", target: "app", asked: { ...asked, identity: `started ${victim.pid}` } });
  assert.match(String(by), whoAsked);
});

test("the statement of the vendors does the same, at once with IMMEDIATE", async () => {
  const here = await place(configOf(newest.url));
  const victim = await called(newest, "web-1");
  void victim.start("select pg_sleep(600)");
  await victim.shows("state = 'active'");
  const [pid, id] = victim.handle.split(",");
  const ended = await run(here, "sql", `alter system kill session '${pid}, ${id}' immediate;`, "--yes", "--json");
  assertEnded(ended, { code: 0, out: /^\{.*\}\n$/, err: /^app at/ });
  const { steps, text, ...rest } = JSON.parse(ended.out) as Record<string, unknown> & { steps: { action: string }[] };
  assert.deepEqual(
    steps.map(({ action }) => action),
    ["terminate"],
  );
  assert.match(String(text), /^the session is gone/);
  const session = { pid, sessionId: id, user: "login_service", database: "app", application: "web-1" };
  assert.deepEqual(rest, {
    target: "app",
    session: { ...session, client: "127.0.0.1", state: "active" },
    outcome: "released",
  });
  assertEnded(await run(here, "sql", "select 1", "--yes"), {
    code: 2,
    err: /^lockwarden sql: expected ALTER SYSTEM KILL SESSION 'PID,SESSIONID' \[IMMEDIATE\], .* or SHOW \[FULL\] PROCESSLIST, and nothing else, got "select 1"\n$/,
  });
});

test("off a terminal nothing is done without --yes, and a pid alone or a malformed id is wrong usage", async () => {
  const here = await place(configOf(newest.url));
  const victim = await called(newest, "web-1");
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [["kill", victim.handle], /^lockwarden kill: nothing was sent: there is no terminal to ask on; --yes goes ahead/],
    [["cancel", victim.handle], /^lockwarden cancel: nothing was sent: .*--yes/],
    [
      ["kill", victim.pid, "--yes"],
      new RegExp(`got ${victim.pid}: a pid alone .*; the session of process \\d+ is ${victim.handle} now\\n$`),
    ],
    [["kill", "999999999", "--yes"], /a pid alone .*; no client of app is process 999999999: it has ended/],
    [["kill", `${victim.handle}0`, "--yes"], /expected a pid and a session id of the same process, got pid \d+ and/],
    [
      ["kill", "nobody", "--yes"],
      /expected a session as lockwarden tree and explain print it, such as .*, got "nobody"\n$/,
    ],
    [["kill", victim.handle, "--yes", "--target", "other"], /--target: expected one of app, got "other"\n$/],
    [["kill"], /missing required argument/],
  ];
  for (const [words, err] of refusals) assertEnded(await run(here, ...words), { code: 2, err });
  assert.equal(await victim.isThere(), true);
  assert.deepEqual(await here.journal(), []);
});

test("each of the commands has a help of its own that fits a terminal", async () => {
  for (const command of ["kill", "cancel", "sql"]) {
    const { code, out, err } = await lockwarden([command, "--help"]);
    assert.deepEqual([code, err], [0, ""]);
    for (const option of ["--target <name>", "--lift-protection", "--yes", "--json", "--config <file>"])
      assert.ok(out.includes(option), option);
    assert.equal(out.includes("--immediate"), command === "kill");
    assert.ok(out.split("\n").every((line) => line.length <= 80));
  }
});

test("a stale session id is gone, and whoever has the pid now lives", async () => {
  const here = await place(configOf(newest.url));
  const victim = await called(newest, "web-1");
  const stale = victim.handle.replace(/,[0-9a-f]+\./, ",5f000000.");
  assertEnded(await run(here, "kill", stale, "--immediate", "--yes"), {
    code: 1,
    out: new RegExp(`^app: ${stale}: gone: the session of process \\d+ is ${victim.handle} now; nothing was sent\\n$`),
  });
  assert.equal(await victim.isThere(), true);
});

test("who is protected is refused with the reason; lifted by name, the server still has a word", async () => {
  const here = await place(configOf(newest.url, "protect: {users: [login_service]}"));
  const listed = await called(newest, "web-1");
  const refused = /: refused: its user login_service is protected; --lift-protection lifts that; nothing was sent\n$/;
  assertEnded(await run(here, "kill", listed.handle, "--yes"), { code: 1, out: refused });
  assert.equal(await listed.isThere(), true);
  const lifted = await run(here, "kill", listed.handle, "--yes", "--lift-protection");
  assertEnded(lifted, { code: 0, out: /: released: /, err: /protected, and lifted by --lift-protection: its user/ });
  const root = await called(newest, "psql", "postgres");
  const superuser = /: refused: it belongs to a superuser; --lift-protection lifts that; nothing was sent\n$/;
  assertEnded(await run(here, "kill", root.handle, "--yes"), { code: 1, out: superuser });
  assertEnded(await run(here, "kill", root.handle, "--yes", "--lift-protection"), {
    code: 3,
    out: /^app: terminate \S+: denied: the server refused: .*\n$/,
    err: /protected, and lifted/,
  });
  assert.equal(await root.isThere(), true);
  assert.deepEqual((await here.journal()).map(brief), ["intent terminate", "released", "intent terminate", "denied"]);
});

test("Lockwarden's own sessions, and whoever looks like one of the same role, are refused", async () => {
  const here = await place(configOf(newest.url));
  const twin = await called(newest, "lockwarden", "lockwarden");
  assertEnded(await run(here, "kill", twin.handle, "--yes", "--lift-protection"), {
    code: 1,
    out: /: refused: it is one of Lockwarden's own sessions, and nothing lifts that; nothing was sent\n$/,
  });
  assert.equal(await twin.isThere(), true);
});

test("of several targets one has to be named, and the same process id on another is left alone", async () => {
  const [oldest] = services as [LoginService];
  const list = `targets: [{name: app, url: "${newest.url}"}, {name: other, url: "${oldest.url}"}]`;
  const here = await place(`${list}\nverify_for: 1500ms\n${rules}`);
  const victim = await called(newest, "web-1");
  assertEnded(await run(here, "kill", victim.handle, "--yes"), {
    code: 2,
    err: /^lockwarden kill: expected --target NAME, as the config has several targets: app, other\n$/,
  });
  if (oldest !== newest) {
    assertEnded(await run(here, "kill", victim.handle, "--yes", "--target", "other"), {
      code: 1,
      out: /^other: .*: gone: /,
    });
    assert.equal(await victim.isThere(), true);
  }
  const named = await run(here, "kill", victim.handle, "--yes", "--target", "app");
  assertEnded(named, { code: 0, out: /^app: terminate .*: released: /, err: /^app at/ });
});

test("who is hidden from the role is not called gone, and a server that cannot be reached is told as such", async (t) => {
  await newest.admin.query("create role blindfold login in role pg_signal_backend");
  t.after(() => newest.admin.query("drop role blindfold"));
  const victim = await called(newest, "web-1");
  const blind = await place(configOf(newest.postgres.url("blindfold", "app")));
  assertEnded(await run(blind, "kill", victim.handle, "--yes"), {
    code: 3,
    out: /: denied: \S+ does not show on app; \d+ sessions are hidden from our role.*pg_read_all_stats; nothing was sent\n$/,
  });
  const away = await place(configOf("postgres://lockwarden@127.0.0.1:1/app"));
  assertEnded(await run(away, "kill", victim.handle, "--yes"), {
    code: 3,
    out: /: unreachable: cannot connect to app .*; nothing was sent\n$/,
  });
  assert.equal(await victim.isThere(), true);
});

test("without a journal nothing is sent by hand either", async () => {
  const here = await place(configOf(newest.url));
  await mkdir(`${here.stateDir}/journal.jsonl`, { recursive: true });
  const victim = await called(newest, "web-1");
  const ended = await run(here, "kill", victim.handle, "--yes");
  assertEnded(ended, {
    code: 1,
    out: /: failed: the intent cannot be journalled, so nothing was sent/,
    err: /journal/,
  });
  assert.equal(await victim.isThere(), true);
});
