import assert from "node:assert/strict";
import { chmod, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { actOf, intentsOf, noticesOf, outcomesOf } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService, pidOf } from "../support/login-service.ts";
import { swallower } from "../support/swallower.ts";

const service = await loginService({ major: 18, settings: { deadlock_timeout: "30s" } });

type Given = Readonly<{
  application: string;
  steps: string;
  poll?: string;
  queryFor?: string;
  more?: string;
  target?: string;
}>;

function config({ application, steps, poll = "200ms", queryFor = "1s", more = "", target = "" }: Given): string {
  return `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: "${poll}", leader_database: app${target}}]
rules:
  - {name: ladder, match: {state: active, query_for: ${queryFor}, applications: [${application}]}, steps: ${steps}}
${more}`;
}

const ladder = "[notify, {wait: 1s}, cancel, {wait: 1s}, terminate]";

async function ready(daemon: Running): Promise<void> {
  await eventually("it has connected", () => daemon.said().includes("connected to"));
}

async function reloads(here: Place, code = "reload"): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter((one) => one.event === "reload" && one.reason.code === code);
}

/** As an editor does it: nobody reads half of it. */
async function put(here: Place, text: string): Promise<void> {
  const next = join(here.folder, "next.yaml");
  await writeFile(next, `${text}\nstate_dir: ${here.stateDir}\n`);
  await rename(next, here.config);
}

/** A storm ends, even if what it waits for never comes. */
function bounded(isOver: () => boolean): () => boolean {
  const until = performance.now() + 60_000;
  return () => isOver() || performance.now() > until;
}

/** Updates rows until it is stopped; how often. */
async function write(id: number, isOver: () => boolean): Promise<number> {
  const person = await service.person("writer");
  let count = 0;
  for (; !isOver(); count++) {
    await person.query("begin");
    await person.query("update public.user_session set seen = now() where id = $1", [id]);
    await person.query("commit");
  }
  return count;
}

/** The longest the daemon's reader went without a statement, in ms by the server's clock. */
async function longestGap(isOver: () => boolean): Promise<{ gapMs: number; looks: number }> {
  const sql = `select extract(epoch from query_start) * 1000 as at from pg_stat_activity
    where application_name = 'lockwarden' and query like '%lockwarden:activity%'`;
  const seen = new Set<number>();
  while (!isOver()) {
    const { rows } = await service.admin.query<{ at: string }>(sql);
    for (const { at } of rows) seen.add(Number(at));
    await pause(10);
  }
  const moments = [...seen].sort((one, other) => one - other);
  return { gapMs: Math.max(...moments.slice(1).map((at, i) => at - (moments[i] ?? 0))), looks: moments.length };
}

