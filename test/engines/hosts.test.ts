import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LinkLost } from "../../src/engines/engine.ts";
import { parseAddresses } from "../../src/engines/postgres/address.ts";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { type Opened, openConnection } from "../../src/engines/postgres/open.ts";
import { passwordOf } from "../../src/engines/postgres/password.ts";
import { authority, present } from "../support/certificates.ts";
import { front } from "../support/front.ts";
import { orderOn } from "../support/scene.ts";
import { client, eventually, majors, server } from "../support/servers.ts";
import { standbyOf } from "../support/standby.ts";
import { patience, target } from "../support/targets.ts";
import { tempFolder } from "../support/temp-folder.ts";

const major = majors().at(-1) ?? 18;
const postgres = await server({ major });
const standby = await standbyOf(postgres, major);
const [primaryAt, standbyAt] = [`127.0.0.1:${postgres.port}`, new URL(standby.url()).host];
const silent = await front(postgres.port);
silent.behave("swallow");
// Nobody listens on the second.
const [silentAt, closedAt] = [`127.0.0.1:${silent.port}`, "127.0.0.1:1"];

function open(hosts: readonly string[], query = "", more: Parameters<typeof target>[1] = {}): Promise<Opened> {
  const url = `postgres://postgres@${hosts.join(",")}/postgres${query === "" ? "" : `?${query}`}`;
  return openConnection(target(url, more), {}, patience());
}

async function portOf(opened: Promise<Opened>): Promise<string> {
  const connection = await opened;
  await connection.close();
  return `${connection.address.host}:${connection.address.port}`;
}

const choices: readonly [string, readonly string[], string, string][] = [
  ["the first that answers and is a primary", [closedAt, standbyAt, primaryAt], "", primaryAt],
  ["a primary that is named", [standbyAt, primaryAt], "target_session_attrs=primary", primaryAt],
  ["any", [closedAt, standbyAt, primaryAt], "target_session_attrs=any", standbyAt],
  ["a standby", [primaryAt, standbyAt], "target_session_attrs=standby", standbyAt],
  ["a standby before a primary", [primaryAt, standbyAt], "target_session_attrs=prefer-standby", standbyAt],
  ["a primary where there is no standby", [closedAt, primaryAt], "target_session_attrs=prefer-standby", primaryAt],
  ["one that can be written to", [standbyAt, primaryAt], "target_session_attrs=read-write", primaryAt],
  ["one that cannot be written to", [primaryAt, standbyAt], "target_session_attrs=read-only", standbyAt],
];

for (const [what, hosts, query, expected] of choices) {
  test(`of several hosts is taken: ${what}`, async () => {
    assert.equal(await portOf(open(hosts, query)), expected);
  });
}

test("one host may have to be a primary too", async () => {
  await assert.rejects(open([standbyAt], "target_session_attrs=primary"), {
    kind: "unreachable",
    message: `cannot connect to app (${standbyAt}, user postgres, database postgres): it is in recovery (a standby), and a primary is wanted`,
    hint: "promote a standby, or change target_session_attrs in the target's url",
  });
});

test("a primary whose sessions are read-only by default is none that can be written to, and a link there ends when it becomes so", async () => {
  const admin = await client(postgres.url());
  const url = `postgres://postgres@${primaryAt}/postgres?target_session_attrs=read-write`;
  const link = await engine.connect(target(url), patience());
  await link.read({ sessions: "transactions", locks: false }, patience());
  await admin.query("alter system set default_transaction_read_only = on");
  await admin.query("select pg_reload_conf()");
  await assert.rejects(async () => {
    const until = performance.now() + 20_000;
    while (performance.now() < until) await link.read({ sessions: "transactions", locks: false }, patience());
  }, /is another server now: its sessions are read-only by default/);
  await link.close();
  await assert.rejects(open([primaryAt], "target_session_attrs=read-write"), /read-only by default/);
  assert.equal(await portOf(open([primaryAt], "target_session_attrs=read-only")), primaryAt);
  await admin.query("set default_transaction_read_only = off");
  await admin.query("alter system reset default_transaction_read_only");
  await admin.query("select pg_reload_conf()");
  await admin.end();
});

