import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import pg from "pg";
import { LinkLost } from "../../src/engines/engine.ts";
import { loginFilter } from "../../src/engines/opengauss/authentication.ts";
import { answer, type Challenge } from "../../src/engines/opengauss/sha256.ts";
import { parseAddress } from "../../src/engines/postgres/address.ts";
import { login } from "../../src/engines/postgres/login.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { authority } from "../support/certificates.ts";
import { errorMessage, type LoginScript, type LoginServer, loginServer, message } from "../support/login-server.ts";
import { client, server } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

// Worked out with Python 3.11 and nothing of this project: hashlib.pbkdf2_hmac("sha1", b"Gauss@123", bytes(range(32)), N, 32),
// then hmac.new(…, "sha256") and hashlib.sha256, as openGauss's auth.cpp and fe-auth.cpp put them together.
const password = "Gauss@123";
const salt = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const token = "0badc0de";
const vectors = {
  10000: {
    signature: "34d937bd1807aee1f44a0dd781bab903eb0fa5bf6735e6f9fba1b842e2f15f0b",
    proof: "fc88b9da740780b0fdc4f8c382b11a28675ffccb8084df0fa769caf387d10668",
  },
  2048: {
    signature: "c5f68333088baca1d34ee4bc9b91058b4126d1fe7e2fe34b483499cecd14d861",
    proof: "0f6f302e8184ad1564871e801ac829cf61f81c5378d1e2dec3da91f9c56b96a5",
  },
} as const;

const accepted = Buffer.concat([message("R", 0), message("Z", "I")]);
const refusal = errorMessage("28P01", "Invalid username/password,login denied.");

/** The first message of a server at protocol 3.0. */
function challengeMessage(signature: string): Buffer {
  return message("R", 10, 2, salt, token, signature);
}

function accepting(proof: string): (password: string) => Buffer {
  return (got) => (got === proof ? accepted : refusal);
}

async function logIn({ port }: LoginServer, query = "sslmode=disable", given = password): Promise<pg.Client> {
  const address = parseAddress(`postgres://app:x@127.0.0.1:${port}/postgres?${query}`);
  const place = { target: "app", where: "here", address, passwordSource: "the password", databaseSource: "the url" };
  return login(place, { source: "the password", read: async () => given }, patience());
}

async function failure(script: LoginScript, given = password): Promise<LinkLost & { talks: LoginServer["talks"] }> {
  const front = await loginServer(script);
  const error: unknown = await logIn(front, "sslmode=disable", given).then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LinkLost, `expected LinkLost, got ${String(error)}`);
  return Object.assign(error, { talks: front.talks });
}

const postgres = await server({
  hba: "local all all trust\nhost all scram 127.0.0.1/32 scram-sha-256\nhost all old 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 trust\n",
});
const certificates = await authority("Test Authority");

test("signature and proof are those of an independent computation, for either number of iterations", async () => {
  for (const [count, { signature, proof }] of Object.entries(vectors)) {
    const challenge: Challenge = {
      salt: Buffer.from(salt, "hex"),
      token: Buffer.from(token, "hex"),
      serverSignature: Buffer.from(signature, "hex"),
      iterations: null,
    };
    assert.deepEqual(await answer(password, challenge), { kind: "proof", text: proof });
    const told = { ...challenge, serverSignature: null, iterations: Number(count) };
    assert.deepEqual(await answer(password, told), { kind: "proof", text: proof });
  }
});

test("a server that asks for too few iterations, or for ever, gets no proof", async () => {
  const challenge = { salt: Buffer.alloc(32), token: Buffer.alloc(4), serverSignature: null };
  for (const iterations of [0, 1, 2_047, -1, 10_000_001])
    await assert.rejects(answer(password, { ...challenge, iterations }), /expected 2048 to 10000000 iterations/);
});

