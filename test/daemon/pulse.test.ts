import assert from "node:assert/strict";
import { test } from "node:test";
import { createPulse, feedWatchdog, type Pulse } from "../../src/daemon/pulse.ts";
import type { SystemdNotifier } from "../../src/daemon/systemd.ts";

const hour = 3_600_000;
const nothing = () => assert.fail("told");
const quiet = () => Promise.resolve();

test("a target is healthy until its moment has passed", () => {
  const pulse = createPulse();
  assert.deepEqual(pulse.isHealthy(5), { healthy: true });
  pulse.expect("app", 100);
  assert.deepEqual(pulse.isHealthy(100), { healthy: true });
  assert.deepEqual(pulse.isHealthy(101), { healthy: false, target: "app", lateMs: 1 });
  pulse.expect("app", 200);
  assert.deepEqual(pulse.isHealthy(101), { healthy: true });
});

test("the latest of several late targets is named, and a forgotten one is not missed", () => {
  const pulse = createPulse();
  pulse.expect("one", 30);
  pulse.expect("two", 10);
  pulse.expect("three", 20);
  assert.deepEqual(pulse.isHealthy(100), { healthy: false, target: "two", lateMs: 90 });
  pulse.forget("two");
  assert.deepEqual(pulse.isHealthy(100), { healthy: false, target: "three", lateMs: 80 });
});

type Told = Readonly<{ fed: string[]; said: string[] }>;

/** Feeds a watchdog of 30 s by a clock that jumps from sleep to sleep; `at` runs at every wake-up. */
async function feedFor(ms: number, pulse: Pulse, at: (nowMs: number) => void = () => undefined): Promise<Told> {
  const over = new AbortController();
  const told: Told = { fed: [], said: [] };
  let nowMs = 0;
  const noted = (text: string) => Promise.resolve(void told.fed.push(`${nowMs} ${text}`));
  const notifier: SystemdNotifier = {
    watchdogMs: 30_000,
    ready: noted,
    status: noted,
    reloading: () => noted("reloading"),
    stopping: () => noted("stopping"),
    watchdog: (status = "") => noted(status),
  };
  const say = (_: unknown, text: string) => void told.said.push(text);
  const sleep = (pauseMs: number) => {
    nowMs += pauseMs;
    at(nowMs);
    if (nowMs >= ms) over.abort();
    return Promise.resolve();
  };
  const log = { error: say, info: say };
  await feedWatchdog({ notifier, pulse, status: () => "ok", log, signal: over.signal, now: () => nowMs, sleep });
  return told;
}

test("a nightly poll that is hours away does not starve the watchdog", async () => {
  const pulse = createPulse();
  pulse.expect("nightly", 8 * hour + 5_000);
  const told = await feedFor(8 * hour, pulse);
  assert.equal(told.fed.length, (8 * hour) / 10_000);
  assert.deepEqual(told.said, []);
});

test("a hung target starves it, though the others go on, and that is said once", async () => {
  const pulse = createPulse();
  pulse.expect("hung", 25_000);
  const told = await feedFor(100_000, pulse, (nowMs) => pulse.expect("busy", nowMs + 10_000));
  assert.deepEqual(told.fed, ["0 ok", "10000 ok", "20000 ok"]);
  assert.equal(told.said.length, 1);
  assert.match(
    told.said[0] ?? "",
    /^target hung should have been looked at 5s ago and was not: .* restarts .* 30s after/,
  );
});

test("when it shows life again the watchdog is fed again, and that is said", async () => {
  const pulse = createPulse();
  pulse.expect("slow", 15_000);
  const told = await feedFor(60_000, pulse, (nowMs) => {
    if (nowMs === 40_000) pulse.expect("slow", 200_000);
  });
  assert.deepEqual(told.fed, ["0 ok", "10000 ok", "40000 ok", "50000 ok"]);
  assert.equal(told.said.length, 2);
  assert.match(told.said[1] ?? "", /fed again$/);
});

test("without a watchdog there is nothing to feed", async () => {
  const notifier: SystemdNotifier = {
    watchdogMs: null,
    ready: nothing,
    status: nothing,
    reloading: nothing,
    stopping: nothing,
    watchdog: nothing,
  };
  const log = { error: nothing, info: nothing };
  await feedWatchdog({ notifier, pulse: createPulse(), status: nothing, log, signal: new AbortController().signal });
});

test("the signal ends its sleep", async () => {
  const over = new AbortController();
  const notifier: SystemdNotifier = {
    watchdogMs: 10 * hour,
    ready: quiet,
    status: quiet,
    reloading: quiet,
    stopping: quiet,
    watchdog: () => {
      setImmediate(() => over.abort());
      return Promise.resolve();
    },
  };
  const log = { error: () => undefined, info: () => undefined };
  await feedWatchdog({ notifier, pulse: createPulse(), status: () => "ok", log, signal: over.signal });
  assert.ok(over.signal.aborted);
});