test("a storm of reloads, changed, broken, vanished and restored, in the middle of a ladder and under load: each step is taken once, and no look is lost", async (t) => {
  const given = { application: "stormy", steps: ladder };
  const here = await place(config({ ...given, more: "verify_for: 500ms" }));
  const daemon = here.run();
  await ready(daemon);
  let over = false;
  const isOver = bounded(() => over);
  const load = Promise.all([write(11, isOver), write(12, isOver), write(12, isOver)]);
  const { pid, ended } = await swallower(service, "stormy", 1);
  const watching = longestGap(isOver);
  void ended.then(() => {
    over = true;
  });
  let sent = 0;
  for (; !isOver(); sent++) {
    const other = `  - {name: other, match: {transaction_for: ${sent + 1}h, applications: [nobody]}, steps: [notify]}\nverify_for: 500ms`;
    if (sent % 4 === 1) await put(here, "mode: enforce\nrulez: []");
    else if (sent % 4 === 2) await rm(here.config);
    else await put(here, config({ ...given, more: other }));
    daemon.child.kill("SIGHUP");
    await pause(20);
  }
  const [writes, { gapMs, looks }] = await Promise.all([load, watching]);
  await put(here, config({ ...given, more: "verify_for: 501ms" }));
  daemon.child.kill("SIGHUP");
  await eventually("the outcome is on record", async () => (await outcomesOf(here)).length === 2);
  await eventually("the last one is in force", () => /the config is in order again/.test(daemon.said()));
  assert.deepEqual((await intentsOf(here)).map(actOf), [`cancel ${pid}`, `terminate ${pid}`]);
  assert.equal(noticesOf(daemon).filter((text) => text.startsWith("opened")).length, 1);
  assert.deepEqual(await reloads(here, "rule-changed"), []);
  assert.deepEqual(await reloads(here, "rule-removed"), []);
  assert.equal(daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length, 1);
  const refused = daemon.lines().filter(({ msg }) => String(msg).startsWith("the changed config is refused"));
  assert.ok(
    refused.some(({ msg }) => String(msg).includes("rulez")) &&
      refused.some(({ msg }) => String(msg).includes("readable")),
  );
  // Whatever the machine is busy with: far from a look that never came.
  assert.ok(gapMs < 5_000, `${gapMs} ms without a look`);
  const written = writes.reduce((sum, one) => sum + one, 0);
  t.diagnostic(
    `${sent} SIGHUPs, ${(await reloads(here)).length} configs put in force, ${looks} looks with poll 200ms, the longest gap ` +
      `${Math.round(gapMs)} ms, ${written} transactions written meanwhile`,
  );
});

test("a look that is due by a ladder's wait is made at its moment, though the config is reloaded before and `poll` is a schedule", async () => {
  const given = { application: "scheduled", steps: ladder, poll: "0 0 3 29 2 *", more: "verify_for: 300ms" };
  const here = await place(config(given));
  const daemon = here.run();
  await ready(daemon);
  const { pid, ended } = await swallower(service, "scheduled", 2);
  const long = "select 1 from pg_stat_activity where pid = $1 and query_start < clock_timestamp() - interval '1 s'";
  await eventually("it matches", async () => (await service.admin.query(long, [pid])).rowCount === 1);
  // The only look that anybody asks for.
  assert.equal((await lockwarden(["once", "--config", here.config])).code, 0);
  let over = false;
  const isOver = bounded(() => over);
  void ended.then(() => {
    over = true;
  });
  for (let minute = 0; !isOver(); minute++) {
    await put(here, config({ ...given, poll: `${minute % 60} 0 3 29 2 *` }));
    daemon.child.kill("SIGHUP");
    await pause(100);
  }
  await eventually("the outcome is on record", async () => (await outcomesOf(here)).length === 2);
  assert.deepEqual((await intentsOf(here)).map(actOf), [`cancel ${pid}`, `terminate ${pid}`]);
});

test("a rule that is changed in the middle of its ladder drops it, tells who had been told, and begins anew", async () => {
  const given = { application: "rewritten", more: "verify_for: 3s" };
  const here = await place(config({ ...given, steps: "[notify, {wait: 1h}, terminate]" }));
  const daemon = here.run();
  const { pid, ended } = await swallower(service, "rewritten", 3);
  await eventually("people are told", () => noticesOf(daemon).length === 1);
  await put(here, config({ ...given, steps: "[notify, {wait: 500ms}, terminate]" }));
  daemon.child.kill("SIGHUP");
  await ended;
  await eventually("the end is told", () => noticesOf(daemon).length === 4);
  assert.deepEqual((await intentsOf(here)).map(actOf), [`terminate ${pid}`]);
  const dropped =
    `rule ladder: the reloaded config changed it; its ladder for session ${pid} is dropped before its terminate; ` +
    "if it still matches, a new one begins from the first step";
  const told = noticesOf(daemon);
  assert.deepEqual(
    told.map((text) => text.split(" ")[0]),
    ["opened", "changed", "opened", "resolved"],
  );
  assert.equal(told[1], `changed ${dropped}`);
  const [event, ...more] = await reloads(here, "rule-changed");
  assert.ok(event?.event === "reload");
  assert.deepEqual([event.target, event.reason.text, more], ["app", dropped, []]);
});

