import assert from "node:assert/strict";
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { Intent } from "../../src/core/recovery.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { header, type MailServer, mailServer } from "../support/mail-server.ts";
import { idleTransactions } from "../support/raw-sessions.ts";

// One server for the file, and one application for each test. The version cannot matter.
const service = await loginService({ major: 18, settings: { max_connections: "620" } });

type Given = Readonly<{ application: string; limits: string; smtp?: string; poll?: string }>;

function config({ application, limits, smtp, poll = "30s" }: Given): string {
  const mail = `channels: [{name: oncall, type: email, smtp: "${smtp}", starttls: never, from: lockwarden@example.org, to: [dba@example.org]}]`;
  return `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: ${poll}}]
rules:
  - name: abandoned
    match: {state: idle in transaction, idle_for: 100ms, applications: [${application}]}
    steps: [terminate]
limits: ${limits}
${smtp === undefined ? "" : mail}`;
}

function sessions(count: number, application: string) {
  const { port } = service.postgres;
  return idleTransactions(count, { port, user: "login_service", database: "app", application });
}

async function alive(application: string): Promise<readonly string[]> {
  const { rows } = await service.admin.query<{ pid: string }>(
    "select pid::text from pg_stat_activity where application_name = $1",
    [application],
  );
  return rows.map(({ pid }) => pid);
}

async function intentsOf(here: Place): Promise<readonly Intent[]> {
  return (await here.journal()).flatMap((event) => (event.event === "intent" ? [event] : []));
}

function pidsOf(intents: readonly Intent[]): readonly (string | null)[] {
  return intents.map(({ decision: { evidence } }) => (evidence.victim.kind === "session" ? evidence.victim.pid : null));
}

function lookedAtMs({ decision }: Intent): number {
  return Date.parse(decision.evidence.at);
}

