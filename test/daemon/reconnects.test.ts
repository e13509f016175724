import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { patterns } from "../../src/config/patterns.ts";
import { noHistory } from "../../src/core/history.ts";
import { absenceOf } from "../../src/daemon/absence.ts";
import type { Log } from "../../src/daemon/log-port.ts";
import { createPulse } from "../../src/daemon/pulse.ts";
import { settingsFor } from "../../src/daemon/settings.ts";
import { type Watch, watch } from "../../src/daemon/watch.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { openGate } from "../../src/executor.ts";
import { loadText } from "../support/load-text.ts";
import { loginService } from "../support/login-service.ts";
import { muteLog } from "../support/mute-log.ts";
import { eventually } from "../support/servers.ts";

// RECONNECTS=1000: npm run test:reconnects. The loop of one target, in this process, over a real server that ends its
// sessions again and again; the pauses are cut short as a reload cuts them short.

const times = Number(process.env["RECONNECTS"] ?? 50);
const warmUp = Math.max(25, times / 10);
const service = await loginService();

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

type Sample = Readonly<{ reconnects: number; files: number; resources: number; listeners: number; heap: number }>;

/** What is held once everything that is on its way out has gone: nothing goes any more for a while. */
async function sample(reconnects: number, signal: AbortSignal): Promise<Sample> {
  for (let last = await held(signal), same = 0; same < 10; ) {
    await pause(10);
    const now = await held(signal);
    same = isDeepStrictEqual(now, last) ? same + 1 : 0;
    last = now;
  }
  for (let turn = 0; turn < 4; turn++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { reconnects, ...(await held(signal)), heap: process.memoryUsage().heapUsed };
}

async function held(signal: AbortSignal): Promise<Omit<Sample, "reconnects" | "heap">> {
  const files = await readdir("/proc/self/fd").catch(() => []);
  return {
    files: files.length,
    resources: process.getActiveResourcesInfo().length,
    listeners: getEventListeners(signal, "abort").length,
  };
}

/** Bytes of heap a reconnect, by least squares. */
function slope(samples: readonly Sample[]): number {
  const mean = (of: (one: Sample) => number) => samples.reduce((sum, one) => sum + of(one), 0) / samples.length;
  const [x, y] = [mean((one) => one.reconnects), mean((one) => one.heap)];
  const above = samples.reduce((sum, one) => sum + (one.reconnects - x) * (one.heap - y), 0);
  return above / samples.reduce((sum, one) => sum + (one.reconnects - x) ** 2, 0);
}

type Circle = Readonly<{ watch: Watch; connections(): number; losses(): number }>;

/** The loop of a target whose first host is never there. */
async function circle(signal: AbortSignal): Promise<Circle> {
  const url = service.url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1");
  const loaded = loadText(`mode: enforce
targets: [{name: app, url: "${url}", poll: 1h, leader_database: app}]
rules: [{name: stuck, match: {idle_for: 1h, blocks: {waiters: 1}}, steps: [terminate], probe: {sql: select 1}}]`);
  assert.ok(loaded.kind === "ok");
  const [target] = loaded.config.targets;
  assert.ok(target !== undefined);
  const made = settingsFor(loaded.config, loaded.digest, target, patterns);
  let [connections, losses] = [0, 0];
  const nothing = () => undefined;
  const log: Log = { ...muteLog, error: () => void losses++, child: () => log };
  const journal = {
    works: () => true,
    trouble: () => null,
    mend: async () => undefined,
    write: async () => undefined,
    close: async () => undefined,
  };
  const now = () => new Date();
  const loop = watch({
    settings: () => made,
    engine,
    history: noHistory,
    clock: { last: null },
    journal,
    tell: nothing,
    gate: openGate,
    recover: async () => undefined,
    record: (_, connection) => {
      connections = connection;
    },
    log,
    pulse: createPulse(),
    absence: absenceOf({ target: "app", told: null, journal, tell: nothing, log, now }),
    newId: () => "id",
    now,
    signal,
  });
  return { watch: loop, connections: () => connections, losses: () => losses };
}

const cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockwarden'";

/** Ends its sessions, and cuts every pause short until it has looked over new ones. */
async function reconnect({ watch: loop, connections, losses }: Circle): Promise<void> {
  const [had, lost] = [connections(), losses()];
  await service.admin.query(cut);
  await eventually(() => {
    loop.wake();
    return losses() > lost;
  });
  await eventually(() => {
    loop.wake();
    return connections() > had;
  });
}

test(`${times} reconnects leave no file, no timer, no listener and no memory behind`, async (t) => {
  const stop = new AbortController();
  const one = await circle(stop.signal);
  await eventually(() => one.connections() === 1);
  for (let count = 0; count < warmUp; count++) await reconnect(one);
  const samples = [await sample(0, stop.signal)];
  for (let count = 1; count <= times; count++) {
    await reconnect(one);
    if (count % (times / 10) === 0) samples.push(await sample(count, stop.signal));
  }
  stop.abort();
  await one.watch.ended;
  const [first, last] = [samples[0], samples.at(-1)];
  assert.ok(first !== undefined && last !== undefined);
  const grown = slope(samples);
  t.diagnostic(
    `before ${JSON.stringify(first)}; after ${JSON.stringify(last)}; ${Math.round(grown)} bytes of heap a reconnect`,
  );
  assert.deepEqual(
    { files: last.files, resources: last.resources, listeners: last.listeners },
    { files: first.files, resources: first.resources, listeners: first.listeners },
  );
  // Of few reconnects the figure is noise: what the collector happened to leave.
  const most = times >= 1_000 ? 256 : 16_384;
  assert.ok(
    grown < most,
    `${Math.round(grown)} bytes of heap a reconnect: ${samples.map(({ heap }) => heap).join(", ")}`,
  );
  assert.equal(getEventListeners(stop.signal, "abort").length, 0);
});
