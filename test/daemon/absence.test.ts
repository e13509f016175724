import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { front } from "../support/front.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

// What people are told of a target that is away; one server behind a port that can be closed, a daemon for each test.

const service = await loginService();
const fronts = [
  await front(service.postgres.port),
  await front(service.postgres.port),
  await front(service.postgres.port),
];

function config(port: number, awayFor: string, more = ""): string {
  return `channels: [{name: ops, type: log}]
targets: [{name: app, url: "postgres://lockwarden@127.0.0.1:${port}/app", poll: 200ms, away_for: ${awayFor}${more}}]
rules: [{name: stuck-login, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]`;
}

/** What the channel was given, and not what the log says anyway. */
function told(daemon: Running): readonly string[] {
  return daemon
    .lines()
    .flatMap(({ channel, phase, msg }) => (channel === "ops" ? [`${String(phase)} ${String(msg)}`] : []));
}

async function says(daemon: Running, what: RegExp): Promise<void> {
  await eventually(() => daemon.lines().some(({ msg }) => what.test(String(msg))));
}

async function eventsOf(here: Place): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter(({ event }) => event === "away" || event === "back");
}

test("people are told once when it has been away for away_for, whatever it says meanwhile, and once when it is back", async () => {
  const [between] = fronts;
  assert.ok(between !== undefined);
  const here = await place(config(between.port, "1s"));
  const daemon = here.run();
  await says(daemon, /nothing to do/);
  between.behave("hang up");
  await eventually(() => told(daemon).length === 1);
  assert.match(
    told(daemon)[0] ?? "",
    /^opened .*it has been away for \d+ s, and nobody frees its locks: cannot connect to app/,
  );
  between.behave("garbage");
  await says(daemon, /^still away: .*something between speaks for it/);
  const tries = between.taken().length;
  await eventually(() => between.taken().length > tries + 1);
  assert.equal(told(daemon).length, 1);
  between.behave("pass");
  await eventually(() => told(daemon).length === 2);
  assert.match(told(daemon)[1] ?? "", /^resolved .*it is back after \d+ s away/);
  const [away, back, ...more] = await eventually(async () => {
    const found = await eventsOf(here);
    return found.length > 1 && found;
  });
  assert.deepEqual([away?.event, back?.event, away?.target, back?.id, more], ["away", "back", "app", away?.id, []]);
});

test("an absence that is over before away_for is in the log, and nobody is told", async () => {
  const [, between] = fronts;
  assert.ok(between !== undefined);
  const here = await place(config(between.port, "1h"));
  const daemon = here.run();
  await says(daemon, /nothing to do/);
  between.behave("hang up");
  await says(daemon, /still away/);
  between.behave("pass");
  await says(daemon, /^connected to .* away$/);
  daemon.child.kill("SIGTERM");
  await daemon.ended;
  assert.deepEqual([told(daemon), await eventsOf(here)], [[], []]);
});

test("a reload to another connection and a restart of the daemon neither tell anew that it is away nor forget to tell that it is back", async () => {
  const [, , between] = fronts;
  assert.ok(between !== undefined);
  between.behave("hang up");
  const here = await place(config(between.port, "500ms"));
  const first = here.run();
  await eventually(() => told(first).length === 1);
  await here.write(config(between.port, "500ms", ", connect_timeout: 9s"));
  first.child.kill("SIGHUP");
  await says(first, /the changed config is in force/);
  const tries = between.taken().length;
  await eventually(() => between.taken().length > tries + 1);
  first.child.kill("SIGTERM");
  await first.ended;
  assert.equal(told(first).length, 1);

  const second = here.run();
  await says(second, /trying again until it works/);
  const more = between.taken().length;
  await eventually(() => between.taken().length > more + 1);
  assert.deepEqual(told(second), []);
  between.behave("pass");
  await eventually(() => told(second).length === 1);
  assert.match(told(second)[0] ?? "", /^resolved .*it is back after .* away/);
  const events = await eventually(async () => {
    const found = await eventsOf(here);
    return found.length > 1 && found;
  });
  assert.deepEqual(
    events.map(({ event }) => event),
    ["away", "back"],
  );
});

test("a target whose looks fail is away too, though it lets the daemon in, and is back when one succeeds", async () => {
  const here = await place(
    config(service.postgres.port, "500ms").replace("lockwarden@", "shortsighted@").replace("/app", "/postgres"),
  );
  await service.admin.query(
    "create role shortsighted login; revoke execute on function pg_stat_get_activity from public",
  );
  const daemon = here.run();
  await says(daemon, /^look failed: .*pg_stat_get_activity.*; trying again until it works$/);
  await eventually(() => told(daemon).some((one) => /^opened .*nobody frees its locks: look failed/.test(one)));
  await service.admin.query("grant execute on function pg_stat_get_activity to public");
  await says(daemon, /^looks succeed again, after .* away$/);
  await eventually(() => told(daemon).some((one) => one.startsWith("resolved")));
  assert.equal(daemon.lines().filter(({ msg }) => String(msg).startsWith("look failed")).length, 1);
});
