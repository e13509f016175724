import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import type { LinkLost } from "../../src/engines/engine.ts";
import { parseAddress } from "../../src/engines/postgres/address.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { tlsOptions } from "../../src/engines/postgres/tls.ts";
import { authority, present } from "../support/certificates.ts";
import { fleet } from "../support/fleet.ts";
import { client, eventually, server } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const ours = await authority("Our Authority");
const theirs = await authority("Another Authority");
const good = await ours.issue("anything", "DNS:localhost,IP:127.0.0.1");
const elsewhere = await ours.issue("elsewhere", "DNS:elsewhere.example.org,IP:192.0.2.1");
const commonName = await ours.issue("localhost", null);

const servers = await fleet();
const strict = await server({
  hba: `local all all trust
hostssl certified all 127.0.0.1/32 cert
hostssl unencrypted all 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
`,
});
const person = await client(strict.url());
await person.query("create database certified");
await person.query("create database unencrypted");
await person.end();

/** encrypted or plain, or what went wrong: the code of its cause. */
async function outcome(postgres: EmbeddedPostgres, query: string, host = "127.0.0.1"): Promise<string> {
  const url = `postgres://postgres@${host}:${postgres.port}/postgres?${query}`;
  try {
    const connection = await openConnection(target(url), {}, patience());
    const sql = "select ssl from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()";
    const [row] = await connection.query(sql, [], patience());
    await connection.close();
    assert.equal(row?.["ssl"] === "t", connection.server.encrypted);
    return connection.server.encrypted ? "encrypted" : "plain";
  } catch (error) {
    const { kind, cause } = error as LinkLost;
    const { code, message } = cause as Error & { code?: string };
    return `${kind} ${code ?? message}`;
  }
}

/** The server has taken over new settings when a new connection shows them. */
async function presents(postgres: EmbeddedPostgres, ...args: [Parameters<typeof present>[1], string?]): Promise<void> {
  await present(postgres, ...args);
  const wanted = new X509Certificate(await readFile(args[0].cert)).fingerprint;
  await eventually(async () => (await fingerprint(postgres)) === wanted);
}

async function fingerprint(postgres: EmbeddedPostgres): Promise<string> {
  const guest = await client(postgres.url(), { ssl: { rejectUnauthorized: false } });
  const { stream } = guest.connection as unknown as { stream: TLSSocket };
  const found = stream.getPeerCertificate().fingerprint;
  await guest.end();
  return found;
}

