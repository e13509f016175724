import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { readJournal } from "../../src/journal-lines.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

// One server for the file; each test has rows, applications and a daemon of its own.
const service = await loginService();

type Given = Readonly<{
  mode?: string;
  applications: string;
  match?: string;
  steps?: string;
  poll?: string;
  more?: string;
}>;

function config({
  mode = "enforce",
  applications,
  match,
  steps = "[terminate]",
  poll = "30s",
  more = "",
}: Given): string {
  const condition =
    match ?? "state: idle in transaction, idle_for: 1s, blocks: {tables: [public.user_session], for: 500ms}";
  return `
mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: "${poll}", leader_database: app}]
rules:
  - name: stuck-login
    match: {${condition}, applications: ["${applications}"]}
    steps: ${steps}
${more}`;
}

async function isAlive(pid: number): Promise<boolean> {
  const { rows } = await service.admin.query("select 1 from pg_stat_activity where pid = $1", [pid]);
  return rows.length === 1;
}

/** Who waited for its lock may have it before the server has taken the session off its list. */
async function isGone(pid: number): Promise<void> {
  await eventually(async () => !(await isAlive(pid)));
}

/** Abandons row `id`, and has somebody wait for it. */
async function stuck(application: string, id: number): Promise<{ victim: number; login: Promise<unknown> }> {
  const crashed = await service.person(application);
  const victim = await pidOf(crashed);
  await abandon(crashed, id);
  const login = logIn(await service.person("somebody"), id);
  login.catch(() => undefined);
  return { victim, login };
}

async function eventsOf(here: Place, kind: JournalEvent["event"]): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter(({ event }) => event === kind);
}

function connections(daemon: Running): number {
  return daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length;
}

test("observe, the default, tells once per incident and touches nobody", async () => {
  const here = await place(config({ mode: "observe", applications: "watched", poll: "200ms" }));
  const daemon = here.run();
  const { victim } = await stuck("watched", 1);
  await eventually(async () => (await eventsOf(here, "observed")).length > 0);
  const told = () => daemon.lines().filter(({ msg }) => String(msg).startsWith("would terminate session"));
  await eventually(() => told().length > 0);
  // Each asks the daemon for a look of its own.
  for (let look = 0; look < 3; look++) {
    const { code, out } = await lockwarden(["once", "--config", here.config]);
    assert.equal(code, 0);
    assert.match(out, /would terminate \d+,[0-9a-f.]+ \(login_service\).*mode is observe/);
  }
  assert.equal(await isAlive(victim), true);
  assert.equal(told().length, 1);
  assert.equal((await eventsOf(here, "observed")).length, 1);
  assert.equal((await eventsOf(here, "intent")).length, 0);
  await service.admin.query("select pg_terminate_backend($1)", [victim]);
});

test("the release comes at the threshold, not at the next poll", async () => {
  const here = await place(config({ applications: "prompt", poll: "1h" }));
  here.run();
  await eventually(async () => (await eventsOf(here, "start")).length > 0);
  const { victim, login } = await stuck("prompt", 2);
  await login;
  await isGone(victim);
});

test("with a cron expression as poll it looks at its moments, follows up what it saw, and not before", async () => {
  const here = await place(config({ applications: "scheduled", poll: "0 0 3 29 2 *" }));
  const daemon = here.run();
  const { victim, login } = await stuck("scheduled", 9);
  await eventually(() => connections(daemon) === 1);
  await here.write(config({ applications: "scheduled", poll: "0 0 4 29 2 *" }));
  daemon.child.kill("SIGHUP");
  await eventually(async () => (await eventsOf(here, "reload")).length === 1);
  assert.equal(await isAlive(victim), true);
  assert.equal(daemon.said().includes("waits for a lock"), false); // no look yet
  await here.write(config({ applications: "scheduled", poll: "* * * * * *" }));
  daemon.child.kill("SIGHUP");
  await login;
  await isGone(victim);
});

