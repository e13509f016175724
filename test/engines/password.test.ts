import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import type { LinkLost } from "../../src/engines/engine.ts";
import { parseAddress } from "../../src/engines/postgres/address.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { findPassword, passwordOf } from "../../src/engines/postgres/password.ts";
import { client, server } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const folder = await mkdtemp(join(tmpdir(), "lockwarden-password-"));
after(() => rm(folder, { recursive: true, force: true }));

const hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
const postgres = await server({ hba });
const person = await client(postgres.url());
await person.query("create role lockwarden login password 'right'");
await person.end();
const url = postgres.url("lockwarden");

const lines: readonly [string, string, string | null][] = [
  ["the whole key", "db:5432:app:me:word", "word"],
  ["stars", "*:*:*:*:word", "word"],
  ["the first line that fits wins", "db:5432:other:me:no\ndb:*:app:me:first\n*:*:*:*:second", "first"],
  ["a comment and an empty line are passed over", "#*:*:*:*:no\n\n*:*:*:*:word\n", "word"],
  ["escaped colons and backslashes", "db:5432:app:me:a\\:b\\\\c", "a:b\\c"],
  ["the password ends at a bare colon", "*:*:*:*:word:rest", "word"],
  ["a line of too few fields is passed over", "db:5432:app:word\n*:*:*:*:word", "word"],
  ["a Windows line end", "*:*:*:*:word\r\n", "word"],
  ["another port", "db:5433:app:me:word", null],
  ["another user", "db:5432:app:you:word", null],
  ["a part of the host", "d:5432:app:me:word", null],
  ["an empty password is none", "*:*:*:*:", null],
];

for (const [what, text, expected] of lines) {
  test(`pass file: ${what}`, () => {
    assert.equal(findPassword(text, parseAddress("postgres://me@db/app")), expected);
  });
}

test("pass file: localhost stands for a Unix socket, and its folder does, too", () => {
  const address = parseAddress("postgres://me@/app?host=/run/pg");
  assert.equal(findPassword("localhost:5432:app:me:word", address), "word");
  assert.equal(findPassword("/run/pg:5432:app:me:word", address), "word");
  assert.equal(findPassword("localhost:5432:app:me:word", parseAddress("postgres://me@db/app")), null);
});

async function written(name: string, text: string, mode = 0o600): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

async function connects(more: Parameters<typeof target>[1], from = url): Promise<void> {
  const connection = await openConnection(target(from, more), {}, patience());
  await connection.close();
}

test("password_file is read at every connect, without its last line end", async () => {
  const file = await written("rotating", "right\n");
  await connects({ password_file: file });
  await written("rotating", "stale\n");
  await assert.rejects(connects({ password_file: file }), { kind: "denied", hint: `check password_file ${file}` });
  await written("rotating", "right\r\n");
  await connects({ password_file: file });
  await written("rotating", "right\n\n");
  await assert.rejects(connects({ password_file: file }), { kind: "denied" });
});

test("password_file goes before password, and that before the url's", async () => {
  const file = await written("first", "right");
  const wrong = url.replace("lockwarden@", "lockwarden:wrong@");
  await connects({ password_file: file, password: "wrong" }, wrong);
  await connects({ password: "right" }, wrong);
  await assert.rejects(connects({ password: "wrong" }), { hint: "check the target's `password`" });
});

test("a password_file that is missing or empty is named", async () => {
  await assert.rejects(connects({ password_file: join(folder, "nowhere") }), {
    kind: "denied",
    message: /cannot read password_file .*nowhere: ENOENT/,
  });
  await assert.rejects(connects({ password_file: await written("empty", "\n") }), {
    kind: "denied",
    message: /password_file .*empty is empty/,
  });
});

test("without any of these the pass file is asked, and says why it does not help", async () => {
  const before = process.env["PGPASSFILE"];
  process.env["PGPASSWORD"] = "never asked";
  try {
    process.env["PGPASSFILE"] = await written("pass", `127.0.0.1:${postgres.port}:*:lockwarden:right\n`);
    await connects({});
    await written("pass", "*:*:*:lockwarden:right\n", 0o640);
    await assert.rejects(connects({}), {
      kind: "denied",
      message: /the server asks for a password, and .*pass is ignored: its mode is 0640$/,
      hint: /^chmod 0600 .*pass, or set password_file/,
    });
    await written("pass", "*:*:*:other:right\n");
    await assert.rejects(connects({}), { kind: "denied", message: /no line of .*pass is for it/ });
    await written("pass", "*:*:*:*:wrong\n");
    await assert.rejects(connects({}), { kind: "denied", hint: /^check the line for it in .*pass$/ });
    process.env["PGPASSFILE"] = join(folder, "nowhere");
    await assert.rejects(connects({}), { kind: "denied", message: /none is configured; there is no .*nowhere either/ });
    process.env["PGPASSFILE"] = folder;
    await assert.rejects(connects({}), { kind: "denied", message: /is ignored: it is no file$/ });
  } finally {
    delete process.env["PGPASSWORD"];
    if (before === undefined) delete process.env["PGPASSFILE"];
    else process.env["PGPASSFILE"] = before;
  }
});

test("PGPASSFILE goes before .pgpass in HOME", async () => {
  const address = parseAddress("postgres://me@db/app");
  await written(".pgpass", "*:*:*:*:home\n");
  const file = await written("other", "*:*:*:*:named\n");
  assert.equal(await passwordOf(target("-"), address, { HOME: folder }).read(), "home");
  assert.equal(await passwordOf(target("-"), address, { HOME: folder, PGPASSFILE: file }).read(), "named");
});

test("a password never shows in a failure, however deep", async () => {
  const error: LinkLost = await connects({ password: "very-secret" }).then(
    () => assert.fail("expected a failure"),
    (reason: LinkLost) => reason,
  );
  assert.doesNotMatch(inspect(error, { depth: 12, showHidden: true }), /very-secret/);
});