for (const { major, postgres } of servers) {
  const root = `sslrootcert=${ours.file}`;
  const unknownRoot = `sslrootcert=${theirs.file}`;

  test(`${major}: a server without TLS is good for disable and prefer only`, async () => {
    assert.equal(await outcome(postgres, "sslmode=disable"), "plain");
    assert.equal(await outcome(postgres, "sslmode=prefer"), "plain");
    assert.equal(await outcome(postgres, ""), "plain");
    const refused = "refused The server does not support SSL connections";
    assert.equal(await outcome(postgres, "sslmode=require"), refused);
    assert.equal(await outcome(postgres, `sslmode=verify-full&${root}`), refused);
  });

  test(`${major}: each mode verifies what libpq's verifies`, async () => {
    await presents(postgres, good);
    const table: readonly [string, string, string][] = [
      ["sslmode=disable", "127.0.0.1", "plain"],
      ["", "127.0.0.1", "encrypted"],
      ["sslmode=require", "127.0.0.1", "encrypted"],
      [`sslmode=require&${root}`, "127.0.0.1", "encrypted"],
      [`sslmode=require&${unknownRoot}`, "127.0.0.1", "refused UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      [`sslmode=verify-ca&${root}`, "127.0.0.1", "encrypted"],
      [`sslmode=verify-ca&${unknownRoot}`, "127.0.0.1", "refused UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      ["sslmode=verify-ca", "127.0.0.1", "refused UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      [`sslmode=verify-full&${root}`, "127.0.0.1", "encrypted"],
      [`sslmode=verify-full&${root}`, "localhost", "encrypted"],
      [`sslmode=verify-full&${unknownRoot}`, "localhost", "refused UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      [
        `sslmode=verify-full&sslrootcert=${ours.file}.nowhere`,
        "localhost",
        `refused cannot read sslrootcert ${ours.file}.nowhere: ENOENT`,
      ],
    ];
    for (const [query, host, expected] of table) {
      assert.equal(await outcome(postgres, query, host), expected, `${query} ${host}`);
    }
  });

  test(`${major}: only verify-full minds the name in the certificate`, async () => {
    await presents(postgres, elsewhere);
    assert.equal(await outcome(postgres, `sslmode=verify-ca&${root}`), "encrypted");
    const refused = "refused ERR_TLS_CERT_ALTNAME_INVALID";
    assert.equal(await outcome(postgres, `sslmode=verify-full&${root}`), refused);
    assert.equal(await outcome(postgres, `sslmode=verify-full&${root}`, "localhost"), refused);
    await presents(postgres, commonName);
    assert.equal(await outcome(postgres, `sslmode=verify-full&${root}`, "localhost"), "encrypted");
  });

  test(`${major}: a self-signed certificate passes only when it is the root itself`, async () => {
    const self = { cert: theirs.file, key: theirs.file.replace(".crt", ".key") };
    await presents(postgres, self);
    assert.equal(await outcome(postgres, "sslmode=require"), "encrypted");
    assert.equal(await outcome(postgres, `sslmode=verify-ca&${root}`), "refused DEPTH_ZERO_SELF_SIGNED_CERT");
    assert.equal(await outcome(postgres, `sslmode=verify-ca&${unknownRoot}`), "encrypted");
  });
}

test("a client certificate logs in where pg_hba.conf asks for one", async () => {
  await presents(strict, good, ours.file);
  const mine = await ours.issue("postgres", null);
  const url = `${strict.url("postgres", "certified")}?sslmode=require`;
  const connection = await openConnection(target(`${url}&sslcert=${mine.cert}&sslkey=${mine.key}`), {}, patience());
  await connection.close();
  await assert.rejects(openConnection(target(url), {}, patience()), {
    kind: "denied",
    message: /connection requires a valid client certificate/,
  });
});

test("prefer goes on without TLS where pg_hba.conf wants none, and require does not", async () => {
  await presents(strict, good);
  const url = strict.url("postgres", "unencrypted");
  const connection = await openConnection(target(url), {}, patience());
  assert.equal(connection.server.encrypted, false);
  await connection.close();
  await assert.rejects(openConnection(target(`${url}?sslmode=require`), {}, patience()), { kind: "denied" });
});

test("the hint of a failed verification names what to look at", async () => {
  await presents(strict, elsewhere);
  const url = (query: string) => target(`${strict.url()}?sslmode=verify-full&${query}`);
  await assert.rejects(openConnection(url(`sslrootcert=${ours.file}`), {}, patience()), {
    hint: /^the server's certificate is for another name than 127\.0\.0\.1/,
  });
  await assert.rejects(openConnection(url(`sslrootcert=${theirs.file}`), {}, patience()), {
    hint: new RegExp(`^check that sslrootcert ${theirs.file} holds the authority`),
  });
});

test("a root certificate in HOME makes require verify, and prefer not, as in libpq", async () => {
  const home = await mkdtemp(join(tmpdir(), "lockwarden-home-"));
  const verifies = async (query: string) =>
    (await tlsOptions(parseAddress(`postgres://me@db/app?${query}`), home))?.rejectUnauthorized;
  try {
    assert.equal(await verifies("sslmode=require"), false);
    await mkdir(join(home, ".postgresql"));
    await copyFile(ours.file, join(home, ".postgresql", "root.crt"));
    assert.equal(await verifies("sslmode=require"), true);
    assert.equal(await verifies("sslmode=prefer"), false);
    assert.equal(await verifies("sslmode=disable"), undefined);
  } finally {
    await rm(home, { recursive: true });
  }
});