/** Of a look that the daemon is asked for. */
async function spared(here: Place): Promise<Readonly<Record<string, number>>> {
  const { code, out, err } = await lockwarden(["once", "--json", "--config", here.config]);
  assert.equal(code, 0, err);
  const { targets } = JSON.parse(out) as { targets: { decisions: { decision: string; code: string }[] }[] };
  const counts: Record<string, number> = {};
  for (const one of targets.flatMap(({ decisions }) => decisions)) {
    const key = one.decision === "spare" ? one.code : one.decision;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

async function kill(daemon: Running): Promise<void> {
  daemon.child.kill("SIGKILL");
  await daemon.ended;
}

function subjects({ mails }: MailServer, about: RegExp): readonly string[] {
  return mails.map((mail) => header(mail, "subject") ?? "").filter((subject) => about.test(subject));
}

test("500 sessions match at once: exactly the allowed number is ended, the oldest; the others live on and are told in one notice, over a crash too", async (t) => {
  const application = "storm";
  const mail = await mailServer(t);
  const smtp = `smtp://127.0.0.1:${mail.port}`;
  const limits = "{per_tick: 5, per_minute: 10, repeat: {times: 1000, within: 10m}}";
  const here = await place(config({ application, smtp, limits }));
  const { pids } = await sessions(500, application);
  const sixth = await nameOf(pids[5]);
  const daemon = here.run();
  await eventually("ten have been ended", async () => (await intentsOf(here)).length >= 10);
  /** However slow this machine is: of the first minute, and whoever came after it was the next oldest. */
  const checkTouched = async () => {
    const intents = await intentsOf(here);
    const [first] = intents;
    assert.ok(first !== undefined);
    assert.equal(intents.filter((one) => lookedAtMs(one) < lookedAtMs(first) + 60_000).length, 10);
    assert.deepEqual(pidsOf(intents), pids.slice(0, intents.length));
    await eventually("the server has forgotten them, and nobody else", async () => {
      const left = pids.slice((await intentsOf(here)).length);
      return isDeepStrictEqual(new Set(await alive(application)), new Set(left));
    });
  };
  const held = await spared(here);
  assert.equal((held["limit-per-minute"] ?? 0) + (held["limit-per-tick"] ?? 0) + (held["act"] ?? 0), 490);
  await checkTouched();

  const told = () => subjects(mail, /left \d+ sessions alone/);
  await eventually("the acts are told", () => subjects(mail, /terminate of session/).length >= 10);
  await eventually("the others are told", () => told().length > 0);
  assert.deepEqual(told(), [
    `[lockwarden app] left 495 sessions alone: limit of 5 per look reached; the oldest: session ${sixth}`,
  ]);
  const [notice] = mail.mails.filter(({ text }) => text.includes("left 495 sessions alone"));
  const named = notice?.text.split("LEFT ALONE (495)")[1] ?? "";
  for (const pid of pids.slice(5, 15)) assert.ok(named.includes(`terminate session ${pid},`), named);
  assert.match(named, /and 485 more/);

  await kill(daemon);
  here.run();
  await eventually("the next daemon looks", () => spared(here).catch(() => null));
  await checkTouched();
});

/** As notices have it. */
async function nameOf(pid: string | undefined): Promise<string> {
  const { rows } = await service.admin.query<{ name: string }>(
    `select format('%s,%s.%s (%s, %s)', pid, to_hex(trunc(extract(epoch from backend_start))::int), to_hex(pid), usename, application_name) as name
       from pg_stat_activity where pid = $1`,
    [pid],
  );
  return rows[0]?.name ?? "";
}

test("the breaker opens, is told once, holds over a crash, and closes by itself", async (t) => {
  const application = "surge";
  const mail = await mailServer(t);
  const smtp = `smtp://127.0.0.1:${mail.port}`;
  const limits =
    "{per_tick: 2, per_minute: 1000, repeat: {times: 1000, within: 10m}, breaker: {acts: 3, within: 10s, open_for: 12s}}";
  const here = await place(config({ application, smtp, limits }));
  const { pids } = await sessions(5, application);
  const daemon = here.run();
  const breakers = async () =>
    (await here.journal()).flatMap((event) => (event.event === "breaker" ? [event.reason] : []));
  const [opened] = await eventually("it opens", async () => {
    const found = await breakers();
    return found.length > 0 ? found : null;
  });
  const untilMs = Number(opened?.facts["untilMs"]);
  assert.equal(opened?.code, "breaker-opened");
  assert.equal(untilMs - Number(opened?.facts["sinceMs"]), 12_000);
  await eventually("it is told", () => subjects(mail, /the breaker is open/).length > 0);
  const told = mail.mails.find((one) => /the breaker is open/.test(header(one, "subject") ?? ""));
  assert.match(
    (told?.text ?? "").replaceAll("=\r\n", ""),
    /WHAT TO DO[^]*lockwarden kill 'PID,SESSIONID' --target app/,
  );
  // Killed before it knows that they arrived, it would tell them again.
  await eventually("it is known", async () => (await readdir(join(here.stateDir, "spool"))).length === 0);
  await kill(daemon);
  const next = here.run();
  await eventually(
    "the next daemon looks",
    () => next.said().includes("(breaker)") || next.said().includes("terminate"),
  );
  await eventually("it closes", async () => (await breakers()).some(({ code }) => code === "breaker-closed"));
  await eventually("the others follow", async () => (await alive(application)).length === 0);
  const intents = await intentsOf(here);
  assert.deepEqual(pidsOf(intents), pids);
  assert.deepEqual(
    intents.map((one) => lookedAtMs(one) >= untilMs),
    [false, false, false, true, true],
  );
  await eventually("it is told", () => subjects(mail, /the breaker is closed again/).length > 0);
  assert.deepEqual(
    (await breakers()).map(({ code }) => code),
    ["breaker-opened", "breaker-closed"],
  );
  assert.equal(subjects(mail, /the breaker is open/).length, 1);
  assert.equal(subjects(mail, /the breaker is closed again/).length, 1);
});

test("once, without a daemon, counts what the journal says, a rotated one included; so does explain", async () => {
  const application = "again";
  const here = await place(config({ application, limits: "{repeat: {times: 2, within: 10m}}" }));
  const { pids } = await sessions(4, application);
  assert.deepEqual(await spared(here), { act: 2, "limit-repeat": 2 });
  assert.deepEqual(await spared(here), { "limit-repeat": 2 });
  const journal = join(here.stateDir, "journal.jsonl");
  await rename(journal, `${journal}.1`);
  assert.deepEqual(await spared(here), { "limit-repeat": 2 });
  assert.deepEqual(pidsOf(await intentsOf(here)), []);
  await eventually("two are gone", async () =>
    isDeepStrictEqual(new Set(await alive(application)), new Set(pids.slice(2))),
  );
  const explained = await lockwarden(["explain", "--config", here.config]);
  assert.match(explained.out, /was signalled 2\s+times\s+within 10 min/);
});
