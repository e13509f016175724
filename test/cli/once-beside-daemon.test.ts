import assert from "node:assert/strict";
import { test } from "node:test";
import { assertEnded } from "../support/clean-output.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

/** A daemon with this poll looks only when it is asked. */
const onlyWhenAsked = "0 0 29 2 *";

function config(mode = "enforce"): string {
  return `mode: ${mode}\ntargets: [{name: app, url: "${service.url}", poll: "${onlyWhenAsked}"}]\n${stuckRule}`;
}

async function resting(here: Place): Promise<Running> {
  const daemon = here.run();
  await eventually(() => daemon.said().includes("the first look is at"));
  return daemon;
}

async function stop(daemon: Running): Promise<void> {
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
}

async function sessions(): Promise<number> {
  const sql = "select count(*)::int as count from pg_stat_activity where application_name = 'lockwarden'";
  const { rows } = await service.admin.query<{ count: number }>(sql);
  return rows[0]?.count ?? 0;
}

test("while a daemon runs on the same state folder, once has it look: it acts, logs and journals", async () => {
  const here = await place(config());
  const daemon = await resting(here);
  const { pid, login } = await stuckLogin(service, 1);
  const ended = await lockwarden(["once", "--config", here.config]);
  assertEnded(ended, { code: 0, out: new RegExp(`^app: stuck-login: terminate ${pid},.* → released: .*\\n$`) });
  await login;
  await eventually(() => daemon.lines().some((line) => line["pid"] === pid && line["outcome"] === "released"));
  const json = await lockwarden(["once", "--json", "--config", here.config]);
  assertEnded(json, { code: 0, out: /^\{"targets":\[\{"target":"app","decisions":\[\]\}\]\}\n$/ });
  assert.equal(await sessions(), 2);
  await stop(daemon);
  assert.deepEqual(
    (await here.journal()).map(({ event }) => event),
    ["start", "intent", "outcome", "stop"],
  );
});

test("a daemon that has read another config is told, as it goes by that one", async () => {
  const here = await place(config("observe"));
  const daemon = await resting(here);
  await here.write(config("enforce"));
  const { pid, lives, release } = await stuckLogin(service, 2);
  const ended = await lockwarden(["once", "--config", here.config]);
  assertEnded(ended, {
    code: 0,
    out: new RegExp(`^app: stuck-login: would terminate ${pid},.*; mode is observe\\n$`),
    err: new RegExp(
      `^warning: the daemon \\(pid ${daemon.child.pid}\\) goes by the config that it has read \\(digest [0-9a-f]{12}\\), ` +
        `not by ${here.config} as it is now \\(digest [0-9a-f]{12}\\); to make it read that, send it SIGHUP\\n$`,
    ),
  });
  assert.ok(await lives());
  await release();
  await stop(daemon);
});

test("while a daemon leads from another state folder, once only says what it would do", async () => {
  const there = await place(config());
  const leader = await resting(there);
  const here = await place(config());
  const { pid, lives, release } = await stuckLogin(service, 3);
  const ended = await lockwarden(["once", "--config", here.config]);
  assertEnded(ended, {
    code: 0,
    out: new RegExp(`^app: stuck-login: would terminate ${pid},.*; another Lockwarden acts on this target\\n$`),
  });
  assert.ok(await lives());
  const [observed, ...more] = await here.journal();
  assert.ok(observed?.event === "observed" && observed.decision.kind === "spare");
  assert.deepEqual([observed.decision.by, more], ["follower", []]);
  assert.deepEqual(
    (await there.journal()).map(({ event }) => event),
    ["start"],
  );
  await release();
  await stop(leader);
  // The right is free when the server has seen that its session is over.
  await eventually(async () => (await sessions()) === 0);
  const { pid: next, login } = await stuckLogin(service, 4);
  assertEnded(await lockwarden(["once", "--config", here.config]), {
    code: 0,
    out: new RegExp(`^app: stuck-login: terminate ${next},.* → released: `),
  });
  await login;
});

test("what the role lacks is told through the daemon as without it, with the same exit code", async (t) => {
  await service.admin.query("create role blindfold login in role pg_signal_backend");
  t.after(() => service.admin.query("drop role blindfold"));
  const here = await place(config().replace("//lockwarden", "//blindfold"));
  const words = ["once", "--config", here.config];
  const alone = await lockwarden(words);
  const says = /^warning: app: missing: pg_read_all_stats: .*; grant pg_read_all_stats to "blindfold";\n$/;
  assertEnded(alone, { code: 3, out: /^app: nothing to do\n$/, err: says });
  const daemon = await resting(here);
  assert.deepEqual(await lockwarden(words), alone);
  await service.admin.query("grant pg_read_all_stats to blindfold");
  const granted = await lockwarden(words);
  assertEnded(granted, { code: 0, out: /^app: nothing to do\n$/ });
  await stop(daemon);
});

test("with hidden sessions nobody is said to wait only of those that can be seen", async (t) => {
  await service.admin.query("create role dim login in role pg_signal_backend");
  t.after(() => service.admin.query("drop role dim"));
  const here = await place(config().replace("//lockwarden", "//dim"));
  const daemon = await resting(here);
  const said = () => daemon.lines().map((line) => String(line["msg"]));
  await lockwarden(["once", "--config", here.config]);
  await eventually(() => said().includes("nobody that can be seen waits for a lock; nothing to do"));
  assert.ok(!said().some((text) => text.includes("nobody waits")));
  await stop(daemon);
});

test("of two that run at once each victim is hit once, and whoever came too late says so", async () => {
  const here = await place(config());
  const { login } = await stuckLogin(service, 5);
  const words = ["once", "--config", here.config];
  const both = await Promise.all([lockwarden(words), lockwarden(words)]);
  await login;
  for (const ended of both) {
    if (ended.code === 0) continue;
    assertEnded(ended, { code: 1, err: /^lockwarden.*: (?:the|another) lockwarden (?:that )?owns .*\n$/ });
  }
  assert.ok(both.some(({ code }) => code === 0));
  assert.deepEqual(
    (await here.journal()).map(({ event }) => event),
    ["intent", "outcome"],
  );
});