test("a silent host has its share of connect_timeout, and what it leaves is the others'", async () => {
  const connection = await open([silentAt, closedAt, primaryAt], "", { connect_timeout: 3_000 });
  assert.equal(connection.address.port, postgres.port);
  await connection.close();
  const error = await open([silentAt, closedAt, standbyAt], "", { connect_timeout: 6_000 }).then(
    () => assert.fail("connected"),
    (reason: LinkLost) => reason,
  );
  assert.equal(error.kind, "unreachable");
  assert.match(error.message, /^cannot connect to app, none of 3 hosts will do: /);
  assert.match(
    error.message,
    new RegExp(`\\(${silentAt}, [^)]*\\): no answer within 2000 ms; \\(${closedAt}, [^)]*\\): connect ECONN`),
  );
  assert.match(error.message, new RegExp(`\\(${standbyAt}, [^)]*\\): it is in recovery \\(a standby\\)`));
});

test("where a standby is silent, its share leaves enough for the primary that is taken instead", async () => {
  const hosts = [primaryAt, silentAt];
  const connection = await open(hosts, "target_session_attrs=prefer-standby", { connect_timeout: 3_000 });
  assert.equal(connection.address.port, postgres.port);
  await connection.close();
});

test("a wrong password is not tried at the other hosts", async () => {
  const guarded = await server({ password: "right" });
  const [one, other] = [await front(guarded.port), await front(guarded.port)];
  const url = `postgres://postgres:wrong@127.0.0.1:${one.port},127.0.0.1:${other.port}/postgres?sslmode=disable`;
  await assert.rejects(openConnection(target(url), {}, patience()), { kind: "denied", wrongPassword: true });
  assert.deepEqual([one.taken().length, other.taken().length], [1, 0]);
});

test("both sessions of a link, and those to other databases, are on the host that was found", async () => {
  const url = `postgres://postgres@${closedAt},${standbyAt},${primaryAt}/postgres?target_session_attrs=any`;
  const link = await engine.connect(target(url, { leader_database: "template1" }), patience());
  const person = await client(standby.url());
  // Those of a connection that has just been closed may be listed a moment longer.
  await eventually(async () => {
    const { rows } = await person.query(
      "select datname from pg_stat_activity where application_name = 'lockwarden' order by 1",
    );
    assert.deepEqual(rows, [{ datname: "postgres" }, { datname: "template1" }]);
    return true;
  });
  assert.equal(link.facts.recovery, true);
  await person.end();
  await link.close();
});

test("nothing is sent to a server that was not judged, nor to one in recovery that nobody asked for", async () => {
  const victim = await client(standby.url(), { application_name: "victim" });
  const { rows } = await victim.query<{ pid: string }>("select pg_backend_pid()::text as pid");
  const connect = (query: string) =>
    engine.connect(target(`postgres://postgres@${standbyAt}/postgres${query}`), patience());
  const [observing, acting] = [await connect(""), await connect("?target_session_attrs=standby")];
  assert.deepEqual([observing.capabilities.acts, acting.capabilities.acts], [false, true]);
  const order = orderOn(await acting.read({ sessions: "all", locks: false }, patience()), rows[0]?.pid ?? "");
  assert.match(JSON.stringify(await observing.act(order, patience())), /"denied".*in recovery \(a standby\)/);
  const elsewhere = { ...order, evidence: { ...order.evidence, serverId: "another" } };
  assert.deepEqual(await acting.act(elsewhere, patience()), { kind: "changed" });
  const gone = new Promise((resolve) => victim.once("end", resolve));
  assert.deepEqual(await acting.act(order, patience()), { kind: "sent" });
  await gone;
  for (const link of [observing, acting]) await link.close();
});

test("each host has its own line in the password file", async (t) => {
  const file = join(await tempFolder(t), "pass");
  await writeFile(file, "one:5432:*:me:first\ntwo:5433:*:me:second\nlocalhost:*:*:me:third\n");
  await chmod(file, 0o600);
  const url = "postgres://me@one,two:5433,%2Frun%2Fpg/app";
  const read = parseAddresses(url).hosts.map((address) =>
    passwordOf(target(url), address, { PGPASSFILE: file }).read(),
  );
  assert.deepEqual(await Promise.all(read), ["first", "second", "third"]);
});

test("verify-full wants of each host a certificate for its own name", async () => {
  const [ours, named] = [await authority("Ours"), await server()];
  await present(named, await ours.issue("localhost", "DNS:localhost"));
  const query = `sslmode=verify-full&sslrootcert=${ours.file}`;
  const opened = await open([`127.0.0.1:${named.port}`, `localhost:${named.port}`], query);
  assert.deepEqual([opened.address.host, opened.server.encrypted], ["localhost", true]);
  await opened.close();
  await assert.rejects(
    open([`127.0.0.1:${named.port}`, primaryAt], query),
    /127\.0\.0\.1:\d+, .*does not match certificate's altnames.*none of 2|none of 2.*altnames.*does not support SSL/s,
  );
});
