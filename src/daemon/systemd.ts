import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { quietText } from "./log-line.ts";
import { createOnce } from "./once.ts";

/** Tells systemd how the daemon is. No call throws; each ends when systemd was told, or after `boundMs`. */
export type SystemdNotifier = Readonly<{
  /** systemd restarts the daemon unless it hears from it that often; null: it does not watch. */
  watchdogMs: number | null;
  ready(status: string): Promise<void>;
  status(text: string): Promise<void>;
  reloading(): Promise<void>;
  stopping(): Promise<void>;
  watchdog(status?: string): Promise<void>;
}>;

export type NotifierOptions = Readonly<{
  pid?: number;
  /** Hears of every kind of failure once. */
  onFailure?: (text: string) => void;
  /** The program that knows systemd's protocol: Node cannot speak to a datagram socket. */
  program?: string;
}>;

type Phase = "ready" | "reloading" | "stopping";
type Message = Readonly<{ phase: Phase | null; status: string | null; watchdog: boolean }>;

const nothing: Message = { phase: null, status: null, watchdog: false };
const programMs = 2_000;
const boundMs = 1_500;
const longestStatus = 400;

/** Does nothing where systemd does not listen (NOTIFY_SOCKET is unset). */
export function systemdNotifier(
  env: NodeJS.ProcessEnv = process.env,
  { pid = process.pid, onFailure = () => undefined, program = "systemd-notify" }: NotifierOptions = {},
): SystemdNotifier {
  if ((env["NOTIFY_SOCKET"] ?? "") === "") return silent;
  const failures = createOnce();
  let pending = nothing;
  let draining: Promise<void> | null = null;

  // One process at a time: what is said meanwhile is merged into the next message.
  const drain = async (): Promise<void> => {
    while (!isEmpty(pending)) {
      const message = pending;
      pending = nothing;
      const failure = await run(program, [`--pid=${pid}`, ...wordsOf(message)], env);
      if (failure === null) continue;
      if (failures.changed("systemd-notify", failure)) onFailure(failure);
      const isLast = isEmpty(pending);
      // The rest is said again anyway; a READY that is lost for good has systemd end the daemon.
      if (message.phase !== null) pending = merge({ ...nothing, phase: message.phase }, pending);
      if (isLast) break;
    }
    draining = null;
  };
  const say = async (message: Partial<Message>): Promise<void> => {
    pending = merge(pending, { ...nothing, ...message });
    draining ??= drain();
    await within(draining);
  };
  return {
    watchdogMs: watchdogMsOf(env, pid),
    ready: (status) => say({ phase: "ready", status }),
    status: (status) => say({ status }),
    reloading: () => say({ phase: "reloading" }),
    stopping: () => say({ phase: "stopping" }),
    watchdog: (status) => say({ watchdog: true, ...(status === undefined ? {} : { status }) }),
  };
}

const silent: SystemdNotifier = {
  watchdogMs: null,
  ready: () => Promise.resolve(),
  status: () => Promise.resolve(),
  reloading: () => Promise.resolve(),
  stopping: () => Promise.resolve(),
  watchdog: () => Promise.resolve(),
};

function isEmpty(message: Message): boolean {
  return message.phase === null && message.status === null && !message.watchdog;
}

/** The later one wins, but nothing undoes a stop and no sign of life is lost. */
function merge(earlier: Message, later: Message): Message {
  return {
    phase: earlier.phase === "stopping" ? "stopping" : (later.phase ?? earlier.phase),
    status: later.status ?? earlier.status,
    watchdog: earlier.watchdog || later.watchdog,
  };
}

function wordsOf({ phase, status, watchdog }: Message): string[] {
  return [
    ...(phase === null ? [] : [`${phase.toUpperCase()}=1`]),
    // A unit of Type=notify-reload wants to know that this reload is not an older one.
    ...(phase === "reloading" ? [`MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`] : []),
    ...(watchdog ? ["WATCHDOG=1"] : []),
    ...(status === null ? [] : [`STATUS=${oneLine(status)}`]),
  ];
}

/** A line break in a status would begin a new assignment of systemd's protocol. */
function oneLine(text: string): string {
  const line = quietText(text.replace(/\s+/g, " ").trim());
  return line.length > longestStatus ? `${line.slice(0, longestStatus - 1)}…` : line;
}

/** null when it succeeded, otherwise why not. */
function run(program: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<string | null> {
  // Nothing else of the environment, where secrets may be, is the program's business.
  const own = { NOTIFY_SOCKET: env["NOTIFY_SOCKET"], PATH: env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin" };
  return new Promise((resolve) => {
    execFile(program, words, { env: own, timeout: programMs, killSignal: "SIGKILL" }, (error, _, stderr) => {
      if (error === null) return resolve(null);
      const { code, killed } = error;
      if (code === "ENOENT") return resolve(`cannot tell systemd: ${program} is not on the PATH ${own.PATH}`);
      if (killed === true) return resolve(`cannot tell systemd: ${program} did not end within ${programMs / 1_000} s`);
      return resolve(`cannot tell systemd: ${program} failed (${code ?? "no code"}): ${oneLine(stderr)}`);
    });
  });
}

/** From WATCHDOG_USEC, unless it is meant for another process (sd_watchdog_enabled(3)). */
function watchdogMsOf(env: NodeJS.ProcessEnv, pid: number): number | null {
  const { WATCHDOG_USEC: microseconds, WATCHDOG_PID: meant } = env;
  if (meant !== undefined && meant !== String(pid)) return null;
  if (microseconds === undefined || !/^\d{1,15}$/.test(microseconds)) return null;
  const ms = Number(microseconds) / 1_000;
  return ms > 0 ? ms : null;
}

async function within(promise: Promise<void>): Promise<void> {
  const over = new AbortController();
  const bound = sleep(boundMs, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([promise, bound]);
  over.abort();
}
