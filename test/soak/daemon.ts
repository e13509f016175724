import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { readJournal } from "../../src/journal-lines.ts";
import { eventually } from "../support/eventually.ts";
import { start } from "../support/lockwarden.ts";

export type Daemon = Readonly<{
  pid: number;
  /** Its process is stopped, and nothing else changes: it keeps its sessions. */
  freeze(): void;
  thaw(): void;
  journal(): Promise<readonly JournalEvent[]>;
  stop(): Promise<void>;
}>;

export const idleForMs = 5_000;

/** Every default but the limits, which are there to stop what is done here: many acts in a minute. JSON is YAML. */
function config(url: string, folder: string): string {
  const wide = { per_tick: 1_000, per_minute: 10_000, repeat: { times: 1_000, within: "10m" } };
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
  const { child, ended, said } = start(["run", "--config", file]);
  const orphan = () => child.kill("SIGKILL");
  process.once("exit", orphan);
  await eventually("the daemon has connected", () => {
    if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}: ${said()}`);
    return said().includes("connected to");
  });
  return {
    pid: child.pid ?? 0,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
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