test("the sha256 login of openGauss works at protocol 3.0, in one chunk or byte by byte", async () => {
  for (const dribbles of [false, true]) {
    const { signature, proof } = vectors[10000];
    const front = await loginServer({ ask: challengeMessage(signature), reply: accepting(proof), dribbles });
    const open = await logIn(front);
    open.connection.stream.destroy();
    assert.deepEqual(front.talks, [{ protocol: "3.0", passwords: [proof] }]);
  }
});

test("a server with another auth_iteration_count is found out by its signature", async () => {
  const { signature, proof } = vectors[2048];
  const front = await loginServer({ ask: challengeMessage(signature), reply: accepting(proof) });
  (await logIn(front)).connection.stream.destroy();
  assert.deepEqual(front.talks[0]?.passwords, [proof]);
});

test("the challenge of protocol 3.51 is answered too", async () => {
  const { proof } = vectors[10000];
  const front = await loginServer({ ask: message("R", 10, 2, salt, token, 10_000), reply: accepting(proof) });
  (await logIn(front)).connection.stream.destroy();
  assert.deepEqual(front.talks[0]?.passwords, [proof]);
});

test("it works over TLS, where the driver attaches to the stream a second time", async () => {
  const issued = await certificates.issue("localhost", "IP:127.0.0.1");
  const tls = { cert: await readFile(issued.cert, "utf8"), key: await readFile(issued.key, "utf8") };
  const { signature, proof } = vectors[10000];
  const front = await loginServer({ ask: challengeMessage(signature), reply: accepting(proof), tls });
  const open = await logIn(front, `sslmode=verify-full&sslrootcert=${certificates.file}`);
  assert.equal(open.connection.stream.constructor.name, "TLSSocket");
  open.connection.stream.destroy();
  assert.deepEqual(front.talks, [{ protocol: "3.0", passwords: [proof] }]);
});

test("nothing is sent to a server that does not know the password, and it counts as a wrong one", async () => {
  const forged = await failure({ ask: challengeMessage("00".repeat(32)), reply: () => accepted });
  assert.deepEqual(forged.talks, [{ protocol: "3.0", passwords: [] }]);
  const wrong = await failure({ ask: challengeMessage(vectors[10000].signature), reply: () => accepted }, "Gauss@124");
  assert.deepEqual(wrong.talks[0]?.passwords, []);
  for (const error of [forged, wrong]) {
    assert.equal(error.kind, "denied");
    assert.equal(error.wrongPassword, true);
    assert.match(error.message, /cannot connect to app .*no answer was sent/);
    assert.match(
      error.hint ?? "",
      /check the password and the role's name; .*auth_iteration_count; tried: 2048, 4096,/,
    );
    assert.doesNotMatch(`${error.message}${error.hint ?? ""}`, /Gauss@/);
  }
});

test("what the server says of a wrong password is told, and counts as one", async () => {
  const error = await failure({ ask: message("R", 10, 2, salt, token, 10_000), reply: () => refusal });
  assert.equal(error.kind, "denied");
  assert.equal(error.wrongPassword, true);
  assert.match(error.message, /Invalid username\/password,login denied\.$/);
  const md5 = await failure({ ask: message("R", 5, "salt"), reply: () => refusal });
  assert.equal(md5.wrongPassword, true);
  assert.match(md5.talks[0]?.passwords[0] ?? "", /^md5[0-9a-f]{32}$/);
});

