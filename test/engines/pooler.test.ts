import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { refuse } from "../../src/engines/postgres/set-up.ts";
import { client, eventually, server } from "../support/servers.ts";
import { silentProxy } from "../support/silent-proxy.ts";
import { patience, target } from "../support/targets.ts";

const postgres = await server();

const refused = {
  name: "LinkLost",
  kind: "refused",
  message:
    /^cannot connect to app .*: a connection pooler stands in between: the session belongs to pid -?\d+, and pid \d+ answers/,
  hint: /^connect to the server directly/,
};

test("a session whose key names another pid is refused: a pooler stands in between", async () => {
  // BackendKeyData: 'K', length 12, pid, key.
  const mark = Buffer.from([0x4b, 0, 0, 0, 12]);
  const proxy = await silentProxy(postgres.port, {
    fromServer: (chunk) => {
      const at = chunk.indexOf(mark);
      if (at >= 0) chunk.writeInt32BE(1_999_999_999, at + mark.length);
      return chunk;
    },
  });
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`;
  await assert.rejects(openConnection(target(url), {}, patience()), refused);
});

test("what is no PostgreSQL, or too old a one, is refused with the reason", () => {
  const row = { pid: "7", version_number: "120000", version: "12.0" };
  assert.equal(refuse(row, "7"), null);
  assert.match(
    refuse({ ...row, version_number: "110022", version: "11.22" }, "7")?.message ?? "",
    /12 or later, got version 11\.22$/,
  );
  assert.match(refuse(row, null)?.message ?? "", /belongs to pid none/);
});

test("something that speaks another protocol is refused", async () => {
  const other = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  await assert.rejects(openConnection(target(`postgres://me@127.0.0.1:${port}/app`), {}, patience()), {
    kind: "refused",
    hint: /^check host and port/,
  });
  await new Promise((resolve) => other.close(resolve));
});

const pgbouncer = ["/usr/sbin", ...(process.env["PATH"] ?? "").split(":")]
  .map((folder) => join(folder, "pgbouncer"))
  .find((file) => {
    try {
      execFileSync(file, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });

for (const mode of ["session", "transaction", "statement"]) {
  test(`pgbouncer in ${mode} mode is refused, and its sessions keep their settings`, {
    skip: pgbouncer === undefined ? "no pgbouncer on PATH" : false,
  }, async () => {
    const port = await startPgbouncer(mode);
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    await eventually(async () => (await client(url)).end().then(() => true));
    await assert.rejects(openConnection(target(url), {}, patience()), refused);
    const next = await client(url);
    const { rows } = await next.query<{ read_only: string }>(
      "select current_setting('default_transaction_read_only') as read_only",
    );
    assert.equal(rows[0]?.read_only, "off");
    await next.end();
  });
}

async function startPgbouncer(mode: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "lockwarden-pgbouncer-"));
  const port = await freePort();
  const config = join(folder, "pgbouncer.ini");
  writeFileSync(join(folder, "users"), '"postgres" ""\n');
  writeFileSync(
    config,
    `[databases]
* = host=127.0.0.1 port=${postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${folder}/users
pool_mode = ${mode}
default_pool_size = 1
`,
  );
  // pgbouncer refuses to run as root.
  const as = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  for (const file of [folder, config, join(folder, "users")]) {
    chmodSync(file, file === folder ? 0o700 : 0o600);
    if (as.uid !== undefined) chownSync(file, as.uid, as.gid);
  }
  const child = spawn(pgbouncer ?? "pgbouncer", ["-q", config], { ...as, cwd: "/", stdio: "ignore" });
  after(async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  return port;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
