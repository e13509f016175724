import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  cp,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A PostgreSQL of one's own: on loopback, in a temporary folder, gone after `stop`. */
export type EmbeddedPostgres = Readonly<{
  host: "127.0.0.1";
  port: number;
  /** Its Unix socket lives here too. */
  folder: string;
  /** bin/ and lib/: a copy of its own, one that several share, or those of a system package. */
  program: string;
  dataFolder: string;
  pid: number;
  /** The server's own superuser; without the option `password` trust is the only rule in pg_hba.conf. */
  superuser: "postgres";
  /** With the superuser's password, where there is one. */
  url(user?: string, database?: string): string;
  /** Restarts it on the same port: `fast` disconnects clients, `immediate` is a crash. */
  restart(how: "fast" | "immediate"): Promise<void>;
  stop(): Promise<void>;
}>;

export type EmbeddedOptions = Readonly<{
  /** Major version, such as 18; its npm package must be installed. Default: the newest that is. */
  major?: number;
  /** Lines of postgresql.conf. */
  settings?: Readonly<Record<string, string>>;
  /** pg_hba.conf; default: everybody is trusted on loopback and on the Unix socket. */
  hba?: string;
  /** Takes what the server writes to its log. */
  onLog?(text: string): void;
  /** More environment of the server's process. */
  environment?: Readonly<Record<string, string>>;
  /** A folder of `keepFolder`: what servers of one version have in common is made there once, and then copied. */
  kept?: string | undefined;
  /** The superuser's: then nobody is trusted, every role needs its password. Letters and digits. */
  password?: string;
}>;

/** No PostgreSQL to start: says where one was looked for. */
export class NoPostgres extends Error {
  override readonly name = "NoPostgres";
}

const oldest = 12;
const newest = 18;

/** The folders with bin/ and lib/ that could be started, newest first: npm's binaries, then the system's. */
export function postgresFolders(major?: number): string[] {
  const majors = major === undefined ? Array.from({ length: newest - oldest + 1 }, (_, i) => newest - i) : [major];
  const suffix = {
    "linux-x64": "",
    "linux-arm64": "-arm64",
    "darwin-arm64": "-darwin-arm64",
    "darwin-x64": "-darwin-x64",
  };
  const platform = suffix[`${process.platform}-${process.arch}` as keyof typeof suffix];
  const folders: string[] = [];
  for (const version of majors) {
    if (platform !== undefined) {
      for (const base of packageFolders()) folders.push(join(base, `pg${version}${platform}`, "native"));
    }
    folders.push(`/usr/lib/postgresql/${version}`, `/usr/pgsql-${version}`);
  }
  return folders.filter((folder) => existsSync(join(folder, "bin", "initdb")));
}

/** node_modules folders above this file, and the test matrix's own. */
function packageFolders(): string[] {
  const folders: string[] = [];
  for (let at = dirname(fileURLToPath(import.meta.url)); dirname(at) !== at; at = dirname(at)) {
    folders.push(join(at, "node_modules"), join(at, "test", "matrix", "node_modules"));
  }
  return folders;
}

