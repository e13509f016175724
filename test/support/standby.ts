import { execFile, spawn } from "node:child_process";
import { chmod, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { client } from "./servers.ts";

const run = promisify(execFile);

export type Standby = Readonly<{ url(user?: string, database?: string): string }>;

/** A hot standby that streams from the primary, made of a copy of its files; it waits for queries for as long as they take. */
export async function standbyOf(primary: EmbeddedPostgres, major: number): Promise<Standby> {
  const folder = join(primary.folder, "standby");
  const label = await copyOf(primary, major, folder);
  await writeFile(join(folder, "backup_label"), label);
  await writeFile(join(folder, "standby.signal"), "");
  await rm(join(folder, "postmaster.pid"), { force: true });
  await chmod(folder, 0o700);
  const { uid, gid } = await stat(primary.dataFolder);
  await run("chown", ["-R", `${uid}:${gid}`, folder]);
  const port = await freePort();
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: primary.folder,
    fsync: "off",
    timezone: "UTC",
    max_standby_streaming_delay: "-1",
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres`,
  };
  const flags = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
  const as = process.getuid?.() === 0 ? { uid, gid } : {};
  const server = spawn(join(primary.program, "bin", "postgres"), ["-D", folder, ...flags], {
    ...as,
    cwd: primary.folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const orphan = () => server.kill("SIGQUIT");
  process.once("exit", orphan);
  after(async () => {
    process.off("exit", orphan);
    server.kill("SIGQUIT");
    await ended;
  });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`the standby ended with ${code} while it started: ${said}`)));
    server.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4_000);
      if (/ready to accept read[- ]only connections/.test(said)) resolve();
    });
  });
  return { url: (user = "postgres", database = "postgres") => `postgres://${user}@127.0.0.1:${port}/${database}` };
}

/** Copies the primary's files while it runs, and returns the label that says from where on to replay. */
async function copyOf(primary: EmbeddedPostgres, major: number, folder: string): Promise<string> {
  const keeper = await client(primary.url());
  const [start, stop] =
    major < 15
      ? ["pg_start_backup('copy', true, false)", "pg_stop_backup(false, false)"]
      : ["pg_backup_start('copy', true)", "pg_backup_stop(false)"];
  await keeper.query(`select ${start}`);
  await run("cp", ["-a", primary.dataFolder, folder]);
  const { rows } = await keeper.query<{ labelfile: string }>(`select labelfile from ${stop}`);
  await keeper.end();
  return rows[0]?.labelfile ?? "";
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port on 127.0.0.1");
  return address.port;
}
