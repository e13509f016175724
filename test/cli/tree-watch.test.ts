import assert from "node:assert/strict";
import { test } from "node:test";
import { lockwarden, place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService } from "../support/login-service.ts";
import { client, eventually, server } from "../support/servers.ts";
import { silentProxy } from "../support/silent-proxy.ts";
import { inTerminal, pseudoTerminals, type TerminalRun } from "../support/terminal.ts";

const skip = await pseudoTerminals().then((there) => (there === true ? false : there));
const service = await loginService();
const other = await server();
const proxy = await silentProxy(other.port);
const crashed = await service.person("web-1");
await abandon(crashed, 1);
for (let number = 2; number <= 30; number++) {
  const waiter = await service.person(`web-${number}`);
  logIn(waiter, 1).catch(() => undefined);
}
await eventually(async () => {
  const { rows } = await service.admin.query<{ count: string }>(
    "select count(*) from pg_stat_activity where wait_event_type = 'Lock'",
  );
  return rows[0]?.count === "29";
});

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [notify]}]";
const here = await place(`targets: [{name: app, url: "${service.url}"}]\n${rules}`);
const beside = await place(
  `targets:
  - {name: slow, url: "postgres://postgres@127.0.0.1:${proxy.port}/postgres", statement_timeout: 1m}
  - {name: other, url: "${other.url()}"}
${rules}`,
);
const words = ["tree", "--watch", "--interval", "100ms", "--config"];
const size = { columns: 80, rows: 24 };

async function shows(run: TerminalRun, what: RegExp): Promise<readonly string[]> {
  try {
    return await eventually(() => (what.test(run.screen().join("\n")) ? run.screen() : null));
  } catch (error) {
    throw new Error(`the screen never showed ${what}: ${run.screen().join("\n")}`, { cause: error });
  }
}

/** The first screen is back, as it was, and so are the terminal's settings. */
async function assertGivenBack(run: TerminalRun): Promise<void> {
  const { code, out } = await run.ended;
  assert.equal(code, 0, out);
  assert.ok(!run.isAlternate());
  assert.deepEqual(
    run.screen().map((line) => line.replace(/\d+/, "N")),
    ["pid N"],
  );
  assert.ok(out.lastIndexOf("\u001b[?25h") > out.lastIndexOf("\u001b[?25l"), "the cursor is hidden");
  assert.ok(out.lastIndexOf("\u001b[?7h") > out.lastIndexOf("\u001b[?7l"), "lines are not wrapped");
}

test("in a terminal one look is cut to its width and coloured, but not with NO_COLOR", { skip }, async () => {
  const once = ["tree", "--config", here.config];
  const coloured = inTerminal(once, size);
  const { code, out } = await coloured.ended;
  assert.equal(code, 0);
  assert.ok(out.includes("\u001b[33m29 sessions wait for a lock"));
  const cut = coloured.screen().filter((line) => line.endsWith("…"));
  assert.ok(cut.length > 10);
  for (const line of cut) assert.equal(line.length, 80);
  const quiet = inTerminal(once, size, { NO_COLOR: "1" });
  assert.ok(!(await quiet.ended).out.includes("\u001b"));
  const piped = (await lockwarden(once)).out;
  assert.ok(!piped.includes("…") && !piped.includes("\u001b"), piped);
});

test("--watch fills the screen, cuts what does not fit, and gives the terminal back at Ctrl-C", { skip }, async () => {
  const run = inTerminal([...words, here.config], size);
  const lines = await shows(run, /web-1,/);
  assert.match(lines[0] ?? "", /^lockwarden tree, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 100 ms; q ends$/);
  assert.match(lines[2] ?? "", /^app \(postgres \S+\): 29 sessions wait for a lock, the longest for/);
  assert.ok(lines.some((line) => line.length === 80 && line.endsWith("…")));
  assert.match(lines.at(-1) ?? "", /and 18 more \(--all shows them\)$/);
  assert.ok(run.isAlternate());
  run.type("\u0003");
  await assertGivenBack(run);
});

test("a frame that is taller than the terminal ends with how much is missing", { skip }, async () => {
  const run = inTerminal([...words, here.config, "--all"], { columns: 80, rows: 12 });
  const lines = await shows(run, /more lines; a taller terminal shows them/);
  assert.equal(lines.length, 12);
  // The clock, a blank line, the header, three of the root, 29 waiters: 35, of which 11 show.
  assert.equal(lines.at(-1), "and 24 more lines; a taller terminal shows them");
  run.type("q");
  await assertGivenBack(run);
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  test(`--watch gives the terminal back at ${signal}`, { skip }, async () => {
    const run = inTerminal([...words, here.config], size);
    await shows(run, /web-1,/);
    run.signal(signal);
    await assertGivenBack(run);
  });
}

test("each frame is written over the last one, and nothing of it is left", { skip }, async () => {
  const run = inTerminal([...words, here.config], size);
  await shows(run, /web-1,/);
  const admin = await client(service.postgres.url());
  const stop = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'web-%'";
  await admin.query(stop);
  await admin.end();
  const lines = await shows(run, /nobody waits for a lock/);
  assert.equal(lines.length, 3);
  run.type("q");
  await assertGivenBack(run);
});

test("one that does not answer does not hide the others, and a lost one is told and tried again", {
  skip,
}, async () => {
  const run = inTerminal([...words, beside.config], size);
  await shows(run, /slow \(postgres [^]*other \(postgres .*\): nobody waits/);
  proxy.silence();
  const clock = (await shows(run, /no answer to a look for \d+ s/))[0] ?? "";
  await eventually(() => run.screen()[0] !== clock);
  assert.match(run.screen().join("\n"), /other \(postgres .*\): nobody waits/);
  const before = run.written().length;
  await other.restart("immediate");
  await eventually(() => /other: (?:cannot|the) connect[^]*again/.test(run.written().slice(before)));
  await shows(run, /other \(postgres .*\): nobody waits/);
  run.type("q");
  await assertGivenBack(run);
});
