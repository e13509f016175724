import { type ChildProcess, spawn } from "node:child_process";
import { chmod, chown, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";

export type User = Readonly<{ uid: number; gid: number }>;

/** A demo of the built program, off a terminal, with a folder for temporary files of its own. */
export type DemoRun = Readonly<{
  child: ChildProcess;
  temporary: string;
  stdout(): string;
  stderr(): string;
  /** Waits until it has said so; fails when it ends before. */
  said(what: RegExp): Promise<RegExpExecArray>;
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | string | null>;
}>;

export type DemoRunOptions = Readonly<{ root?: string; user?: User | null; cwd?: string; env?: NodeJS.ProcessEnv }>;

/** The project's folder: this file is dist/test/support/… in it. */
export const project = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

export async function startDemo(t: TestContext, options: DemoRunOptions = {}): Promise<DemoRun> {
  const { root = project, user = null, cwd = project, env = process.env } = options;
  const temporary = await mkdtemp(join(tmpdir(), "demo-test-"));
  // Run by root, the demo's server belongs to another user, who must be able to come here.
  await chmod(temporary, 0o755);
  if (user !== null) await chown(temporary, user.uid, user.gid);
  const child = spawn(process.execPath, [join(root, "dist", "src", "cli.js"), "demo"], {
    cwd,
    env: { ...env, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "pipe"],
    ...(user === null ? {} : user),
  });
  const texts = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (texts.stderr += chunk.toString()));
  let over = false;
  const ended = new Promise<number | string | null>((resolve) => {
    child.once("close", (code, signal) => {
      over = true;
      resolve(code ?? signal);
    });
  });
  t.after(async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(temporary, { recursive: true, force: true });
  });
  const said = async (what: RegExp): Promise<RegExpExecArray> => {
    await eventually(`it says ${what}`, () => over || what.test(texts.stdout), 120_000);
    const found = what.exec(texts.stdout);
    if (found === null) throw new Error(`it ended without saying ${what}: ${texts.stdout}${texts.stderr}`);
    return found;
  };
  return { child, temporary, ended, said, stdout: () => texts.stdout, stderr: () => texts.stderr };
}

/** Of the demo's own server, while it runs. */
export async function serverPid({ temporary }: DemoRun): Promise<number> {
  const folder = (await readdir(temporary)).find((name) => name.startsWith("lockwarden-pg-"));
  const text = await readFile(join(temporary, folder ?? "", "data", "postmaster.pid"), "utf8");
  return Number(text.split("\n")[0]);
}

export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
}

/** The pids of the sessions whose process title, such as `postgres: reporting app …`, fits; where there is a /proc. */
export async function sessionPids(server: number, title: RegExp): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const [, parent] = /\) \S (\d+) /.exec(stat) ?? [];
    const words = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (Number(parent) === server && title.test(words)) found.push(Number(pid));
  }
  return found;
}

/** null when this is not root: then the test's own user is an ordinary one. */
export async function ordinaryUser(): Promise<User | null> {
  if (process.getuid?.() !== 0) return null;
  const line = (await readFile("/etc/passwd", "utf8")).split("\n").find((one) => one.startsWith("nobody:"));
  const [, , uid, gid] = (line ?? "nobody:x:65534:65534").split(":");
  return { uid: Number(uid), gid: Number(gid) };
}
