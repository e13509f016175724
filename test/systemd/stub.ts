import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { configSchema } from "../../src/config/schema.ts";
import { createLog } from "../../src/daemon/log.ts";
import { createPulse, feedWatchdog } from "../../src/daemon/pulse.ts";
import { systemdNotifier } from "../../src/daemon/systemd.ts";

// A daemon that does nothing but speak to systemd, as the real one does. SIGUSR2 lets its only target hang.

const log = createLog({ level: "info" });
const notifier = systemdNotifier(process.env, { onFailure: (text) => log.error({}, text) });
const pulse = createPulse();
const file = process.argv[4] ?? "";

function mistake(): string | null {
  const read = configSchema.safeParse(parse(readFileSync(file, "utf8")));
  if (!read.success) return read.error.issues[0]?.message ?? "unknown";
  const credential = `${process.env["CREDENTIALS_DIRECTORY"]}/app`;
  const isUsed = read.data.targets[0]?.password_file !== undefined;
  return isUsed && readFileSync(credential, "utf8").trim() === "" ? `${credential} is empty` : null;
}

async function reload(): Promise<void> {
  await notifier.reloading();
  const wrong = mistake();
  if (wrong === null) log.info({}, "config reloaded");
  else log.error({}, `config not reloaded, the old one stays: ${wrong}`);
  await notifier.ready("watching 1 target");
}

async function run(): Promise<void> {
  const over = new AbortController();
  let hung = false;
  process.on("SIGTERM", () => over.abort());
  process.on("SIGHUP", () => void reload());
  process.on("SIGUSR2", () => {
    hung = true;
  });
  log.info({}, "config read");
  await notifier.ready("watching 1 target");
  const fed = feedWatchdog({ notifier, pulse, status: () => "watching 1 target", log, signal: over.signal });
  while (!over.signal.aborted) {
    if (!hung) pulse.expect("app", performance.now() + 500);
    await sleep(100, undefined, { signal: over.signal }).catch(() => undefined);
  }
  await fed;
  await notifier.stopping();
}

const wrong = mistake();
if (wrong === null) await run();
else log.error({}, `${file}: ${wrong}`);
await log.flush();
process.exit(wrong === null ? 0 : 2);
