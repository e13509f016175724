import assert from "node:assert/strict";
import { test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { type Place, place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

const service = await loginService({ settings: { max_prepared_transactions: "10", deadlock_timeout: "30s" } });

function config(rule: string, mode = "enforce", poll = "30s", leaders = "app"): string {
  return `
mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: ${poll}, leader_database: ${leaders}}]
rules:
  - ${rule}
`;
}

type Of<E extends JournalEvent["event"]> = Extract<JournalEvent, { event: E }>;

async function intents(here: Place): Promise<readonly Of<"intent" | "observed">[]> {
  return (await here.journal()).filter((event): event is Of<"intent" | "observed"> => event.event === "intent");
}

async function outcomes(here: Place): Promise<readonly Of<"outcome" | "recovered">[]> {
  return (await here.journal()).filter((event): event is Of<"outcome" | "recovered"> => event.event === "outcome");
}

/** Row `id` is held by a prepared transaction, and somebody waits for it. */
async function stuck(gid: string, id: number): Promise<{ login: Promise<unknown> }> {
  const crashed = await service.person("crashed");
  await abandon(crashed, id);
  await crashed.query(`prepare transaction '${gid}'`);
  const person = await service.person("somebody");
  const pid = await pidOf(person);
  const login = logIn(person, id);
  login.catch(() => undefined);
  await untilWaiting(pid);
  return { login };
}

async function untilWaiting(pid: number): Promise<void> {
  const sql = "select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
  await eventually(async () => (await service.admin.query(sql, [pid])).rowCount === 1);
}

async function isThere(gid: string): Promise<boolean> {
  return (await service.admin.query("select from pg_prepared_xacts where gid = $1", [gid])).rowCount === 1;
}

const rollback = (gid: string) =>
  `{name: abandoned, match: {prepared: {gid: "${gid}", for: 1s}, blocks: {tables: [public.user_session], for: 500ms}}, steps: [rollback-prepared]}`;

// It begins with the next whole minute, and is looked at when the other tests are over.
const soon = new Date(Date.now() + 65_000);
const [from, until] = [soon, new Date(soon.getTime() + 300_000)].map((time) => time.toISOString().slice(11, 16));
const hours = `{hours: "${from}-${until}", timezone: UTC}`;
const later = await place(
  config(
    `{name: later, match: {applications: [punctual], idle_for: 1s}, steps: [terminate], active: ${hours}}`,
    "enforce",
    "1h",
    "postgres", // so that it leads beside the others
  ),
);
const punctual = await service.person("punctual");
const ended = new Promise<void>((resolve) => punctual.once("end", resolve));
await abandon(punctual, 20);
const patient = later.run();

test("a prepared transaction whose owner's role is not Lockwarden's is denied, and people are told what to grant", async () => {
  const here = await place(config(rollback("denied-*")));
  const { login } = await stuck("denied-1", 1);
  const daemon = here.run();
  const [event] = await eventually(async () => {
    const found = await outcomes(here);
    return found.length > 0 && found;
  });
  assert.equal(event?.outcome.kind, "denied");
  assert.match(event?.outcome.text ?? "", /grant "login_service" to "lockwarden";/);
  await eventually(() => daemon.said().includes('grant \\"login_service\\" to \\"lockwarden\\"'));
  assert.equal(await isThere("denied-1"), true);
  const owner = await service.person("owner");
  await owner.query("rollback prepared 'denied-1'");
  await login;
});

test("in observe mode it is said what would be rolled back, and nothing is", async () => {
  const here = await place(config(rollback("observed-*"), "observe"));
  const { login } = await stuck("observed-1", 2);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("would rollback-prepared prepared transaction observed-1"));
  assert.equal(await isThere("observed-1"), true);
  assert.deepEqual(await intents(here), []);
  const owner = await service.person("owner");
  await owner.query("rollback prepared 'observed-1'");
  await login;
});

test("an abandoned prepared transaction is rolled back, its waiter gets through, and others stay", async () => {
  await service.admin.query("grant login_service to lockwarden");
  const here = await place(config(rollback("app-*")));
  const { login: other } = await stuck("other-1", 3);
  const { login } = await stuck("app-1", 4);
  const daemon = here.run();
  const [intent] = await eventually(async () => {
    const found = await intents(here);
    return found.length > 0 && found;
  });
  const [outcome] = await eventually(async () => {
    const found = await outcomes(here);
    return found.length > 0 && found;
  });
  await login;
  assert.equal(intent?.id, outcome?.id);
  assert.equal(intent?.decision.action, "rollback-prepared");
  assert.ok(intent?.decision.evidence.victim.kind === "prepared");
  assert.equal(intent.decision.evidence.victim.gid, "app-1");
  assert.match(intent.decision.reason.text, /read again just before the rollback, not within it/);
  assert.deepEqual([outcome?.outcome.kind, outcome?.outcome.freed.length], ["released", 1]);
  await eventually(() => daemon.said().includes("rollback-prepared of prepared transaction app-1: 1 session freed"));
  assert.equal(await isThere("other-1"), true);
  const owner = await service.person("owner");
  await owner.query("rollback prepared 'other-1'");
  await other;
});

test("one that blocks nobody is due by its age alone, whatever the poll", async () => {
  const rule = '{name: old, match: {prepared: {gid: "old-*", for: 3s}}, steps: [rollback-prepared]}';
  const crashed = await service.person("crashed");
  await abandon(crashed, 5);
  await crashed.query("prepare transaction 'old-1'");
  const here = await place(config(rule, "enforce", "1h"));
  here.run();
  const [event] = await eventually(async () => {
    const found = await outcomes(here);
    return found.length > 0 && found;
  });
  assert.deepEqual([event?.outcome.kind, await isThere("old-1")], ["released", false]);
});

test("a queued ALTER TABLE that holds everybody up is cancelled: the readers get through, and the one it waited for goes on", async () => {
  const rule =
    "{name: ddl-jam, match: {waits: {modes: [AccessExclusiveLock], for: 1s}, blocks: {tables: [public.audit], waiters: 2}}, steps: [cancel]}";
  const here = await place(config(rule));
  const owner = await service.person("owner", "postgres");
  await owner.query("alter table public.audit owner to login_service");
  const reader = await service.person("reader");
  await reader.query("begin; select count(*) from public.audit");
  const migrator = await service.person("migrator");
  const pid = await pidOf(migrator);
  const altering = migrator.query("alter table public.audit add column more int");
  altering.catch(() => undefined);
  await untilWaiting(pid);
  const queue = [];
  for (const name of ["web-1", "web-2"]) {
    const person = await service.person(name);
    const count = person.query("select count(*) from public.audit");
    count.catch(() => undefined);
    queue.push(count);
  }
  here.run();
  await Promise.all(queue);
  await assert.rejects(altering, /canceling statement due to user request/);
  await reader.query("commit");
  const [event] = await eventually(async () => {
    const found = await outcomes(here);
    return found.length > 0 && found;
  });
  assert.equal(event?.outcome.kind, "released");
  assert.equal((await intents(here)).length, 1);
});

test("a rule outside its hours finds nobody, and looks when they begin", async () => {
  assert.match(patient.said(), /connected/);
  await ended;
  const [intent] = await eventually(async () => {
    const found = await intents(later);
    return found.length > 0 && found;
  });
  assert.ok((intent?.at ?? "") >= `${soon.toISOString().slice(0, 16)}:00`);
});
