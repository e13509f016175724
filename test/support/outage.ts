import assert from "node:assert/strict";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Place, Running } from "./lockwarden.ts";
import { eventually } from "./servers.ts";

/** A daemon whose systemd is a program of ours that writes down what it is told. */
export type Watched = Readonly<{
  daemon: Running;
  /** How often the watchdog was fed. */
  fed(): Promise<number>;
}>;

const watchdogMs = 3_000;

export async function watched(here: Place, env: NodeJS.ProcessEnv = {}): Promise<Watched> {
  const folder = join(here.folder, "bin");
  const told = join(here.folder, "told");
  await mkdir(folder);
  await writeFile(told, "");
  await writeFile(join(folder, "systemd-notify"), `#!/bin/sh\necho "$@" >> ${told}\n`);
  await chmod(join(folder, "systemd-notify"), 0o755);
  const daemon = here.run({
    NOTIFY_SOCKET: "/run/notify",
    WATCHDOG_USEC: String(watchdogMs * 1_000),
    PATH: `${folder}:${process.env["PATH"] ?? ""}`,
    ...env,
  });
  const fed = async () => (await readFile(told, "utf8")).split("WATCHDOG=1").length - 1;
  await eventually(() => daemon.said().includes("nothing to do"));
  return { daemon, fed };
}

export type Outage = Readonly<{
  begin(): unknown;
  /** Some reason that the log gives while it is away. */
  says: RegExp;
  end(): unknown;
}>;

/** Takes the database away and gives it back: the daemon lives, feeds its watchdog, and says once what was and once that it is over. */
export async function survive({ daemon, fed }: Watched, { begin, says, end }: Outage): Promise<void> {
  const before = daemon.lines().length;
  const since = () => daemon.lines().slice(before);
  const texts = () => since().map(({ msg }) => String(msg));
  await begin();
  await eventually(() => texts().some((text) => /trying again|still away/.test(text) && says.test(text)));
  // A failed look is a finished one.
  const meals = await fed();
  await eventually(async () => (await fed()) > meals + 1);
  await end();
  await eventually(() => texts().some((text) => /^(connected|looks succeed).* away$/.test(text)), 60_000);
  assert.equal(daemon.child.exitCode, null);
  const count = (what: RegExp) => texts().filter((text) => what.test(text)).length;
  assert.equal(count(/trying again until it works$/), 1, texts().join("\n"));
  assert.equal(count(/ away$/), 1, texts().join("\n"));
  assert.equal(count(/^connected/), count(/^connected.* away$/), texts().join("\n"));
  assert.equal(since().filter(({ level }) => level === "error").length, 1, texts().join("\n"));
  assert.equal(count(/watchdog is not fed/), 0, texts().join("\n"));
  const reasons = texts().filter((text) => text.startsWith("still away"));
  assert.equal(new Set(reasons).size, reasons.length, reasons.join("\n"));
}