test("ways to log in that cannot work are refused with the way out, and no word of the password", async () => {
  const table: readonly [string, Buffer, RegExp, RegExp][] = [
    [
      "11",
      message("R", 11, salt, "abcd"),
      /by md5, and stores it by sha256.*11/,
      /sha256 instead of md5 .*pg_hba\.conf/,
    ],
    ["13", message("R", 13, salt, token), /SM3.*13/, /password_encryption_type = 2/],
    ["99", message("R", 99), /authentication method 99/, /./],
    ["12", message("R", 12, "v=x"), /authentication method 12/, /./],
    [
      "stored",
      message("R", 10, 3, salt, token, "00".repeat(32)),
      /does not know \(3\)/,
      /password_encryption_type = 2/,
    ],
    ["short", message("R", 10, 2, salt.slice(2), token), /challenge cannot be read/, /something between/],
    ["no hex", message("R", 10, 2, "x".repeat(64), token, "00".repeat(32)), /cannot be read/, /something between/],
    ["empty", message("R", 10, Buffer.from([0])), /does not know/, /./],
    // The driver would throw where nobody catches, look for an end for ever, or take it for a yes.
    ["long", message("R", 99, Buffer.alloc(5_000)), /message of 5009 bytes cannot be read/, /something between/],
    [
      "endless",
      Buffer.concat([Buffer.from("R"), Buffer.alloc(4, 0xff), Buffer.alloc(99)]),
      /cannot be read/,
      /between/,
    ],
    ["no code", Buffer.from([0x52, 0, 0, 0, 4, 0]), /message of 5 bytes cannot be read/, /something between/],
    ["no end", message("R", 10, "SCRAM-SHA-256"), /message of 22 bytes cannot be read/, /something between/],
    ["md5 without salt", message("R", 5), /message of 9 bytes cannot be read/, /something between/],
    ["password and more", message("R", 3, "x"), /message of 10 bytes cannot be read/, /something between/],
  ];
  for (const [name, ask, said, hint] of table) {
    const error = await failure({ ask, reply: () => accepted });
    assert.equal(error.kind, "refused", name);
    assert.equal(error.wrongPassword, false, name);
    assert.match(error.message, said, name);
    assert.match(error.hint ?? "", hint, name);
    assert.deepEqual(error.talks[0]?.passwords, [], name);
  }
});

test("SCRAM and md5 of a PostgreSQL server work as before", async () => {
  const person = await client(postgres.url());
  await person.query("set password_encryption = 'scram-sha-256'; create role scram login password 'right'");
  await person.query("set password_encryption = 'md5'; create role old login password 'right'");
  await person.end();
  for (const role of ["scram", "old"]) {
    const url = (word: string) => `postgres://${role}:${word}@127.0.0.1:${postgres.port}/postgres`;
    const connection = await openConnection(target(url("right")), {}, patience());
    assert.equal(connection.server.role, role);
    await connection.close();
    await assert.rejects(openConnection(target(url("wrong")), {}, patience()), { kind: "denied", wrongPassword: true });
  }
});

test("the filter leaves every other byte as it is, however it is cut", () => {
  const before = [
    message("v", 0, 0),
    message("N", "SWARNING\0\0"),
    message("R", 10, "SCRAM-SHA-256\0\0"),
    message("R", 11, "r=x"),
  ];
  const after = [message("R", 0), message("S", "a\0b\0"), Buffer.from([0x52, 0, 0])];
  const all = Buffer.concat([...before, message("R", 12, "v=x"), ...after]);
  for (const size of [1, 2, 3, 5, 7, 64, all.length]) {
    const filter = loginFilter();
    const out: Buffer[] = [];
    for (let at = 0; at < all.length; at += size)
      for (const step of filter(all.subarray(at, at + size))) {
        assert.ok(step.kind === "pass" || step.kind === "over", step.kind);
        out.push(step.bytes);
      }
    assert.deepEqual(Buffer.concat(out), all);
  }
});

test("the driver is the one whose inner workings the login was tried with", () => {
  const { version } = createRequire(import.meta.url)("pg/package.json") as { version: string };
  assert.equal(
    version,
    "8.23.1",
    "read lib/connection.js of the new version: attachListeners, password, and data on the stream",
  );
  const inner = pg.Connection.prototype as unknown as Record<string, unknown>;
  for (const name of ["attachListeners", "password"]) assert.equal(typeof inner[name], "function", name);
  const mine = { emitted: 0, events: [] as string[] };
  const stream = { on: (event: string) => void mine.events.push(event) };
  (inner["attachListeners"] as (this: unknown, stream: unknown) => void).call({ emit: () => mine.emitted++ }, stream);
  assert.deepEqual(mine.events, ["data", "end"]);
});
