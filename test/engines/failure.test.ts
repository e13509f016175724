import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { LinkLost } from "../../src/engines/engine.ts";
import { describeAddress, parseAddress } from "../../src/engines/postgres/address.ts";
import { connectFailure, endsSession, type Phase, type Place } from "../../src/engines/postgres/failure.ts";

const address = parseAddress("postgres://me:secret@db/app?sslmode=verify-full&sslrootcert=/etc/ca.pem");
const place: Place = {
  target: "app",
  where: describeAddress(address),
  address,
  passwordSource: "password_file /etc/p",
  databaseSource: "the database in the target's url",
};

function said(state: string, message = "so it is"): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError(message, 1, "error"), { code: state });
}
function socket(code: string): Error {
  return Object.assign(new Error(`socket ${code}`), { code });
}

const table: readonly [string, unknown, Phase, LinkLost["kind"]][] = [
  ["refused by the host", socket("ECONNREFUSED"), "connecting", "unreachable"],
  ["a name that is not found", socket("ENOTFOUND"), "connecting", "unreachable"],
  ["a broken pipe", socket("EPIPE"), "connecting", "unreachable"],
  ["a reset in the TLS handshake", socket("ECONNRESET"), "handshake", "unreachable"],
  ["an end in the TLS handshake", new Error("Connection terminated unexpectedly"), "handshake", "unreachable"],
  ["an end while logging in", new Error("Connection terminated unexpectedly"), "login", "unreachable"],
  ["a certificate of an unknown authority", socket("SELF_SIGNED_CERT_IN_CHAIN"), "handshake", "refused"],
  ["an expired certificate", socket("CERT_HAS_EXPIRED"), "handshake", "refused"],
  ["a TLS version that is too old", socket("ERR_SSL_UNSUPPORTED_PROTOCOL"), "handshake", "refused"],
  ["starting up", said("57P03"), "login", "unreachable"],
  ["too many connections", said("53300"), "login", "unreachable"],
  ["out of memory", said("53200"), "login", "unreachable"],
  ["shutting down", said("57P01"), "login", "unreachable"],
  ["a wrong password", said("28P01"), "login", "denied"],
  ["no line in pg_hba.conf", said("28000"), "login", "denied"],
  ["no such database", said("3D000"), "login", "denied"],
  ["no CONNECT", said("42501"), "login", "denied"],
  ["a function that PostgreSQL has", said("42883"), "login", "refused"],
  ["what was told before", new LinkLost("denied", "password_file /etc/p is empty"), "login", "denied"],
];

for (const [what, error, phase, kind] of table) {
  test(`connecting: ${what} is ${kind}`, () => {
    const failure = connectFailure(error, place, phase);
    assert.equal(failure.kind, kind);
    assert.match(failure.message, /^cannot connect to app \(db:5432, user me, database app\): ./);
    assert.doesNotMatch(`${failure.message} ${failure.hint ?? ""}`, /secret|undefined|null/);
  });
}

test("every address of a host that was tried is told, in one line", () => {
  const error = new AggregateError([new Error("connect ECONNREFUSED ::1:5432"), new Error("connect\n  ECONNREFUSED")]);
  assert.match(
    connectFailure(error, place, "connecting").message,
    /: connect ECONNREFUSED ::1:5432; connect ECONNREFUSED$/,
  );
});

test("only errors that end the session lose it", () => {
  for (const state of ["57P01", "57P02", "57P05", "25P03", "08006"])
    assert.equal(endsSession(said(state)), true, state);
  for (const state of ["57014", "55P03", "42501", "22012", "40P01"])
    assert.equal(endsSession(said(state)), false, state);
  for (const code of ["ECONNRESET", "EPIPE"]) assert.equal(endsSession(socket(code)), true, code);
});
