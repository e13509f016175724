import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { bootMachine, eventually, type Machine, missing } from "./machine.ts";

// On demand: `npm run test:systemd`, as root. LOCKWARDEN_SYSTEMD_ROOT: a folder in which the Debian root is kept for the
// next time. LOCKWARDEN_SYSTEMD_ENTRY: the file of dist that is run; left out, the program, else the stub.

const program = "src/cli.js";
const stub = "test/systemd/stub.js";
const hasProgram = existsSync(new URL(`../../${program}`, import.meta.url));
const entry = process.env["LOCKWARDEN_SYSTEMD_ENTRY"] ?? (hasProgram ? program : stub);

const configFile = "/etc/lockwarden/lockwarden.yaml";
const credentialFile = "/etc/lockwarden/credentials/app";
const goodConfig = `
targets:
  - name: app
    url: postgres://lockwarden@127.0.0.1:1/app
    password_file: \${CREDENTIALS_DIRECTORY}/app
rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: 30s, blocks: {for: 5s}}
    steps: [terminate]
`;
const wrongConfig = "targets: nonsense\n";

let machine: Machine;
before(async () => {
  assert.deepEqual(missing(), [], "something is missing");
  machine = await bootMachine(entry);
});
after(async () => machine?.close());

function systemctl(...words: readonly string[]): string {
  const { status, output } = machine.run(["systemctl", "--no-pager", ...words]);
  assert.equal(status, 0, `systemctl ${words.join(" ")}: ${output}\n${heard(true)}`);
  return output;
}

/** What systemd knows of the service. */
function shown(property: string): string {
  return systemctl("show", "--value", `--property=${property}`, "lockwarden").trim();
}

let preparedMs = 0;

/** What the daemon itself, or with `all` also systemd of it, has logged since the last `prepare`. */
function heard(all = false): string {
  const unit = all ? "--unit=lockwarden" : "--identifier=lockwarden";
  machine.run(["journalctl", "--sync"]);
  // Not by a cursor: with a filter, journalctl leaves out the first entry after it.
  return machine.run(["journalctl", "--quiet", "--output=cat", `--since=@${preparedMs / 1_000}`, unit]).output;
}

/** A stopped service with a right config, a credential, and no history. */
function prepare(dropIn = ""): void {
  machine.run(["systemctl", "stop", "lockwarden"]);
  machine.run(["systemctl", "reset-failed", "lockwarden"]);
  machine.write(configFile, goodConfig);
  machine.write(credentialFile, "s3cret", "0600");
  machine.write("/etc/systemd/system/lockwarden.service.d/test.conf", dropIn);
  systemctl("daemon-reload");
  preparedMs = Date.now();
}

function startAnew(dropIn = ""): void {
  prepare(dropIn);
  systemctl("start", "lockwarden");
}

async function eventuallyShown(property: string, expected: (value: string) => boolean): Promise<void> {
  await eventually(
    () => expected(shown(property)),
    () => `${property} is ${shown(property)}\n${heard(true)}`,
  );
}

test("it is started when it says READY, with its target out of reach, and its status is seen", async () => {
  startAnew();
  assert.equal(shown("ActiveState"), "active", heard(true));
  assert.equal(shown("NRestarts"), "0");
  await eventuallyShown("StatusText", (text) => text !== "");
});

test("its lines reach the journal with their priority and without the prefix", async () => {
  startAnew();
  await eventually(
    () => heard().includes('{"level":"info"'),
    () => `a line is logged: ${heard(true)}`,
  );
  assert.doesNotMatch(heard(), /^<\d>/m);
});

test("SIGHUP reads the config again and goes on in the same process", async () => {
  startAnew();
  const pid = shown("MainPID");
  systemctl("reload", "lockwarden");
  await eventually(
    () => /reload/i.test(heard()),
    () => `the daemon says that it reloaded: ${heard(true)}`,
  );
  await eventuallyShown("ActiveState", (state) => state === "active");
  assert.equal(shown("MainPID"), pid);
});

test("a config that is wrong at a reload is told and does not end it", async () => {
  startAnew();
  const pid = shown("MainPID");
  machine.write(configFile, wrongConfig);
  systemctl("reload", "lockwarden");
  await eventually(
    () => /"level":"(?:warn|error)".*config/i.test(heard()),
    () => `the daemon complains: ${heard(true)}`,
  );
  // It says READY when it is done, which is after it complained.
  await eventuallyShown("ActiveState", (state) => state === "active");
  assert.equal(shown("MainPID"), pid);
});

