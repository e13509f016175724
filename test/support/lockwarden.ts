import { type ChildProcess, type ChildProcessByStdio, type SpawnOptions, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { readJournal } from "../../src/journal-lines.ts";

const cli = fileURLToPath(new URL("../../src/cli.js", import.meta.url));

export type Ended = Readonly<{ code: number | null; signal: string | null; out: string; err: string }>;

/** As another user, in another folder, or within another program, which becomes it. */
export type Manner = Readonly<Pick<SpawnOptions, "uid" | "gid" | "cwd"> & { within?: readonly string[] }>;

/** The program as people run it; `input` and the environment are its own. */
export async function lockwarden(
  words: readonly string[],
  env: NodeJS.ProcessEnv = {},
  manner: Manner = {},
): Promise<Ended> {
  const child = start(words, env, manner);
  return child.ended;
}

export type Running = Readonly<{
  child: ChildProcess;
  /** Everything it has said so far. */
  said(): string;
  lines(): readonly Readonly<Record<string, unknown>>[];
  ended: Promise<Ended>;
}>;

export function start(words: readonly string[], env: NodeJS.ProcessEnv = {}, manner: Manner = {}): Running {
  const { within = [], ...how } = manner;
  const all = [...within, process.execPath, cli, ...words];
  return follow(
    spawn(all[0] ?? process.execPath, all.slice(1), {
      ...how,
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"], ...env },
    }),
  );
}

/** The program within a line of shell, where it is called as "$@". */
export async function throughShell(
  line: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const shell = spawn("bash", ["-c", line, "bash", process.execPath, cli, ...words], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return follow(shell).ended;
}

// A file that the runner ends for its time takes its daemons along, as servers.ts does with its servers.
const started = new Set<ChildProcess>();
process.once("SIGTERM", () => process.exit(143));
process.once("exit", () => {
  for (const child of started) child.kill("SIGKILL");
});

function follow(child: ChildProcessByStdio<null, Readable, Readable>): Running {
  started.add(child);
  child.once("exit", () => started.delete(child));
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    out += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    err += chunk;
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, out, err }));
    child.once("error", (error) => resolve({ code: null, signal: null, out, err: `${err}${error.message}` }));
  });
  return {
    child,
    ended,
    said: () => out + err,
    // Whole ones: what comes through a pipe may end in the middle of one.
    lines: () =>
      out
        .split("\n")
        .slice(0, -1)
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

/** Somebody who is not root: `{}` is ourselves. A text says why there is none, to skip the test with. */
export async function ordinaryUser(): Promise<Manner | string> {
  if (process.getuid?.() !== 0) return {};
  const nobody = { uid: 65_534, gid: 65_534, cwd: "/" };
  const tried = await lockwarden(["--version"], {}, nobody);
  if (tried.code === 0) return nobody;
  return "this checkout lies where only root may read it: run the test as an ordinary user";
}

export type Place = Readonly<{
  folder: string;
  config: string;
  stateDir: string;
  write(text: string): Promise<void>;
  journal(): Promise<readonly JournalEvent[]>;
  /** The daemon on that config; it is ended after the test. */
  run(env?: NodeJS.ProcessEnv, within?: readonly string[]): Running;
}>;

/** A folder with a config and a state folder of its own; gone after the tests of the file. */
export async function place(text: string): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-test-"));
  const config = join(folder, "lockwarden.yaml");
  const stateDir = join(folder, "state");
  const running: Running[] = [];
  after(async () => {
    for (const { child, ended } of running) {
      child.kill("SIGKILL");
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  });
  const write = (content: string) => writeFile(config, `${content}\nstate_dir: ${stateDir}\n`);
  await write(text);
  return {
    folder,
    config,
    stateDir,
    write,
    journal: async () => (await readJournal(stateDir)).events,
    run: (env = {}, within = []) => {
      const daemon = start(["run", "--config", config], env, { within });
      running.push(daemon);
      return daemon;
    },
  };
}

export async function textOf(file: string): Promise<string> {
  return readFile(file, "utf8");
}
