import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

// A Debian with a systemd of its own, booted in a container that shares nothing but read-only mounts of this build.

export type Ended = Readonly<{ status: number | null; output: string }>;
export type Machine = Readonly<{
  /** Runs a command in it as root, or as that user id. */
  run(command: readonly string[], userId?: string): Ended;
  write(path: string, text: string, mode?: string): void;
  close(): Promise<void>;
}>;

const project = fileURLToPath(new URL("../../../", import.meta.url));
const home = "/usr/lib/lockwarden";

/** What this suite needs and does not find, as sentences. */
export function missing(): string[] {
  const needs: [string, boolean][] = [
    ["run it as root: it boots a container", process.getuid?.() === 0],
    ...(["debootstrap", "systemd-nspawn", "nsenter"] as const).map((program): [string, boolean] => [
      `${program} is not here (Debian: apt-get install debootstrap systemd-container util-linux)`,
      spawnSync("which", [program]).status === 0,
    ]),
  ];
  return needs.filter(([, met]) => !met).map(([text]) => text);
}

/** Waits until the claim holds, and says what never came true otherwise. */
export async function eventually(claim: () => boolean, what: () => string): Promise<void> {
  for (const start = performance.now(); performance.now() - start < 60_000; await sleep(50)) if (claim()) return;
  throw new Error(`never came true: ${what()}`);
}

/** Boots a machine in which /usr/bin/lockwarden runs `entry`, a file of dist. */
export async function bootMachine(entry: string): Promise<Machine> {
  const kept = process.env["LOCKWARDEN_SYSTEMD_ROOT"];
  const folder = kept ?? join(mkdtempSync(join(tmpdir(), "lockwarden-systemd-")), "root");
  makeRoot(folder);
  const container = spawn("systemd-nspawn", containerWords(folder), { stdio: "ignore" });
  const exited = once(container, "exit");
  const close = async (): Promise<void> => {
    const leader = leaderOf(container);
    if (leader !== null) spawnSync("nsenter", [`--target=${leader}`, "--all", "systemctl", "poweroff", "--force"]);
    const bound = new AbortController();
    const late = sleep(30_000, undefined, { signal: bound.signal }).then(() => container.kill("SIGKILL"));
    await Promise.race([exited, late]);
    bound.abort();
    late.catch(() => undefined);
    if (kept === undefined) rmSync(dirname(folder), { recursive: true, force: true });
  };
  try {
    const machine = { ...(await reach(container)), close };
    machine.write("/usr/bin/lockwarden", `#!/bin/sh\nexec ${home}/node ${home}/dist/${entry} "$@"\n`, "0755");
    return machine;
  } catch (error) {
    await close();
    throw error;
  }
}

function makeRoot(folder: string): void {
  if (existsSync(join(folder, "usr/lib/systemd/systemd"))) return;
  // Renamed only when whole, so that an interrupted run is not taken for a root later.
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const packages = "--include=systemd,systemd-sysv,dbus,libnss-systemd,procps";
  try {
    execFileSync("debootstrap", ["--variant=minbase", packages, "bookworm", partial], { encoding: "utf8" });
  } catch (error) {
    throw new Error(`cannot make a Debian root in ${partial}; see debootstrap/debootstrap.log in it`, { cause: error });
  }
  renameSync(partial, folder);
}

function containerWords(folder: string): string[] {
  const mounts = [
    [join(project, "dist"), `${home}/dist`],
    [join(project, "package.json"), `${home}/package.json`],
    [join(project, "node_modules"), `${home}/node_modules`],
    [process.execPath, `${home}/node`],
    [join(project, "systemd/lockwarden.service"), "/etc/systemd/system/lockwarden.service"],
  ] as const;
  return [
    `--directory=${folder}`,
    `--machine=lockwarden-${process.pid}`,
    "--boot",
    // No machined and no systemd need run outside.
    "--register=no",
    "--keep-unit",
    "--private-network",
    // What is written lies in memory and is gone afterwards.
    "--volatile=overlay",
    "--console=pipe",
    ...mounts.map(([here, there]) => `--bind-ro=${realpathSync(here)}:${there}`),
  ];
}

/** The first process in the container, seen from here. */
function leaderOf({ pid }: ChildProcess): string | null {
  try {
    return /^\d+/.exec(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"))?.[0] ?? null;
  } catch {
    return null;
  }
}

async function reach(container: ChildProcess): Promise<Pick<Machine, "run" | "write">> {
  const enter = (words: readonly string[], input = ""): Ended => {
    const leader = leaderOf(container);
    if (leader === null) return { status: null, output: "the container is not running" };
    const { status, stdout, stderr } = spawnSync("nsenter", [`--target=${leader}`, "--all", ...words], {
      encoding: "utf8",
      input,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" },
    });
    return { status, output: stdout + stderr };
  };
  let state = "";
  await eventually(
    () => ["running", "degraded"].includes((state = enter(["systemctl", "is-system-running"]).output.trim())),
    () => `the container has booted; it says: ${state}`,
  );
  return {
    run: (command, userId) =>
      enter(userId === undefined ? command : ["setpriv", `--reuid=${userId}`, "--clear-groups", ...command]),
    write: (path, text, mode = "0644") => {
      const script = 'umask 077; mkdir -p -m 0755 "${1%/*}" && cat > "$1" && chmod "$2" "$1"';
      const { status, output } = enter(["sh", "-c", script, "write", path, mode], text);
      if (status !== 0) throw new Error(`cannot write ${path} in the container: ${output}`);
    },
  };
}
