import assert from "node:assert/strict";
import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { readJournal } from "../../src/journal-lines.ts";
import { assertLookedIntoFirst, assertNotTwice, assertWrittenFirst, deedsOf, reached } from "../support/crash/audit.ts";
import { appears, isTorn, sizeOf } from "../support/crash/journal-tail.ts";
import { serverLog } from "../support/crash/server-log.ts";
import { crowd, crowdRules } from "../support/crash/victims.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { type Random, randomFrom } from "../support/oracle/random.ts";
import { eventually } from "../support/servers.ts";

// Real kill -9 of the real daemon while it frees rows, again and again on one state folder. CRASH_KILLS says how many,
// CRASH_SEED draws the same moments again (what the daemon does in them is the machine's business).
const kills = Number(process.env["CRASH_KILLS"] ?? 8);
const seed = Number(process.env["CRASH_SEED"] ?? Date.now() % 1_000_000);
const atOnce = 3;

const log = serverLog();
const service = await loginService({ onLog: log.add });

type Figures = { open: number; reached: number; torn: number; cut: number; before: number; known: Set<string> };

/** Waits for its moment: mostly right behind an intent, sometimes behind an outcome, sometimes anywhere in a life. */
async function moment(path: string, random: Random, daemon: Running): Promise<void> {
  const from = sizeOf(path);
  const stop = () => daemon.child.exitCode !== null;
  const drawn = random.below(10);
  if (drawn >= 8) {
    await pause(random.below(900));
  } else {
    const text = drawn === 7 ? '"event":"outcome"' : '"event":"intent"';
    assert.ok(await appears(path, { text, from, withinMs: 60_000, stop }), `no ${text}: ${daemon.said()}`);
    const waitMs = random.below(16);
    if (waitMs > 0) await pause(waitMs);
  }
}

/** Until the server has carried out what it had been sent, and has forgotten who sent it. */
async function forgotten(): Promise<void> {
  const sql = "select from pg_stat_activity where application_name = 'lockwarden'";
  await eventually(async () => (await service.admin.query(sql)).rowCount === 0);
}

/** What a power cut leaves that a killed process does not: half a line, or blocks of zeros. */
async function powerCut(path: string, random: Random): Promise<void> {
  const half = '{"v":1,"id":"cut","at":"2026-01-01T00:00:00.000Z","target":"app","event":"outc';
  await appendFile(path, random.chance(0.5) ? half : Buffer.alloc(random.below(5_000) + 1));
}

async function lifeAndDeath(here: Place, random: Random, figures: Figures): Promise<void> {
  const path = join(here.stateDir, "journal.jsonl");
  const before = sizeOf(path);
  const daemon = here.run();
  await moment(path, random, daemon);
  daemon.child.kill("SIGKILL");
  assert.equal((await daemon.ended).signal, "SIGKILL", daemon.said());
  await forgotten();
  const { events } = await readJournal(here.stateDir);
  const deeds = deedsOf(events);
  assertWrittenFirst(deeds, log);
  const open = deeds.filter(({ id, closed }) => closed === null && !figures.known.has(id));
  for (const { id } of open) figures.known.add(id);
  figures.open += open.length > 0 ? 1 : 0;
  figures.reached += reached(open, log.attempts()) > 0 ? 1 : 0;
  figures.before += daemon.said().includes("watching") ? 0 : 1;
  if (isTorn(path)) figures.torn += sizeOf(path) > before ? 1 : 0;
  else if (random.chance(0.2)) {
    await powerCut(path, random);
    figures.cut += 1;
  }
}

test("a daemon that is killed again and again acts on nobody unwritten, leaves nothing unexplained and acts on nobody twice", async (t) => {
  const random = randomFrom(seed);
  await service.admin.query("alter role lockwarden set log_statement = 'all'");
  const people = await crowd(service, random);
  const here = await place(`
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 1s}]
limits: {per_tick: 100, per_minute: 10000, repeat: {times: 1000, within: 1m}, breaker: false}
${crowdRules}`);
  await mkdir(here.stateDir, { recursive: true });
  const figures: Figures = { open: 0, reached: 0, torn: 0, cut: 0, before: 0, known: new Set() };
  for (let kill = 0; kill < kills; kill++) {
    await people.topUp(atOnce);
    await lifeAndDeath(here, random, figures);
  }

  await people.topUp(atOnce);
  const last = here.run();
  await people.allThrough();
  last.child.kill("SIGTERM");
  const ended = await last.ended;
  assert.equal(ended.code, 0, JSON.stringify(ended));

  const { events, torn } = await readJournal(here.stateDir);
  const deeds = deedsOf(events);
  assertWrittenFirst(deeds, log);
  assertLookedIntoFirst(events);
  const again = assertNotTwice(deeds);
  assert.deepEqual(
    deeds.filter(({ closed }) => closed === null),
    [],
  );
  const unexplained = deeds.filter(({ closed }) => closed?.by === "recovered" && closed.outcome.kind !== "unknown");
  assert.deepEqual(unexplained, []);
  assert.equal(torn, figures.torn + figures.cut);
  await people.innocentsLive();
  const recovered = deeds.filter(({ closed }) => closed?.by === "recovered").length;
  t.diagnostic(
    `seed ${seed}: ${kills} kills (${figures.before} of a daemon that had just started), ${people.made()} stuck rows, ` +
      `${deeds.length} intents, ${log.attempts().length} statements sent; ${figures.open} kills between intent and outcome, ` +
      `${figures.reached} of them behind the act; ${recovered} recovered, ${again} acted on again as they were still there; ` +
      `${figures.torn} lines torn by a kill, ${figures.cut} by a feigned power cut`,
  );
});