test("a daemon that only observes does not keep another one from acting, and gives the right back when it stops to act", async () => {
  const trial = await place(config({ applications: "tried", mode: "observe", poll: "200ms" }));
  const observing = trial.run();
  await eventually(() => observing.said().includes("nothing to do"));
  const here = await place(config({ applications: "tried", poll: "200ms" }));
  const acting = here.run();
  await eventually(() => connections(acting) === 1);
  await (await stuck("tried", 10)).login;
  assert.equal((await eventsOf(here, "intent")).length, 1);

  await here.write(config({ applications: "tried", mode: "observe", poll: "200ms" }));
  acting.child.kill("SIGHUP");
  await eventually(() => connections(acting) === 2);
  await trial.write(config({ applications: "tried", poll: "200ms" }));
  observing.child.kill("SIGHUP");
  await (await stuck("tried", 10)).login;
  assert.equal((await eventsOf(trial, "intent")).length, 1);
});

test("what the role lacks is told at the start, with the SQL that grants it", async () => {
  await service.admin.query("create role shortsighted login");
  const url = service.postgres.url("shortsighted", "app");
  const here = await place(config({ applications: "anybody" }).replace(service.url, url));
  const daemon = here.run();
  const told = await eventually(() => daemon.lines().find(({ msg }) => String(msg).includes("lacks what is needed")));
  assert.match(String(told["msg"]), /grant pg_read_all_stats to "?shortsighted"?/);
  assert.equal(told["level"], "error");
});

test("a second daemon on the same state folder is refused, and the first goes on", async () => {
  const here = await place(config({ applications: "nobody" }));
  const daemon = here.run();
  await eventually(() => connections(daemon) === 1);
  const second = await lockwarden(["run", "--config", here.config]);
  assert.equal(second.code, 1);
  assert.match(second.err, /another lockwarden owns/);
  assert.equal(daemon.child.exitCode, null);
});

test("SIGTERM in the middle of a verification ends it with its outcome on record, and with code 0", async () => {
  const here = await place(
    config({
      applications: "stubborn",
      match: "state: active, query_for: 500ms",
      steps: "[cancel]",
      more: "verify_for: 1m",
    }),
  );
  const daemon = here.run();
  await eventually(() => connections(daemon) === 1);
  const stubborn = await service.person("stubborn");
  await stubborn.query("begin");
  await stubborn.query("savepoint a");
  const swallowed = stubborn.query(
    "do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(60); end $$",
  );
  swallowed.catch(() => undefined);
  await eventually(async () => (await eventsOf(here, "intent")).length === 1);
  daemon.child.kill("SIGTERM");
  assert.deepEqual((await daemon.ended).code, 0);
  const [outcome] = await eventsOf(here, "outcome");
  assert.ok(outcome?.event === "outcome");
  assert.equal(outcome.outcome.kind, "survived");
  assert.equal((await eventsOf(here, "stop")).length, 1);
  await service.admin.query("select pg_terminate_backend($1)", [
    (stubborn as unknown as { processID: number }).processID,
  ]);
});

test("a cancel that is swallowed goes on to terminate", async () => {
  const here = await place(
    config({
      applications: "swallower",
      match: "state: active, query_for: 500ms",
      steps: "[cancel, {wait: 300ms}, terminate]",
      more: "verify_for: 3s",
    }),
  );
  here.run();
  const swallower = await service.person("swallower");
  const pid = await pidOf(swallower);
  const query = swallower.query(
    "do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(60); end $$",
  );
  await assert.rejects(query);
  await eventually(async () => (await eventsOf(here, "outcome")).length === 2);
  const acts = await here.journal();
  assert.deepEqual(
    acts.flatMap((event) =>
      event.event === "intent" ? [event.decision.action] : event.event === "outcome" ? [event.outcome.kind] : [],
    ),
    ["cancel", "survived", "terminate", "released"],
  );
  await isGone(pid);
});

