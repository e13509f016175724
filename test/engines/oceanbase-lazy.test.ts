import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { LinkLost } from "../../src/engines/engine.ts";
import { loadDriver, oldestDriver } from "../../src/engines/oceanbase/driver.ts";
import { closedPort } from "../support/oceanbase-target.ts";
import { tempFolder } from "../support/temp-folder.ts";

/** The first version that a tenant in Oracle mode lets in. */
const floor = [3, 21, 0];

type Package = Readonly<Record<"dependencies" | "optionalDependencies", Readonly<Record<string, string>>>>;

function isFromFloor(version: string): boolean {
  const parts = (/\d+(?:\.\d+)*/.exec(version)?.[0] ?? "0").split(".").map(Number);
  for (const [index, least] of floor.entries()) if ((parts[index] ?? 0) !== least) return (parts[index] ?? 0) > least;
  return true;
}

test("the driver is an optional dependency that is new enough for Oracle mode", async () => {
  const written = JSON.parse(await readFile("package.json", "utf8")) as Package;
  assert.equal(written.dependencies["mysql2"], undefined);
  assert.ok(isFromFloor(written.optionalDependencies["mysql2"] ?? "0"), written.optionalDependencies["mysql2"]);
  assert.equal(oldestDriver, floor.join("."));
});

test("the installed driver is new enough for Oracle mode", () => {
  const { version } = createRequire(import.meta.url)("mysql2/package.json") as { version: string };
  assert.ok(isFromFloor(version), version);
});

test("a version before the floor is none that is new enough", () => {
  assert.deepEqual(["3.20.0", "2.99.0", "^3.20.1", ""].filter(isFromFloor), []);
  assert.deepEqual(["3.21.0", "3.24.6", "^3.21.0", "4.0.0"].map(isFromFloor), [true, true, true, true]);
});

test("a driver that is not installed is said so, with the way to get it", async () => {
  const absent = () => Promise.reject(new Error("Cannot find package 'mysql2' imported from x\nRequire stack:"));
  await assert.rejects(loadDriver(absent), (error: unknown) => {
    assert.ok(error instanceof LinkLost);
    assert.equal(error.kind, "refused");
    assert.match(error.message, /mysql2, cannot be loaded: Cannot find package 'mysql2' imported from x$/);
    assert.equal(error.hint, "install it beside Lockwarden: npm install mysql2@^3.21.0");
    return true;
  });
});

/** Which of the driver's files the program had loaded when it ended, whatever came of its target. */
async function driverFilesOf(t: TestContext, url: string, engine: string): Promise<readonly string[]> {
  const folder = await tempFolder(t);
  const [config, spy, loaded] = ["lockwarden.yaml", "spy.cjs", "loaded.json"].map((name) => join(folder, name));
  await writeFile(
    String(config),
    `state_dir: ${folder}\ntargets: [{name: app, engine: ${engine}, url: "${url}", connect_timeout: 2s}]\n` +
      "rules: [{name: idle, match: {state: idle in transaction, idle_for: 30s}, steps: [notify], notify: [log]}]\n" +
      "channels: [{name: log, type: log}]\n",
  );
  await writeFile(
    String(spy),
    `process.on("exit", () => require("node:fs").writeFileSync(${JSON.stringify(loaded)}, JSON.stringify(Object.keys(require.cache))));`,
  );
  const cli = resolve("dist/src/cli.js");
  await promisify(execFile)(process.execPath, [
    "--require",
    String(spy),
    cli,
    "check",
    "--config",
    String(config),
  ]).catch((error: unknown) => assert.ok(error instanceof Error && "code" in error && error.code === 3, String(error)));
  const files = JSON.parse(await readFile(String(loaded), "utf8")) as readonly string[];
  return files.filter((file) => /[\\/]mysql2[\\/]/.test(file));
}

test("the driver is loaded when a target needs it, and by nobody else", async (t) => {
  const port = await closedPort();
  assert.deepEqual(await driverFilesOf(t, `postgres://u@127.0.0.1:${port}/d`, "postgres"), []);
  assert.notDeepEqual(await driverFilesOf(t, `oceanbase://u@t@127.0.0.1:${port}`, "oceanbase"), []);
});