/** Copies the binaries to a folder that the server's user can read, and starts a fresh server there (0.5 s to 1.5 s). */
export async function startPostgres(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const [source] = postgresFolders(options.major);
  if (source === undefined) {
    throw new NoPostgres(
      `no PostgreSQL ${options.major ?? `${oldest} to ${newest}`} for ${process.platform}-${process.arch} found: ` +
        "neither the binaries that npm carries (optional dependencies, left out by --omit=optional) nor a system package such as Debian's postgresql",
    );
  }
  const owner = await serverOwner();
  const folder = await mkdtemp(join(await temporaryFolder(owner), "lockwarden-pg-"));
  try {
    return await startIn(folder, source, { ...options, owner });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

type Owned = EmbeddedOptions & Readonly<{ owner: Owner }>;

async function startIn(folder: string, source: string, { owner, ...options }: Owned): Promise<EmbeddedPostgres> {
  const dataFolder = join(folder, "data");
  const program = await (options.kept === undefined || options.password !== undefined
    ? freshCluster(folder, source, { ...options, owner })
    : copyOfKept(folder, source, { owner, kept: options.kept }));
  const as = owner === null ? {} : { uid: owner.uid, gid: owner.gid };
  const environment = environmentIn(folder);
  if (options.hba !== undefined) {
    await writeFile(join(dataFolder, "pg_hba.conf"), options.hba);
  }
  const startAt = (at: number) => {
    const settings = {
      listen_addresses: "127.0.0.1",
      port: String(at),
      unix_socket_directories: folder,
      fsync: "off",
      full_page_writes: "off",
      timezone: "UTC",
      log_line_prefix: "%m [%p] %c ",
      ...options.settings,
    };
    const flags = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
    const spawned = { ...as, cwd: folder, env: { ...environment, ...options.environment }, onLog: options.onLog };
    return launch(join(program, "bin", "postgres"), ["-D", dataFolder, ...flags], spawned);
  };
  let { server, port } = await startSomewhere(startAt);
  const secret = options.password === undefined ? "" : `:${options.password}`;

  // A parent that dies must not leave a server behind; stop() is the orderly way.
  const orphan = () => server.kill("SIGQUIT");
  process.once("exit", orphan);
  return {
    host: "127.0.0.1",
    port,
    folder,
    program,
    dataFolder,
    get pid() {
      return server.pid ?? 0;
    },
    superuser: "postgres",
    url: (user = "postgres", database = "postgres") =>
      `postgres://${user}${user === "postgres" ? secret : ""}@127.0.0.1:${port}/${database}`,
    restart: async (how) => {
      await end(server, how === "fast" ? "SIGINT" : "SIGQUIT");
      server = await startAt(port);
    },
    stop: async () => {
      process.off("exit", orphan);
      await end(server, "SIGINT");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function environmentIn(folder: string): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC", HOME: folder };
}

/** Binaries, and a cluster in `data` that was never started. Returns where the binaries are. */
async function freshCluster(folder: string, source: string, { owner, ...options }: Owned): Promise<string> {
  const program = await copyProgram(source, folder);
  await letIn(folder, owner);
  const access = await accessOf(options, folder, owner);
  const initdb = ["-D", join(folder, "data"), "-U", "postgres", ...access, "-E", "UTF8", "--locale=C", "--no-sync"];
  const as = owner === null ? {} : { uid: owner.uid, gid: owner.gid };
  await run(join(program, "bin", "initdb"), initdb, { ...as, cwd: folder, env: environmentIn(folder) });
  await rm(join(folder, passwordName), { force: true });
  return program;
}

async function letIn(folder: string, owner: Owner): Promise<void> {
  if (owner !== null) await chown(folder, owner.uid, owner.gid);
  await chmod(folder, 0o755);
}

/** An empty folder for `kept`; whoever made it removes it. */
export async function keepFolder(): Promise<string> {
  const folder = await mkdtemp(join(await temporaryFolder(await serverOwner()), "lockwarden-kept-"));
  await chmod(folder, 0o755);
  return folder;
}

type Keeping = Readonly<{ owner: Owner; kept: string }>;

/** Several may want the same one at the same time: each that finds none makes one, and the first stays. */
async function copyOfKept(folder: string, source: string, { owner, kept }: Keeping): Promise<string> {
  const model = join(kept, source.replaceAll(/[^\w.-]+/g, "_"));
  if (!existsSync(model)) {
    const made = await mkdtemp(join(kept, "new-"));
    await freshCluster(made, source, { owner });
    await rename(made, model).catch(async (error: unknown) => {
      if (!existsSync(model)) throw error;
      await rm(made, { recursive: true });
    });
  }
  await letIn(folder, owner);
  await run("cp", ["-a", join(model, "data"), join(folder, "data")]);
  const program = join(model, "program");
  return existsSync(program) ? program : source;
}

/** Root's own may be closed to everybody else, and the server is somebody else then. */
async function temporaryFolder(owner: Owner): Promise<string> {
  if (owner === null) return tmpdir();
  for (const folder of [tmpdir(), "/tmp", "/var/tmp"]) {
    if (await isOpenToAll(folder)) return folder;
  }
  return tmpdir();
}

async function isOpenToAll(folder: string): Promise<boolean> {
  for (let at = await realpath(folder).catch(() => ""); at !== dirname(at); at = dirname(at)) {
    const found = await stat(at).catch(() => null);
    if (found === null || (found.mode & 0o001) === 0) return false;
  }
  return true;
}

const passwordName = "superuser.password";

/** How people are let in, in initdb's words. */
async function accessOf({ password }: EmbeddedOptions, folder: string, owner: Owner): Promise<string[]> {
  if (password === undefined) return ["-A", "trust"];
  const file = join(folder, passwordName);
  await writeFile(file, password, { mode: 0o600 });
  if (owner !== null) await chown(file, owner.uid, owner.gid);
  return ["-A", "scram-sha-256", "--pwfile", file];
}

/** A port that was free may be taken a moment later, by another server of this kind say: then another one is tried. */
async function startSomewhere(
  startAt: (port: number) => Promise<ChildProcess>,
): Promise<{ server: ChildProcess; port: number }> {
  for (let left = 3; ; left--) {
    const port = await freePort();
    try {
      return { server: await startAt(port), port };
    } catch (error) {
      const taken = error instanceof Error && error.message.includes("Address already in use");
      if (!taken || left === 0) throw error;
    }
  }
}

type Owner = Readonly<{ uid: number; gid: number }> | null;

/** PostgreSQL refuses to run as root; then its files belong to `nobody`. null: the user who runs us will do. */
async function serverOwner(): Promise<Owner> {
  if (process.getuid?.() !== 0) return null;
  for (const line of (await readFile("/etc/passwd", "utf8")).split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name === "nobody") return { uid: Number(uid), gid: Number(gid) };
  }
  throw new NoPostgres("PostgreSQL refuses to run as root, and there is no user `nobody` to run it as");
}

/** npm's binaries are copied, as their links may be missing and their folder unreadable for the server's user. */
async function copyProgram(source: string, folder: string): Promise<string> {
  const listed = join(source, "pg-symlinks.json");
  if (!existsSync(listed)) return source;
  const program = join(folder, "program");
  await cp(source, program, { recursive: true, verbatimSymlinks: true });
  await openUp(program);
  const links = JSON.parse(await readFile(listed, "utf8")) as { source: string; target: string }[];
  for (const link of links) {
    const target = join(program, link.target.replace(/^native\//, ""));
    if (!existsSync(target)) await symlink(basename(link.source), target);
  }
  return program;
}

/** The copy may come from a read-only folder, or from one that only root can read; nobody else could use or remove it. */
async function openUp(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const programs = entry.isDirectory() || basename(entry.parentPath) === "bin";
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), programs ? 0o755 : 0o644);
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port on 127.0.0.1");
  return address.port;
}

type SpawnOptions = Readonly<{
  uid?: number;
  gid?: number;
  cwd: string;
  env: NodeJS.ProcessEnv;
  onLog: EmbeddedOptions["onLog"];
}>;

async function launch(program: string, args: string[], { onLog, ...options }: SpawnOptions): Promise<ChildProcess> {
  const server = spawn(program, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`PostgreSQL ended with ${code} while it started: ${said}`)));
    server.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4_000);
      if (/ready to accept (read[- ]only )?connections/.test(said)) resolve();
    });
  });
  server.removeAllListeners("exit");
  server.stderr.removeAllListeners("data");
  if (onLog === undefined) server.stderr.resume();
  else server.stderr.setEncoding("utf8").on("data", onLog);
  server.unref();
  return server;
}

/** What a fast shutdown may take before it becomes an immediate one. */
const fastMs = 10_000;

async function end(server: ChildProcess, signal: "SIGINT" | "SIGQUIT"): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise((resolve) => server.once("exit", resolve));
  server.ref();
  server.kill(signal);
  const hurry = setTimeout(() => server.kill("SIGQUIT"), fastMs);
  await ended;
  clearTimeout(hurry);
}