test("a session that is idle is terminated without a cancel, and the journal says why", async () => {
  const here = await place(config({ applications: "idler", steps: "[cancel, {wait: 1m}, terminate]" }));
  here.run();
  const { login } = await stuck("idler", 3);
  await login;
  const [intent] = await eventually(async () => {
    const found = await eventsOf(here, "intent");
    return found.length > 0 && found;
  });
  assert.ok(intent?.event === "intent");
  assert.equal(intent.decision.action, "terminate");
  assert.match(intent.decision.reason.text, /cancel is passed over: it does nothing to an idle session/);
});

test("SIGHUP puts a changed config in force, and a broken one is refused while the old one stays", async () => {
  const given = { applications: "reloaded", poll: "200ms" };
  const here = await place(config({ ...given, mode: "observe" }));
  const daemon = here.run();
  await eventually(() => connections(daemon) === 1);
  const { victim, login } = await stuck("reloaded", 4);
  await eventually(async () => (await eventsOf(here, "observed")).length === 1);

  await here.write("mode: enforce\nrulez: []");
  daemon.child.kill("SIGHUP");
  const refused = await eventually(() => daemon.lines().find(({ msg }) => String(msg).includes("refused")));
  assert.match(String(refused["msg"]), /lockwarden\.yaml:\d+:\d+ rulez: .*rules/);
  assert.equal(await isAlive(victim), true);

  await here.write(config(given));
  daemon.child.kill("SIGHUP");
  await login;
  await isGone(victim);
  assert.equal((await eventsOf(here, "reload")).length, 1);
  assert.equal(connections(daemon), 1); // the connection stayed
});

test("a killed connection never ends the daemon: it says so once, connects again, and acts", async () => {
  const here = await place(config({ applications: "afterwards" }));
  const daemon = here.run();
  await eventually(() => connections(daemon) === 1);
  const own = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockwarden'";
  await service.admin.query(own);
  await eventually(() => connections(daemon) === 2);
  const { login } = await stuck("afterwards", 5);
  await login;
  assert.equal(daemon.child.exitCode, null);
  const errors = daemon.lines().filter(({ level }) => level === "error");
  assert.equal(errors.length, 1, JSON.stringify(errors));
});

test("an intent that a crash left open is looked into at the next start, told, and never sent again", async () => {
  const here = await place(config({ applications: "crashed-before" }));
  const daemon = here.run();
  const { login } = await stuck("crashed-before", 6);
  await login;
  const [intent] = await eventually(async () => {
    const found = await eventsOf(here, "intent");
    return found.length > 0 && found;
  });
  daemon.child.kill("SIGKILL");
  await daemon.ended;
  // As a crash between the signal and the outcome leaves it.
  const cut = await place(config({ applications: "crashed-before" }));
  await mkdir(cut.stateDir, { recursive: true });
  await writeFile(join(cut.stateDir, "journal.jsonl"), `${JSON.stringify(intent)}\n{"v":1,"id":"torn`);
  const next = cut.run();
  const [recovered] = await eventually(async () => {
    const found = await eventsOf(cut, "recovered");
    return found.length > 0 && found;
  });
  assert.equal(recovered?.id, intent?.id);
  assert.ok(recovered?.event === "recovered");
  assert.equal(recovered.outcome.kind, "unknown");
  assert.match(recovered.outcome.text, /the transaction is gone/);
  await eventually(() => next.said().includes("interrupted terminate of session"));
  assert.equal((await readJournal(cut.stateDir)).torn, 1);
  assert.equal((await eventsOf(cut, "intent")).length, 1);
});

test("another daemon on the same target observes, and acts when the first one dies", async () => {
  const given = { applications: "shared" };
  const [here, there] = [await place(config(given)), await place(config({ ...given, poll: "200ms" }))];
  const leader = here.run();
  await eventually(() => connections(leader) === 1 && leader.said().includes("nothing to do"));
  const follower = there.run();
  await eventually(() => follower.said().includes("another Lockwarden acts on this target"));
  const first = await stuck("shared", 7);
  await first.login;
  assert.equal((await eventsOf(there, "intent")).length, 0);
  leader.child.kill("SIGKILL");
  await leader.ended;
  const second = await stuck("shared", 8);
  await second.login;
  assert.equal((await eventsOf(there, "intent")).length, 1);
});
