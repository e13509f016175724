import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { readJournal } from "../../src/journal-lines.ts";
import { eventually } from "../support/eventually.ts";

export type Daemon = Readonly<{
  pid: number;
  /** Its process is stopped, and nothing else changes: it keeps its sessions. */
  freeze(): void;
  thaw(): void;
  /** What is reachable in its memory, after a full collection. */
  liveBytes(): Promise<number>;
  journal(): Promise<readonly JournalEvent[]>;
  stop(): Promise<void>;
}>;

export const idleForMs = 5_000;
const program = fileURLToPath(new URL("../../src/cli.js", import.meta.url));
const probe = new URL("./memory-probe.js", import.meta.url).href;

/** Every default but the limits, which are there to stop what is done here: many acts in a minute. JSON is YAML. */
function config(url: string, folder: string): string {
  const wide = { per_tick: 1_000, per_minute: 10_000, repeat: { times: 1_000, within: "10m" }, breaker: false };
  return JSON.stringify({
    mode: "enforce",
    targets: [{ name: "app", url, poll: "1s" }],
    rules: [
      {
        name: "abandoned",
        match: { state: "idle in transaction", idle_for: `${idleForMs}ms`, applications: "shop" },
        steps: ["terminate"],
      },
      {
        name: "stuck-login",
        match: { state: "active", transaction_for: "6s", blocks: { tables: "public.login", for: "2s" } },
        steps: ["cancel", { wait: "2s" }, "terminate"],
      },
    ],
    limits: wide,
    state_dir: join(folder, "state"),
  });
}

/** `lockwarden run` in a process of its own; it watches when this resolves. */
export async function startDaemon(url: string): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-soak-"));
  const file = join(folder, "lockwarden.yaml");
  await writeFile(file, config(url, folder));
  const measured = join(folder, "live-bytes");
  const child = spawn(process.execPath, ["--expose-gc", "--import", probe, program, "run", "--config", file], {
    env: { PATH: process.env["PATH"], MEMORY_PROBE: measured },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const orphan = () => child.kill("SIGKILL");
  process.once("exit", orphan);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let said = "";
  const listen = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-8_000);
  };
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  let connected = false;
  await eventually("the daemon has connected", () => {
    if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}: ${said}`);
    connected ||= said.includes("connected to");
    return connected;
  });
  return {
    pid: child.pid ?? 0,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    liveBytes: async () => {
      await rm(measured, { force: true });
      child.kill("SIGUSR2");
      return Number(
        await eventually("the daemon has measured itself", () => readFile(measured, "utf8").catch(() => "")),
      );
    },
    journal: async () => (await readJournal(join(folder, "state"))).events,
    stop: async () => {
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      await ended;
      process.off("exit", orphan);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Null where the system does not tell. */
export async function residentBytes(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(text) ?? [];
  return kilobytes === undefined ? null : Number(kilobytes) * 1_024;
}
