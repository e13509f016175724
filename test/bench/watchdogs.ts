import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { person } from "./server.ts";

/** Whoever frees the locks; it is ready when `start` resolves. */
export type Watchdog = Readonly<{ name: string; start(url: string): Promise<Running> }>;
export type Running = Readonly<{ stop(): Promise<void> }>;

const program = fileURLToPath(new URL("../../src/cli.js", import.meta.url));

type Rule = Readonly<{ poll: string; blocks: boolean; idleForMs: number }>;

/** The daemon itself, in a process of its own. */
export function lockwarden(name: string, rule: Rule): Watchdog {
  return {
    name,
    start: async (url) => {
      const folder = await mkdtemp(join(tmpdir(), "lockwarden-bench-"));
      const file = join(folder, "lockwarden.yaml");
      await writeFile(file, config({ url, folder, ...rule }));
      const child = spawn(process.execPath, [program, "run", "--config", file], {
        env: { PATH: process.env["PATH"] ?? "" },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const orphan = () => child.kill("SIGKILL");
      process.once("exit", orphan);
      const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      await new Promise<void>((resolve, reject) => {
        let said = "";
        const listen = (chunk: Buffer) => {
          said = (said + chunk.toString()).slice(-8_000);
          if (said.includes("connected to")) resolve();
        };
        child.stdout.on("data", listen);
        child.stderr.on("data", listen);
        child.once("exit", (code) => reject(new Error(`the daemon ended with ${code} while it started: ${said}`)));
      });
      return {
        stop: async () => {
          process.off("exit", orphan);
          child.kill("SIGTERM");
          await ended;
          await rm(folder, { recursive: true, force: true });
        },
      };
    },
  };
}

/** What people write first: every so often, end whoever has been idle for too long. No guard, no proof, no journal. */
export function pollingLoop(everyMs: number, idleForMs: number): Watchdog {
  const sql = `select pg_terminate_backend(pid) from pg_stat_activity
    where state = 'idle in transaction' and clock_timestamp() - state_change >= interval '${idleForMs} ms'`;
  return {
    name: `loop over pg_stat_activity, every ${everyMs / 1_000} s`,
    start: async (url) => {
      const client = await person(url, "loop");
      const stopping = new AbortController();
      const loop = async () => {
        while (!stopping.signal.aborted) {
          await client.query(sql);
          await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
        }
      };
      const ended = loop();
      return {
        stop: async () => {
          stopping.abort();
          await ended;
          await client.end();
        },
      };
    },
  };
}

type Wanted = Rule & Readonly<{ url: string; folder: string }>;

/** Every default but the limits, which are there to stop what is done here: many acts in a minute. JSON is YAML. */
function config({ url, folder, poll, blocks, idleForMs }: Wanted): string {
  const blocking = blocks ? { blocks: { tables: "public.user_session", waiters: 1 } } : {};
  return JSON.stringify({
    mode: "enforce",
    targets: [{ name: "app", url, poll }],
    rules: [
      {
        name: "stuck-login",
        match: { state: "idle in transaction", idle_for: `${idleForMs}ms`, ...blocking },
        steps: ["terminate"],
      },
    ],
    limits: { per_tick: 1_000, per_minute: 10_000, repeat: { times: 1_000, within: "10m" }, breaker: false },
    state_dir: join(folder, "state"),
  });
}
