import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemdNotifier } from "../../src/daemon/systemd.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lockwarden-notify-"));
});
after(() => rm(folder, { recursive: true, force: true }));

/** A program of that name in a folder of its own; it can write a line per call to its `told`. */
async function program(
  name: string,
  script: string,
): Promise<{ env: NodeJS.ProcessEnv; told: () => Promise<string[]> }> {
  const place = await mkdtemp(join(folder, "bin-"));
  const told = join(place, "told");
  await writeFile(told, "");
  await writeFile(join(place, name), `#!/bin/sh\ntold=${told}\nfolder=${place}\n${script}\n`);
  await chmod(join(place, name), 0o755);
  const env = { NOTIFY_SOCKET: "/run/notify", PATH: `${place}:${process.env["PATH"] ?? ""}`, SECRET: "s3cret" };
  return { env, told: async () => (await readFile(told, "utf8")).split("\n").slice(0, -1) };
}

const writes = 'printf "%s|" "$@" >> $told; echo >> $told';

async function eventually(claim: () => Promise<boolean>, what: string): Promise<void> {
  for (const start = performance.now(); performance.now() - start < 30_000; await sleep(5)) if (await claim()) return;
  assert.fail(`never came true: ${what}`);
}

test("where systemd does not listen nothing is run", async () => {
  const heard: string[] = [];
  const notifier = systemdNotifier(
    { WATCHDOG_USEC: "30000000" },
    { program: "/does/not/exist", onFailure: (text) => heard.push(text) },
  );
  await notifier.ready("ok");
  await notifier.watchdog();
  assert.deepEqual([heard, notifier.watchdogMs], [[], null]);
});

test("every word reaches systemd-notify as an argument of its own, with our pid", async () => {
  const { env, told } = await program("systemd-notify", writes);
  const notifier = systemdNotifier(env, { pid: 42 });
  await notifier.ready("watching 2 targets; $(reboot) `reboot`");
  await notifier.watchdog("calm");
  await notifier.reloading();
  await notifier.stopping();
  const lines = await told();
  assert.deepEqual(
    lines.map((line) => line.replace(/=\d{6,}/, "=N")),
    [
      "--pid=42|READY=1|STATUS=watching 2 targets; $(reboot) `reboot`|",
      "--pid=42|WATCHDOG=1|STATUS=calm|",
      "--pid=42|RELOADING=1|MONOTONIC_USEC=N|",
      "--pid=42|STOPPING=1|",
    ],
  );
});

test("a status is one line, whatever is in it, and not without end", async () => {
  const { env, told } = await program("systemd-notify", writes);
  await systemdNotifier(env, { pid: 42 }).status(`a\nREADY=1\u0000\u001b[2J ${"x".repeat(1_000)}`);
  const [line = "", ...rest] = await told();
  assert.deepEqual(rest, []);
  assert.ok(line.startsWith("--pid=42|STATUS=a READY=1\\u0000\\u001b[2J xxx"));
  assert.ok(line.length < 450);
});

test("one process at a time: what is said meanwhile is merged, the last status wins, no sign of life is lost", async () => {
  const hold = `${writes}; while [ -e $folder/hold ]; do sleep 0.01; done`;
  const { env, told } = await program("systemd-notify", hold);
  const place = env["PATH"]?.split(":")[0] ?? "";
  await writeFile(join(place, "hold"), "");
  const notifier = systemdNotifier(env, { pid: 42 });
  const first = notifier.ready("starting");
  await eventually(async () => (await told()).length === 1, "the first message is under way");
  const others = [notifier.status("one"), notifier.watchdog("two"), notifier.status("three"), notifier.stopping()];
  const late = notifier.ready("four");
  await rm(join(place, "hold"));
  await Promise.all([first, ...others, late]);
  assert.deepEqual(await told(), ["--pid=42|READY=1|STATUS=starting|", "--pid=42|STOPPING=1|WATCHDOG=1|STATUS=four|"]);
});

test("a failure is told once and never thrown, and READY is said again", async () => {
  const { env, told } = await program(
    "systemd-notify",
    `${writes}; [ -e $folder/mended ] || { echo no such thing >&2; exit 3; }`,
  );
  const heard: string[] = [];
  const notifier = systemdNotifier(env, { pid: 42, onFailure: (text) => heard.push(text) });
  await notifier.ready("ok");
  await notifier.watchdog("ok");
  assert.deepEqual(heard, ["cannot tell systemd: systemd-notify failed (3): no such thing"]);
  await writeFile(join(env["PATH"]?.split(":")[0] ?? "", "mended"), "");
  await notifier.watchdog("mended");
  await notifier.watchdog("calm");
  assert.deepEqual((await told()).slice(2), [
    "--pid=42|READY=1|WATCHDOG=1|STATUS=mended|",
    "--pid=42|WATCHDOG=1|STATUS=calm|",
  ]);
});

test("without systemd-notify the failure names it and where it was looked for", async () => {
  const heard: string[] = [];
  const env = { NOTIFY_SOCKET: "/run/notify", PATH: folder };
  const notifier = systemdNotifier(env, { onFailure: (text) => heard.push(text) });
  await notifier.ready("ok");
  await notifier.watchdog("ok");
  assert.deepEqual(heard, [`cannot tell systemd: systemd-notify is not on the PATH ${folder}`]);
});

test("a call ends though systemd-notify hangs, and the hung one is ended", async () => {
  const { env, told } = await program("systemd-notify", `${writes}; exec sleep 600`);
  const heard: string[] = [];
  const notifier = systemdNotifier(env, { pid: 42, onFailure: (text) => heard.push(text) });
  await notifier.stopping();
  assert.deepEqual(await told(), ["--pid=42|STOPPING=1|"]);
  await eventually(() => Promise.resolve(heard.length === 1), "the hung one is ended");
  assert.deepEqual(heard, ["cannot tell systemd: systemd-notify did not end within 2 s"]);
});

test("nothing else of the environment is handed on", async () => {
  const { env, told } = await program("systemd-notify", "env | sort >> $told");
  await systemdNotifier(env).ready("ok");
  assert.doesNotMatch((await told()).join("\n"), /s3cret/);
  assert.match((await told()).join("\n"), /^NOTIFY_SOCKET=\/run\/notify$/m);
});

for (const [name, env, expected] of [
  ["is the time that systemd gives", { WATCHDOG_USEC: "30000000" }, 30_000],
  ["is ours when it names us", { WATCHDOG_USEC: "1500000", WATCHDOG_PID: "42" }, 1_500],
  ["is not ours when it names another", { WATCHDOG_USEC: "30000000", WATCHDOG_PID: "43" }, null],
  ["is off without a time", { WATCHDOG_PID: "42" }, null],
  ["is off at zero", { WATCHDOG_USEC: "0" }, null],
  ["is off when it is no number", { WATCHDOG_USEC: "soon" }, null],
] as const)
  test(`the watchdog ${name}`, () => {
    assert.equal(systemdNotifier({ NOTIFY_SOCKET: "/run/notify", ...env }, { pid: 42 }).watchdogMs, expected);
  });