for (const [what, cause, change] of [
  ["without its rule", "rule-removed", { application: "nobody", steps: "[terminate]", rename: true }],
  ["with another connection to its target", "connection-changed", { target: ", statement_timeout: 4s" }],
] as const) {
  test(`an act that is being proved when a config ${what} comes ends under its own settings, and is told`, async () => {
    const application = `proved-${cause}`;
    const given = { application, steps: "[cancel, {wait: 1h}, terminate]" };
    const here = await place(config({ ...given, more: "verify_for: 3s" }));
    const daemon = here.run();
    await ready(daemon);
    const { pid, person } = await swallower(service, application, 4);
    await eventually("the cancel is out", async () => (await intentsOf(here)).length === 1);
    const changed = config({ ...given, ...change, more: "verify_for: 1ms" });
    await put(here, "rename" in change ? changed.replace("name: ladder", "name: renamed") : changed);
    daemon.child.kill("SIGHUP");
    const [event] = await eventually("the ladder is dropped", async () => {
      const found = await reloads(here, cause);
      return found.length > 0 ? found : null;
    });
    assert.ok(event?.event === "reload");
    assert.match(event.reason.text, /is dropped before its terminate/);
    const [outcome] = await eventually("its outcome is on record", async () => {
      const found = await outcomesOf(here);
      return found.length > 0 ? found : null;
    });
    assert.equal(outcome?.outcome.kind, "survived");
    assert.ok((outcome?.outcome.tookMs ?? 0) > 2_000, `${outcome?.outcome.tookMs} ms: it was cut short`);
    assert.deepEqual((await intentsOf(here)).map(actOf), [`cancel ${pid}`]);
    const connected = cause === "connection-changed" ? 2 : 1;
    await eventually("it watches on", () => {
      return daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length === connected;
    });
    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended).code, 0);
    await service.admin.query("select pg_terminate_backend($1::int)", [pid]);
    person.removeAllListeners("end");
  });
}

test("a reload that makes another connection does not take the next in the queue: the cooldown goes on", async () => {
  const given = (target: string) => `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 200ms, leader_database: app${target}}]
rules:
  - name: ladder
    match: {state: idle in transaction, applications: [queued], blocks: {tables: [public.user_session], for: 300ms}}
    cooldown: 1h
    steps: [terminate]`;
  const here = await place(given(""));
  const daemon = here.run();
  await ready(daemon);
  const queue = [await service.person("queued"), await service.person("queued"), await service.person("queued")];
  const [first, second, third] = queue;
  assert.ok(first && second && third);
  const lock = "select from public.user_session where id = 15 for update";
  for (const one of queue) await one.query("begin");
  await first.query(lock);
  const pid = await pidOf(second);
  const next = second.query(lock);
  const waits = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
  let isThrough = false;
  void next.then(() => {
    isThrough = true;
  });
  await eventually(
    "the next one waits",
    async () => isThrough || (await service.admin.query(waits, [pid])).rowCount === 1,
  );
  const last = third.query(lock);
  await next;
  const spared = () =>
    daemon.lines().filter(({ msg }) => /session \d+,.* is spared \(cooldown\)/.test(String(msg))).length;
  await eventually("the next one is left alone", () => spared() === 1);
  await put(here, given(", statement_timeout: 4s"));
  daemon.child.kill("SIGHUP");
  await eventually("it is judged anew", async () => spared() === 2 || (await intentsOf(here)).length > 1);
  assert.equal((await intentsOf(here)).length, 1);
  await second.query("rollback");
  await last;
  await third.query("rollback");
});