test("a wrong config at start ends it with 2, and it is not restarted", async () => {
  prepare("[Service]\nRestartSec=100ms\n");
  machine.write(configFile, wrongConfig);
  assert.notEqual(machine.run(["systemctl", "start", "lockwarden"]).status, 0);
  await eventuallyShown("ActiveState", (state) => state === "failed");
  assert.deepEqual([shown("ExecMainStatus"), shown("NRestarts")], ["2", "0"]);
  assert.notEqual(heard(), "");
});

test("a frozen daemon is restarted by the watchdog", async () => {
  startAnew("[Service]\nWatchdogSec=3s\nRestartSec=100ms\n");
  const pid = shown("MainPID");
  assert.equal(machine.run(["kill", "-STOP", pid]).status, 0);
  await eventuallyShown("NRestarts", (count) => count === "1");
  await eventuallyShown("ActiveState", (state) => state === "active");
  assert.notEqual(shown("MainPID"), pid);
  assert.match(heard(true), /Watchdog timeout/);
});

test("a healthy daemon is left alone by the watchdog", async () => {
  startAnew("[Service]\nWatchdogSec=2s\nRestartSec=100ms\n");
  const fed = shown("WatchdogTimestampMonotonic");
  await eventuallyShown("WatchdogTimestampMonotonic", (moment) => Number(moment) > Number(fed) + 6_000_000);
  assert.deepEqual([shown("ActiveState"), shown("NRestarts")], ["active", "0"]);
});

const stubOnly = entry === stub ? false : "only the stub can let a target hang on demand";
test("a daemon that lives while a target hangs is restarted too", { skip: stubOnly }, async () => {
  startAnew("[Service]\nWatchdogSec=3s\nRestartSec=100ms\n");
  assert.equal(machine.run(["kill", "-USR2", shown("MainPID")]).status, 0);
  await eventuallyShown("NRestarts", (count) => count === "1");
  assert.match(heard(), /target app should have been looked at/);
});

test("a stop takes less than two seconds and leaves nothing failed", () => {
  startAnew();
  const start = performance.now();
  systemctl("stop", "lockwarden");
  const tookMs = performance.now() - start;
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
  assert.deepEqual([shown("Result"), shown("ExecMainStatus")], ["success", "0"]);
});

test("the credential is read by the service and by nobody else", () => {
  startAnew();
  const userId = machine.run(["stat", "--format=%u", `/proc/${shown("MainPID")}`]).output.trim();
  const reads = (id: string) => machine.run(["cat", "/run/credentials/lockwarden.service/app"], id);
  assert.notEqual(userId, "0");
  assert.deepEqual(reads(userId), { status: 0, output: "s3cret" });
  assert.notEqual(reads("65534").status, 0);
  assert.notEqual(machine.run(["cat", credentialFile], userId).status, 0);
});

test("a missing credential ends it with 2 and is named, and is not tried again", async () => {
  prepare("[Service]\nRestartSec=100ms\n");
  machine.run(["rm", credentialFile]);
  assert.notEqual(machine.run(["systemctl", "start", "lockwarden"]).status, 0);
  await eventuallyShown("ActiveState", (state) => state === "failed");
  assert.deepEqual([shown("ExecMainStatus"), shown("NRestarts")], ["2", "0"], heard(true));
  assert.match(heard(), /\/run\/credentials\/lockwarden\.service\/app.*empty/);
});

test("a missing credential that the config does not use does not matter", () => {
  prepare();
  machine.run(["rm", credentialFile]);
  machine.write(configFile, goodConfig.replace(/.*password_file.*\n/, ""));
  systemctl("start", "lockwarden");
  assert.equal(shown("ActiveState"), "active");
});

test("its folder is its own", () => {
  startAnew();
  const { output } = machine.run(["stat", "--dereference", "--format=%a", "/var/lib/lockwarden"]);
  assert.equal(output.trim(), "750");
  assert.notEqual(machine.run(["ls", "/var/lib/lockwarden/"], "65534").status, 0);
});
