import assert from "node:assert/strict";
import { test } from "node:test";
import type pg from "pg";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { authority, present } from "../support/certificates.ts";
import { client, eventually, server } from "../support/servers.ts";
import { silentProxy } from "../support/silent-proxy.ts";
import { patience, target } from "../support/targets.ts";

const postgres = await server();
const encrypted = await server();
await present(encrypted, await (await authority("Ours")).issue("localhost", "DNS:localhost"));
const url = (port: number, query = "") => `postgres://postgres@127.0.0.1:${port}/postgres${query}`;

async function isSleeping(person: pg.Client, pid: string): Promise<void> {
  const running = "select 1 from pg_stat_activity where pid = $1::int and state = 'active' and query like '%pg_sleep%'";
  await eventually(async () => (await person.query(running, [pid])).rowCount);
}

for (const [what, port, query] of [
  ["plain", postgres.port, "?sslmode=disable"],
  ["encrypted", encrypted.port, "?sslmode=require"],
] as const) {
  test(`${what}: a network that swallows a statement loses the link, and does not hang`, async () => {
    const proxy = await silentProxy(port);
    const connection = await openConnection(
      target(url(proxy.port, query), { statement_timeout: 1_000 }),
      {},
      patience(),
    );
    proxy.silence();
    await assert.rejects(connection.query("select 1", [], patience()), {
      name: "LinkLost",
      kind: "lost",
      message: `the connection to app (127.0.0.1:${proxy.port}, user postgres, database postgres) is silent: no answer in 3000 ms`,
    });
    assert.equal(connection.isOpen(), false);
    await assert.rejects(connection.query("select 1", [], patience()), /is silent/);
    await connection.close();
  });

  test(`${what}: close says goodbye into silence for a bounded time`, async () => {
    const proxy = await silentProxy(port);
    const connection = await openConnection(target(url(proxy.port, query)), {}, patience());
    proxy.silence();
    await connection.close();
    assert.equal(connection.isOpen(), false);
  });

  test(`${what}: an aborted statement throws the signal's reason, and the link is lost`, async () => {
    const connection = await openConnection(target(url(port, query), { statement_timeout: 60_000 }), {}, patience());
    const person = await client(url(port));
    const stop = new AbortController();
    const reason = new Error("the daemon stops");
    const answer = assert.rejects(connection.query("select pg_sleep(50)", [], stop.signal), reason);
    await isSleeping(person, connection.pid);
    stop.abort(reason);
    await answer;
    await assert.rejects(connection.query("select 1", [], patience()), {
      kind: "lost",
      message: /a call was aborted$/,
    });
    await person.end();
  });
}

test("a server that accepts and never answers is unreachable after connect_timeout", async () => {
  const proxy = await silentProxy(postgres.port);
  proxy.silence();
  for (const query of ["?sslmode=disable", "?sslmode=prefer"]) {
    await assert.rejects(openConnection(target(url(proxy.port, query), { connect_timeout: 100 }), {}, patience()), {
      kind: "unreachable",
      message: /^cannot connect to app \(127.*\): no answer within 100 ms$/,
      hint: /connect_timeout/,
    });
  }
});

test("connect_timeout covers the TLS handshake, too", async () => {
  const proxy = await silentProxy(encrypted.port, {
    fromServer: (chunk) => {
      // The server's answer to the wish for TLS: yes.
      if (chunk.equals(Buffer.from("S"))) proxy.silence();
      return chunk;
    },
  });
  await assert.rejects(
    openConnection(target(url(proxy.port, "?sslmode=require"), { connect_timeout: 300 }), {}, patience()),
    { kind: "unreachable", message: /no answer within 300 ms$/ },
  );
});

test("connect_timeout covers the first statement, too", async () => {
  // Silent from the moment the server is ready: its ReadyForQuery is the last that comes through.
  const proxy = await silentProxy(postgres.port, {
    fromServer: (chunk) => {
      if (chunk.includes("server_version")) proxy.silence();
      return chunk;
    },
  });
  await assert.rejects(
    openConnection(target(url(proxy.port, "?sslmode=disable"), { connect_timeout: 300 }), {}, patience()),
    { kind: "unreachable", message: /no answer within 300 ms$/ },
  );
});

test("an aborted connect throws the signal's reason", async () => {
  const proxy = await silentProxy(postgres.port);
  proxy.silence();
  const stop = new AbortController();
  const reason = new Error("the daemon stops");
  const opening = assert.rejects(openConnection(target(url(proxy.port)), {}, stop.signal), reason);
  stop.abort(reason);
  await opening;
  await assert.rejects(openConnection(target(url(postgres.port)), {}, stop.signal), reason);
});

test("a call that is aborted while it waits for its turn harms nobody else's", async () => {
  const connection = await openConnection(target(url(postgres.port)), {}, patience());
  const person = await client(postgres.url());
  const stop = new AbortController();
  const first = connection.query("select pg_sleep(3)", [], patience());
  const second = assert.rejects(connection.query("select 1", [], stop.signal), { name: "AbortError" });
  await isSleeping(person, connection.pid);
  stop.abort();
  assert.equal((await first).length, 1);
  await second;
  assert.equal((await connection.query("select 1", [], patience())).length, 1);
  await person.end();
  await connection.close();
});

test("the time to answer counts from a statement's own turn", async () => {
  // Together they take longer than the 4 s that one may take.
  const connection = await openConnection(target(url(postgres.port), { statement_timeout: 2_000 }), {}, patience());
  const asked = Array.from({ length: 9 }, () => connection.query("select pg_sleep(0.5)", [], patience()));
  assert.equal((await Promise.all(asked)).length, 9);
  await connection.close();
});
