import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { leaseKeys } from "../../src/engines/postgres/lease.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { client, eventually, majors } from "../support/servers.ts";
import { standbyOf } from "../support/standby.ts";

// A primary and its streaming standby; what a test does to them stays done for the next one.

const major = majors().at(-1) ?? 18;
const service = await loginService({ major });
const { postgres } = service;
const standby = await standbyOf(postgres, major);
const [primaryAt, standbyAt] = [`127.0.0.1:${postgres.port}`, new URL(standby.url()).host];
const both = `postgres://lockwarden@${primaryAt},${standbyAt}/app`;

function config(url: string, rule: string): string {
  return `mode: enforce
targets: [{name: app, url: "${url}", poll: 200ms, leader_database: app}]
rules: [{name: freed, ${rule}}]`;
}

const ladder = `match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}},
  steps: [notify, {wait: 1s}, terminate]`;

function texts(daemon: Running): readonly string[] {
  return daemon.lines().map(({ msg }) => String(msg));
}

async function says(daemon: Running, what: RegExp): Promise<void> {
  await eventually(() => texts(daemon).some((text) => what.test(text)), 60_000);
}

async function eventsOf(here: Place, kind: JournalEvent["event"]): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter(({ event }) => event === kind);
}

const idler = (name: string) => `match: {state: idle, idle_for: 300ms, applications: [${name}]}, steps: [terminate]`;

test("on a standby nobody is acted on, unless the url asks for a standby", async () => {
  const person = await client(standby.url("login_service", "app"), { application_name: "reader" });
  const pid = await pidOf(person);
  const here = await place(config(standby.url("lockwarden", "app"), idler("reader")));
  const daemon = here.run();
  await says(daemon, /in recovery \(a standby\): it is only observed.*target_session_attrs=standby/);
  const [observed] = await eventually(async () => {
    const found = await eventsOf(here, "observed");
    return found.length > 0 && found;
  });
  assert.ok(observed?.event === "observed" && observed.decision.kind !== "act");
  assert.equal(await pidOf(person), pid);
  assert.equal((await eventsOf(here, "intent")).length, 0);

  const gone = new Promise((resolve) => person.once("end", resolve));
  const asking = `${standby.url("lockwarden", "app")}?target_session_attrs=standby`;
  (await place(config(asking, idler("reader")))).run();
  await gone;
});

test("after a failover the daemon is on the new primary, holds the right to act there, and frees who is stuck there", async () => {
  const here = await place(config(both, ladder));
  const daemon = here.run();
  const there = await place(config(`${standby.url("lockwarden", "app")}?target_session_attrs=standby`, ladder));
  const reading = there.run();
  await says(daemon, /^nobody waits for a lock; nothing to do$/);
  await says(reading, /^nobody waits for a lock; nothing to do$/);

  // Its ladder has begun when the primary goes.
  const lost = await service.person("lost");
  await abandon(lost, 1);
  logIn(await service.person("waits"), 1).catch(() => undefined);
  await says(daemon, /freed: session .* is told/);
  process.kill(postgres.pid, "SIGINT");
  await says(
    daemon,
    new RegExp(
      `none of 2 hosts will do: \\(${primaryAt}, .*ECONNREFUSED.*; \\(${standbyAt}, .*it is in recovery \\(a standby\\), and a primary is wanted`,
    ),
  );

  // The old primary comes back as a standby: it is first in the url, and will not do.
  await writeFile(join(postgres.dataFolder, "standby.signal"), "");
  await postgres.restart("fast");
  await says(daemon, new RegExp(`\\(${primaryAt}, [^;]*it is in recovery .*\\(${standbyAt}, [^;]*it is in recovery`));
  assert.equal((await eventsOf(here, "intent")).length, 0);

  const promoter = await client(standby.url("postgres", "app"));
  await promoter.query("select pg_promote()");
  await says(daemon, /^connected to .* away$/);
  await says(reading, /is another server now: it was in recovery \(a standby\) and has been promoted/);
  await says(reading, /it is a primary, and a standby is wanted/);

  const crashed = await client(standby.url("login_service", "app"), { application_name: "crashed" });
  const victim = await pidOf(crashed);
  await abandon(crashed, 1);
  const waiter = await client(standby.url("login_service", "app"));
  await logIn(waiter, 1);
  const events = await eventually(async () => ((await eventsOf(here, "outcome")).length === 1 ? here.journal() : null));
  const acts = events.flatMap((event) => (event.event === "intent" ? [event.decision] : []));
  assert.deepEqual(
    acts.map(({ action, step, evidence }) => [action, step, evidence.victim.kind === "session" && evidence.victim.pid]),
    [["terminate", 2, String(victim)]],
  );
  // The ladder of the new victim began with its first step.
  assert.equal(texts(daemon).filter((text) => /freed: session .* is told/.test(text)).length >= 2, true);
  const { rows } = await promoter.query(
    "select 1 from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted",
    [leaseKeys.class, leaseKeys.object],
  );
  assert.equal(rows.length, 1);

  // Cut there, it comes back there: the first host is up and still a standby.
  const before = texts(daemon).length;
  await promoter.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockwarden'");
  await eventually(() =>
    texts(daemon)
      .slice(before)
      .some((text) => /^connected to .* away$/.test(text)),
  );
  await eventually(async () => {
    const own = await promoter.query("select 1 from pg_stat_activity where application_name = 'lockwarden'");
    return own.rows.length === 2;
  });
  for (const one of [promoter, waiter]) await one.end();
  assert.equal(daemon.child.exitCode, null);
});
