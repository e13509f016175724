import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "../control-socket.ts";
import type { Answers } from "../daemon/control.ts";
import { DemoFailed } from "./failure.ts";

/** `lockwarden run` as a process of its own, and what it says. */
export type DaemonProcess = Readonly<{
  pid: number;
  /** Its latest log sentences, oldest first. */
  said(): readonly string[];
  /** How it ended; null: it runs. */
  ended(): string | null;
  status(signal: AbortSignal): Promise<Answers["status"] | null>;
  /** What it decides now, by its own look. */
  once(signal: AbortSignal): Promise<Answers["once"] | null>;
  /** SIGTERM, and how it ended: `exit code 0` when all is well. */
  stop(): Promise<string>;
}>;

export type DaemonOptions = Readonly<{
  /** The program to run, such as dist/src/cli.js. */
  program: string;
  configFile: string;
  stateDir: string;
  folder: string;
}>;

const wellEnded = "exit code 0";

const readyMs = 20_000;
const askAgainMs = 50;
const answerMs = 10_000;
/** The daemon promises to end in under 2 s. */
const stopMs = 10_000;
const mostSaid = 20;

/** A service manager's words to us are not for the daemon that we start. */
const notInherited = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "STATE_DIRECTORY"];

export function startDaemonProcess({ program, configFile, stateDir, folder }: DaemonOptions): DaemonProcess {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !notInherited.includes(name)));
  const child = spawn(process.execPath, [...process.execArgv, program, "run", "--config", configFile], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      said.push(sentenceOf(line));
      if (said.length > mostSaid) said.shift();
    });
  }
  let ended: string | null = null;
  const ending = new Promise<string>((resolve) => {
    const end = (how: string) => {
      ended ??= how;
      resolve(ended);
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(code === null ? `signal ${signal}` : `exit code ${code}`));
  });
  const ask = async <Command extends keyof Answers>(
    command: Command,
    signal: AbortSignal,
  ): Promise<Answers[Command] | null> => {
    const reply = await request(stateDir, { command }, { timeoutMs: answerMs, signal });
    return reply.kind === "nobody" ? null : (reply.answer as Answers[Command]);
  };
  return {
    pid: child.pid ?? 0,
    said: () => said,
    ended: () => ended,
    status: (signal) => ask("status", signal),
    once: (signal) => ask("once", signal),
    stop: () => stop(child, ending),
  };
}

/** Waits until it is connected, and the one that acts. */
export async function untilReady(daemon: DaemonProcess, signal: AbortSignal): Promise<void> {
  const end = performance.now() + readyMs;
  for (;;) {
    mustRun(daemon);
    // Before it listens nobody answers, and before it is ready it refuses.
    const status = await daemon.status(signal).catch(() => null);
    if (status?.targets.every(({ connected, leader }) => connected && leader) === true) return;
    if (performance.now() > end) throw new DemoFailed(`the daemon is not ready after ${readyMs / 1_000} s`);
    await sleep(askAgainMs, undefined, { signal });
  }
}

/** SIGTERM, and a good end. */
export async function stopWell(daemon: DaemonProcess): Promise<void> {
  mustRun(daemon);
  const how = await daemon.stop();
  if (how !== wellEnded) throw new DemoFailed(`the daemon, told to stop: expected ${wellEnded}, got ${how}`);
}

/** Throws when it has ended. */
export function mustRun(daemon: DaemonProcess): void {
  const ended = daemon.ended();
  if (ended !== null) throw new DemoFailed(`the daemon ended by itself (${ended})`);
}

async function stop(child: ChildProcess, ending: Promise<string>): Promise<string> {
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), stopMs);
  const how = await ending;
  clearTimeout(hard);
  return how;
}

/** The sentence of a line of the daemon's JSON log; any other line as it is. */
function sentenceOf(line: string): string {
  try {
    const record: unknown = JSON.parse(line);
    if (typeof record === "object" && record !== null && "msg" in record) return String(record.msg);
  } catch {
    // A config's mistakes are plain text on stderr.
  }
  return line;
}
