import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const unit = fileURLToPath(new URL("../../../systemd/lockwarden.service", import.meta.url));
const text = readFileSync(unit, "utf8");

type Ended = Readonly<{ status: number | null; output: string }>;

function analyze(...words: readonly string[]): Ended {
  const env = { ...process.env, SYSTEMD_COLORS: "0", SYSTEMD_PAGER: "" };
  const { status, stdout, stderr, error } = spawnSync("systemd-analyze", words, { encoding: "utf8", env });
  return { status, output: error === undefined ? stdout + stderr : error.message };
}

// 252 is the first that judges a unit file by itself and knows every setting used here.
const version = Number(/^systemd (\d+)/.exec(analyze("--version").output)?.[1] ?? 0);
const skip = version >= 252 ? false : "systemd-analyze 252 or later is not here (Debian: apt-get install systemd)";

/** The values of a setting, in their order. */
function settings(key: string): string[] {
  return text.split("\n").flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
}

test("the unit's exposure is 1.5 or better", { skip }, () => {
  const { status, output } = analyze("security", "--offline=yes", "--threshold=15", "--no-pager", unit);
  const figure = /Overall exposure level for lockwarden\.service: (\d+\.\d+)/.exec(output)?.[1];
  assert.notEqual(figure, undefined, output);
  assert.ok(Number(figure) <= 1.5, output);
  assert.equal(status, 0, output);
});

test("systemd finds nothing to complain about in the unit", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "lockwarden-unit-"));
  try {
    // The program need not be installed here, and verify insists that it is.
    const copy = join(folder, "lockwarden.service");
    writeFileSync(copy, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { status, output } = analyze("verify", copy);
    assert.equal(output, "");
    assert.equal(status, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a credential whose file is missing is empty, as systemd would not name it", () => {
  const names = (key: string) => settings(key).map((value) => value.slice(0, value.indexOf(":")));
  assert.deepEqual(names("LoadCredential"), ["app"]);
  assert.deepEqual(settings("SetCredential"), [String.raw`app:\n`]);
});

test("a wrong config or a missing credential is not restarted, and nothing keeps V8 from compiling", () => {
  assert.deepEqual(settings("RestartPreventExitStatus"), ["2 243"]);
  assert.deepEqual(settings("MemoryDenyWriteExecute"), []);
  assert.deepEqual(settings("RestrictAddressFamilies"), ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"]);
});
