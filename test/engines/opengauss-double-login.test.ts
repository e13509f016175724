import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import pg from "pg";
import { authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { cstrings, encode, type Frame, fieldsOf, int32, type Reader, reader } from "../support/opengauss/frames.ts";
import { failureOf, person } from "../support/opengauss/person.ts";
import { isProof, keysOf, proofOf, signatureOf } from "../support/opengauss/sha256.ts";

// How the double lets people in, message by message.

const certificate = await (await authority("double")).issue("localhost", "DNS:localhost,IP:127.0.0.1");
const tls = { cert: await readFile(certificate.cert), key: await readFile(certificate.key) };
const double = await openGauss({ tls });
const password = "Gauss_123";
await double.createUser({ name: "plain", password });
await double.createUser({ name: "sha", password, auth: "sha256" });
await double.createUser({ name: "few", password, auth: "sha256", iterations: 2048 });
await double.createUser({ name: "forged", password, auth: "sha256", forged: true });
await double.createUser({ name: "both", password, auth: "md5-sha256" });
await double.createUser({ name: "chinese", password, auth: "sm3" });

type Caller = Readonly<{ input: Reader; send(bytes: Buffer): void; next(): Promise<Frame>; end(): void }>;

async function call(user: string, minor = 0, more: readonly string[] = []): Promise<Caller> {
  const socket = connect(double.port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return greet(socket, reader(socket), [user, minor, more]);
}

function greet(
  socket: Pick<NodeJS.WritableStream, "write" | "end">,
  input: Reader,
  [user, minor, more]: readonly [string, number, readonly string[]],
): Caller {
  const body = Buffer.concat([int32((3 << 16) + minor), cstrings("user", user, "database", "postgres", ...more, "")]);
  socket.write(Buffer.concat([int32(body.length + 4), body]));
  return {
    input,
    send: (bytes) => void socket.write(bytes),
    next: async () => (await input.frame()) ?? assert.fail("the double has closed the connection"),
    end: () => void socket.end(),
  };
}

type Challenge = Readonly<{ code: number; method: number; salt: string; token: string; rest: Buffer }>;

function challengeOf({ kind, body }: Frame): Challenge {
  assert.equal(kind, "R");
  const [salt, token] = [body.toString("latin1", 8, 72), body.toString("latin1", 72, 80)];
  return { code: body.readInt32BE(0), method: body.readInt32BE(4), salt, token, rest: body.subarray(80) };
}

/** The whole login by sha256; the frame that answers the proof. */
async function prove(caller: Caller, asked: Challenge, iterations: number, secret = password): Promise<Frame> {
  const proof = proofOf(keysOf(secret, asked.salt, iterations), asked.token);
  caller.send(encode("p", cstrings(proof)));
  return caller.next();
}

function said({ kind, body }: Frame): string {
  const fields = fieldsOf(body);
  return `${kind} ${fields.get("S")} ${fields.get("C")} ${fields.get("M")}`;
}

const denied = "E FATAL 28P01 Invalid username/password,login denied.";

test("signature and proof are those of another implementation", () => {
  // Made with Python's hashlib and hmac from the formulas of openGauss' source, not by this code.
  const keys = keysOf(password, "00112233445566778899aabbccddeeff".repeat(2), 2048);
  const proof = "4a7ed31caab603b03463fc0272e36bbeb23e7ebe31dc6af1732c3ba496c57ba9";
  assert.equal(signatureOf(keys, "deadbeef"), "0f3a90f3948b24aabcce7881edbf3e56684a946b1ccdc293e1ac9e07fa2f40df");
  assert.equal(proofOf(keys, "deadbeef"), proof);
  assert.ok(isProof(keys, "deadbeef", proof));
  assert.ok(!isProof(keys, "deadbeee", proof));
});

test("at protocol 3.0 the server signs, and does not say how many iterations", async () => {
  for (const [user, iterations] of [
    ["sha", 10_000],
    ["few", 2048],
  ] as const) {
    const caller = await call(user);
    const frame = await caller.next();
    assert.equal(frame.body.length + 5, 149, "as long as a live one");
    const asked = challengeOf(frame);
    assert.deepEqual([asked.code, asked.method], [10, 2]);
    assert.equal(asked.rest.toString("latin1"), signatureOf(keysOf(password, asked.salt, iterations), asked.token));
    const answer = await prove(caller, asked, iterations);
    assert.deepEqual([answer.kind, answer.body.readInt32BE(0)], ["R", 0]);
    caller.end();
  }
});

test("at protocol 3.51 it says how many iterations, and does not sign", async () => {
  const caller = await call("few", 51);
  const frame = await caller.next();
  assert.equal(frame.body.length + 5, 89, "as long as a live one");
  const asked = challengeOf(frame);
  assert.equal(asked.rest.readInt32BE(0), 2048);
  assert.equal((await prove(caller, asked, 2048)).kind, "R");
  caller.end();
});

test("a wrong password and an unknown user are told the same, after the same question", async () => {
  for (const user of ["sha", "nobody"]) {
    const caller = await call(user);
    const asked = challengeOf(await caller.next());
    assert.equal(asked.code, 10);
    assert.equal(said(await prove(caller, asked, 10_000, "guess")), denied);
  }
  const wrong = new pg.Client({ connectionString: double.url("plain").replace(password, "guess") });
  assert.equal(await wrong.connect().catch(failureOf), denied.replace("E FATAL ", ""));
});

test("a forged signature is another password's, and the double knows who answered it", async () => {
  const caller = await call("forged");
  const asked = challengeOf(await caller.next());
  assert.notEqual(asked.rest.toString("latin1"), signatureOf(keysOf(password, asked.salt, 10_000), asked.token));
  assert.ok(!double.answers.includes("forged"));
  await prove(caller, asked, 10_000);
  assert.ok(double.answers.includes("forged"));
  caller.end();
});

test("codes 11 and 13 cannot be answered", async () => {
  for (const [user, code, length] of [
    ["both", 11, 77],
    ["chinese", 13, 149],
  ] as const) {
    const caller = await call(user);
    const frame = await caller.next();
    assert.deepEqual([frame.body.readInt32BE(0), frame.body.length + 5], [code, length]);
    caller.send(encode("p", cstrings("md5abc")));
    assert.equal(said(await caller.next()), denied);
  }
});

test("the stock driver is let in by md5, and lost at sha256", async () => {
  const plain = await person(double, "plain");
  assert.equal(plain.pid, plain.sessionId);
  const sha = new pg.Client({ connectionString: double.url("sha") });
  sha.on("error", () => undefined);
  await assert.rejects(sha.connect(), /SASL: Only mechanism\(s\) SCRAM-SHA-256/);
});

test("versions and settings that it does not know are refused at the door", async () => {
  const newer = await call("plain", 2);
  assert.match(said(await newer.next()), /^E FATAL 0A000 unsupported frontend protocol 3\.2/);
  const omm = await call("omm");
  assert.match(said(await omm.next()), /Forbid remote connection with initial user\.$/);
  for (const more of [
    ["lock_timeout", "300"],
    ["options", "-c datestyle=ISO -c lock_timeout=300ms"],
  ]) {
    const caller = await call("plain", 0, more);
    assert.equal(said(await caller.next()), 'E FATAL 42704 unrecognized configuration parameter "lock_timeout"');
  }
});

test("settings of openGauss are taken at the door", async () => {
  const client = new pg.Client({ connectionString: double.url("plain"), options: "-c session_timeout=0" });
  await client.connect();
  assert.deepEqual((await client.query("show session_timeout")).rows, [{ session_timeout: "0" }]);
  await client.end();
});

test("the key for cancelling names no pid that the catalog knows, and cancels", async () => {
  const caller = await call("few", 51);
  await prove(caller, challengeOf(await caller.next()), 2048);
  const told = new Map<string, Buffer>();
  for (let frame = await caller.next(); frame.kind !== "Z"; frame = await caller.next()) {
    const isVersion = frame.kind === "S" && frame.body.toString().startsWith("server_version\0");
    told.set(isVersion ? "version" : frame.kind, frame.body);
  }
  assert.equal(told.get("version")?.toString(), "server_version\x009.2.4\0");
  const key = told.get("K") ?? assert.fail("no BackendKeyData");
  const dba = await person(double, "dba");
  const known = await dba.rows("select 1 from pg_stat_activity where pid = $1", [String(key.readInt32BE(0))]);
  assert.deepEqual(known, []);
  caller.send(encode("Q", cstrings("select pg_sleep(300)")));
  await eventually("it runs", async () => {
    const sql = "select 1 from pg_stat_activity where usename = 'few' and state = 'active'";
    return (await dba.rows(sql)).length === 1;
  });
  const request = connect(double.port, "127.0.0.1");
  request.end(Buffer.concat([int32(16), int32(80_877_102), key.subarray(0, 8)]));
  assert.equal((await caller.next()).kind, "T");
  assert.equal(said(await caller.next()), "E ERROR 57014 canceling statement due to user request");
  caller.end();
});

test("with a certificate it speaks TLS, and asks the same there", async () => {
  const socket = connect(double.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(Buffer.concat([int32(8), int32(80_877_103)]));
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.equal(answer.toString(), "S");
  const secure = connectTls({ socket, rejectUnauthorized: false });
  await once(secure, "secureConnect");
  const caller = greet(secure, reader(secure), ["sha", 0, []]);
  assert.equal((await prove(caller, challengeOf(await caller.next()), 10_000)).kind, "R");
  caller.end();
});