test("a target that the reloaded config has no more is not looked at again, and no rule that came with it finds anybody there", async () => {
  const given = { application: "left", steps: "[notify, {wait: 1h}, terminate]" };
  const here = await place(config(given));
  const daemon = here.run();
  const { pid } = await swallower(service, "left", 5);
  await eventually("people are told", () => noticesOf(daemon).length === 1);
  const elsewhere = config({ ...given, steps: "[terminate]" })
    .replace("name: app", "name: elsewhere")
    .replace(service.url, "postgres://nobody@127.0.0.1:1/none");
  await put(here, elsewhere);
  daemon.child.kill("SIGHUP");
  await eventually("the reload is over", async () => (await reloads(here)).length === 1);
  await eventually("it is on record", async () => (await reloads(here, "target-removed")).length === 1);
  const dropped = "changed rule ladder: the reloaded config has this target no more";
  await eventually("it is told", () => noticesOf(daemon).at(-1)?.startsWith(dropped));
  assert.deepEqual(await intentsOf(here), []);
  const lives = await service.admin.query("select 1 from pg_stat_activity where pid = $1", [pid]);
  assert.equal(lives.rowCount, 1);
  await service.admin.query("select pg_terminate_backend($1::int)", [pid]);
});

test("a refused config is told once with its place and logged with all mistakes, and so is its return to order", async () => {
  const given = { application: "quiet", steps: "[terminate]" };
  const here = await place(config(given));
  const daemon = here.run();
  await ready(daemon);
  const refused = (level: string) =>
    daemon.lines().filter((line) => line["level"] === level && String(line["msg"]).includes("config is refused"));
  for (const [count, text] of [
    [1, "mode: sometimes\nrulez: []"],
    [2, "mode: never\nrulez: []"],
  ] as const) {
    await put(here, text);
    daemon.child.kill("SIGHUP");
    await eventually(`refused ${count}`, () => refused("error").length === count);
  }
  const [first] = refused("error");
  assert.ok(Array.isArray(first?.["mistakes"]) && first["mistakes"].length >= 3);
  const told = () => daemon.lines().filter(({ phase }) => phase === "system");
  await eventually("it is told", () => told().length > 0);
  assert.equal(told().length, 1);
  assert.match(String(told()[0]?.["msg"]), /lockwarden\.yaml:1:\d+ .*\(and \d+ more in the log\)$/);
  for (const count of [1, 2]) {
    await put(here, config(given));
    daemon.child.kill("SIGHUP");
    await eventually("the reload is over", async () => (await reloads(here)).length === count);
  }
  await eventually("it is told", () => told().length > 1);
  assert.deepEqual(
    told()
      .slice(1)
      .map(({ msg }) => msg),
    ["the config is in order again, and in force"],
  );
});

test("systemd hears RELOADING and READY in turn, and READY last, however fast the signals come", async () => {
  const given = { application: "notified", steps: "[terminate]" };
  const here = await place(config(given));
  const told = join(here.folder, "told");
  const program = join(here.folder, "systemd-notify");
  await writeFile(program, `#!/bin/sh\nprintf '%s|' "$@" >> ${told}; echo >> ${told}\n`);
  await chmod(program, 0o755);
  const daemon = here.run({ NOTIFY_SOCKET: "/run/notify", PATH: `${here.folder}:${process.env["PATH"]}` });
  const phases = async () => (await readFile(told, "utf8").catch(() => "")).match(/READY|RELOADING/g) ?? [];
  await eventually("it is ready", async () => (await phases()).length === 1);
  for (let signal = 0; signal < 30; signal++) {
    await put(here, signal % 3 === 1 ? "rulez: []" : config({ ...given, more: `verify_for: ${signal + 1}s` }));
    daemon.child.kill("SIGHUP");
    await pause(5);
  }
  await put(here, config({ ...given, more: "verify_for: 99s" }));
  const before = (await reloads(here)).length;
  daemon.child.kill("SIGHUP");
  await eventually("the last one is in force", async () => (await reloads(here)).length > before);
  const heard = await eventually("systemd has heard all", async () => {
    const now = await phases();
    return now.length % 2 === 1 && now.at(-1) === "READY" ? now : null;
  });
  assert.ok(heard.length >= 3);
  assert.deepEqual(
    heard,
    heard.map((_, at) => (at % 2 === 0 ? "READY" : "RELOADING")),
  );
});
