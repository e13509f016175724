import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "../support/lockwarden.ts";
import { abandon, loginService } from "../support/login-service.ts";
import { type Called, called } from "../support/persons.ts";
import { eventually } from "../support/servers.ts";
import { inTerminal, pseudoTerminals, type TerminalRun } from "../support/terminal.ts";

const skip = await pseudoTerminals().then((there) => (there === true ? false : there));
const service = await loginService();
const rules = "rules: [{name: r, match: {idle_for: 1h, blocks: {waiters: 1}}, steps: [notify]}]";
const size = { columns: 100, rows: 30 };

type Asking = Readonly<{ victim: Called; run: TerminalRun; eventsOf(): Promise<readonly string[]> }>;

/** Somebody has abandoned a row, and a person is asked about it. */
async function asked(
  words: readonly string[],
  question: RegExp,
  prepare?: (victim: Called) => Promise<void>,
): Promise<Asking> {
  const here = await place(`targets: [{name: app, url: "${service.url}"}]\nverify_for: 3s\n${rules}`);
  const victim = await called(service, "web-1");
  await (prepare ?? (({ client }) => abandon(client, 1)))(victim);
  const run = inTerminal([...words, victim.handle, "--config", here.config], size);
  await eventually(() => question.test(run.written()));
  return { victim, run, eventsOf: async () => (await here.journal()).map(({ event }) => event) };
}

const terminate = /terminate it, whatever it is doing by then\? \[y\/N\] $/;

for (const answer of ["y\n", "YES\n"]) {
  test(`on a terminal kill shows what it found and asks; ${answer.trim()} goes ahead`, { skip }, async () => {
    const { victim, run, eventsOf } = await asked(["kill"], terminate);
    const shown = run.written();
    assert.match(
      shown,
      new RegExp(`${victim.handle} {2}user login_service, database app, web-1 from 127\\.0\\.0\\.1\\r\\n`),
    );
    assert.match(shown, /idle in transaction for .*; transaction open for .*, has written\r\n/);
    assert.match(shown, /last statement: update public\.user_session set seen = now\(\) where id = \$1\r\n/);
    assert.match(shown, /waits for nobody, blocks nobody\r\n/);
    assert.equal(await victim.isThere(), true);
    assert.deepEqual(await eventsOf(), []);
    run.type(answer);
    const { code, out } = await run.ended;
    assert.equal(code, 0, out);
    assert.match(out, /app: terminate \S+: released: the session is gone; .*\r\n$/);
    assert.equal(await victim.isThere(), false);
    assert.deepEqual(await eventsOf(), ["intent", "outcome"]);
  });
}

for (const [name, answer] of [
  ["n", "n\n"],
  ["an empty line", "\n"],
  ["something else", "yes please\n"],
  ["the end of the input", "\u0004"],
] as const) {
  test(`${name} sends nothing`, { skip }, async () => {
    const { victim, run, eventsOf } = await asked(["kill", "--immediate"], terminate);
    run.type(answer);
    const { code, out } = await run.ended;
    assert.equal(code, 1, out);
    assert.match(out, /nothing was sent\r\n$/);
    assert.equal(await victim.isThere(), true);
    assert.deepEqual(await eventsOf(), []);
    await victim.client.query("rollback");
  });
}

test("Ctrl-C at the question sends nothing", { skip }, async () => {
  const { victim, run, eventsOf } = await asked(["kill"], terminate);
  run.type("\u0003");
  assert.notEqual((await run.ended).code, 0);
  assert.equal(await victim.isThere(), true);
  assert.deepEqual(await eventsOf(), []);
  await victim.client.query("rollback");
});

test("the answer counts for the session, whatever it does by then", { skip }, async () => {
  const { victim, run } = await asked(["kill"], terminate);
  await victim.client.query("commit; begin; update public.audit set note = 'other'");
  run.type("y\n");
  const { code, out } = await run.ended;
  assert.equal(code, 0, out);
  assert.match(out, /: released: the session is gone; /);
});

test("who ended while somebody thought about it is gone", { skip }, async () => {
  const { victim, run, eventsOf } = await asked(["kill"], terminate);
  await victim.client.end();
  await eventually(async () => !(await victim.isThere()));
  run.type("y\n");
  const { code, out } = await run.ended;
  assert.equal(code, 1, out);
  assert.match(out, /: gone: no client of app is .*; nothing was sent\r\n$/);
  assert.deepEqual(await eventsOf(), []);
});

test("the question says what would be sent: a cancel, or a cancel before the terminate", { skip }, async () => {
  const busy = async (victim: Called) => {
    void victim.start("select pg_sleep(600)");
    await victim.shows("state = 'active' and query like '%600%'");
  };
  const gentle = await asked(
    ["kill"],
    /\ncancel its statement, then terminate it, whatever it is doing by then\? \[y\/N\] $/,
    busy,
  );
  gentle.run.type("n\n");
  assert.equal((await gentle.run.ended).code, 1);
  const { victim, run } = await asked(
    ["cancel"],
    /\ncancel its statement, whatever it is doing by then\? \[y\/N\] $/,
    busy,
  );
  run.type("y\n");
  const { code, out } = await run.ended;
  assert.equal(code, 0, out);
  assert.match(out, /app: cancel \S+: released: its statement and its transaction are over; /);
  assert.equal(await victim.isThere(), true);
});
