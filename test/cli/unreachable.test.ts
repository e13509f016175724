import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { authority, present } from "../support/certificates.ts";
import { assertEnded, secret } from "../support/clean-output.ts";
import { lockwarden, place } from "../support/lockwarden.ts";
import { client, eventually, server } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]";
const postgres = await server({
  hba: "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
});
const admin = await client(postgres.url());
await admin.query(`create role guarded login password '${secret}'`);
await admin.query("create database app");
await admin.end();
const ours = await authority("Our Authority");
const theirs = await authority("Another Authority");
await present(postgres, await ours.issue("elsewhere", "DNS:elsewhere.example.org"));
const at = `127.0.0.1:${postgres.port}`;

// Nobody listens there.
const refused = 1;

type Case = Readonly<{ name: string; target: string; says: RegExp; env?: NodeJS.ProcessEnv }>;

const cases: readonly Case[] = [
  {
    name: "a port where nobody listens",
    target: `url: "postgres://guarded:${secret}@127.0.0.1:${refused}/app"`,
    says: new RegExp(
      `^app: cannot connect to app \\(127\\.0\\.0\\.1:${refused}, user guarded, database app\\): connect ECONNREFUSED .*; ` +
        "check that the server runs and listens on this address and port \\(listen_addresses, port\\)$",
    ),
  },
  {
    name: "a host that does not resolve",
    target: `url: "postgres://guarded:${secret}@no-such-host.invalid/app"`,
    says: /^app: cannot connect to app \(no-such-host\.invalid:5432, .*\): getaddrinfo E\w+ no-such-host\.invalid; check the host's name and the name service$/,
  },
  {
    name: "a socket folder without a socket",
    target: `url: "postgres://guarded@/app?host=/nowhere"`,
    says: /^app: cannot connect to app \(\/nowhere\/.*\): connect ENOENT .*; check that the server runs and has its socket in this folder/,
  },
  {
    name: "a wrong password in the url",
    target: `url: "postgres://guarded:${secret}-no@${at}/app"`,
    says: /^app: cannot connect to app \(.*\): password authentication failed for user "guarded"; check the password in the target's url$/,
  },
  {
    name: "a wrong password of its own",
    target: `url: "postgres://guarded@${at}/app", password: "${secret}-no"`,
    says: /: password authentication failed for user "guarded"; check the target's `password`$/,
  },
  {
    name: "no password",
    target: `url: "postgres://guarded@${at}/app"`,
    env: { HOME: "/nowhere" },
    says: /: the server asks for a password and none is configured; there is no \/nowhere\/\.pgpass either; set password_file on the target$/,
  },
  {
    name: "an unknown database",
    target: `url: "postgres://guarded:${secret}@${at}/nope"`,
    says: /\(.*, database nope\): database "nope" does not exist; check the database in the target's url and its leader_database$/,
  },
  {
    name: "a leader_database that is not there",
    target: `url: "postgres://guarded:${secret}@${at}/app", leader_database: nope`,
    says: /database "nope" does not exist \(leader_database, where daemons agree on who acts\); grant connect on database "nope" to "guarded";.* or set leader_database to another one/,
  },
  {
    name: "a certificate of another authority",
    target: `url: "postgres://guarded:${secret}@${at}/app?sslmode=verify-full&sslrootcert=${theirs.file}"`,
    says: new RegExp(
      `: .*; check that sslrootcert ${theirs.file} holds the authority that signed the server's certificate`,
    ),
  },
  {
    name: "a certificate for another name",
    target: `url: "postgres://guarded:${secret}@${at}/app?sslmode=verify-full&sslrootcert=${ours.file}"`,
    says: /; the server's certificate is for another name than 127\.0\.0\.1: connect by a name that is in it, or use sslmode=verify-ca$/,
  },
];

for (const { name, target, says, env = {} } of cases) {
  test(`${name}: check and once say where, what came back and what to do, and exit with 3`, async () => {
    const here = await place(`targets: [{name: app, ${target}}]\n${rules}`);
    const once = await lockwarden(["once", "--config", here.config], env);
    assertEnded(once, { code: 3, out: /^app: cannot connect.*\n$/ });
    assert.match(once.out.trimEnd(), says);

    const check = await lockwarden(["check", "--config", here.config], env);
    assertEnded(check, { code: 3, out: /: ok: 1 rule, 1 target, / });
    for (const line of check.out.split("\n")) assert.ok(line.length <= 80 || !line.trim().includes(" "), line);
    const told = check.out.slice(check.out.indexOf("app: error: ")).replaceAll(/\s+/g, " ").trim();
    assert.match(told.replace("app: error: ", "app: "), says);

    const json = await lockwarden(["once", "--json", "--config", here.config], env);
    assertEnded(json, { code: 3, out: /^\{.*\}\n$/ });
    const { targets } = JSON.parse(json.out) as { targets: { target: string; error: string; decisions: unknown[] }[] };
    assert.deepEqual(targets, [{ target: "app", error: once.out.trimEnd().slice("app: ".length), decisions: [] }]);
  });
}

test("a wrong password in a file is told with the file's name, never with what is in it", async (t) => {
  const file = join(await tempFolder(t), "password");
  await writeFile(file, `${secret}-no\n`);
  const here = await place(
    `targets: [{name: app, url: "postgres://guarded@${at}/app", password_file: ${file}}]\n${rules}`,
  );
  const words = ["once", "--config", here.config];
  const wrong = await lockwarden(words);
  assertEnded(wrong, { code: 3, out: new RegExp(`; check password_file ${file}\n$`) });
  await writeFile(file, `${secret}\n`);
  assert.doesNotMatch((await lockwarden(words)).out, /cannot connect/);
});

test("a server that takes the connection and says nothing is given up after connect_timeout", async (t) => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const { port } = silent.address() as { port: number };
  const url = `postgres://guarded:${secret}@127.0.0.1:${port}/app`;
  const here = await place(`targets: [{name: app, url: "${url}", connect_timeout: 300ms}]\n${rules}`);
  assertEnded(await lockwarden(["once", "--config", here.config]), {
    code: 3,
    out: /: no answer within 300 ms; check the network and the host's firewall, or raise connect_timeout\n$/,
  });
});

test("the daemon says the same and goes on trying, without the secret", async () => {
  const url = `postgres://guarded:${secret}-no@${at}/app`;
  const here = await place(`targets: [{name: app, url: "${url}"}]\n${rules}`);
  const daemon = here.run();
  const line = await eventually(() =>
    daemon.lines().find((one) => String(one["msg"]).includes("password authentication failed")),
  );
  assert.match(String(line["msg"]), /; check the password in the target's url; trying again until it works$/);
  daemon.child.kill("SIGTERM");
  const { code, out, err } = await daemon.ended;
  assertEnded({ code, signal: null, out, err }, { code: 0, out: /"level":"error"/ });
});
