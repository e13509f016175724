import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { postgresUrlMistakes, smtpUrlMistakes, withoutPassword } from "../../src/config/postgres-url.ts";

const good = [
  "postgres://u@h/d",
  "postgresql://u:p@h:5433/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
  "postgres://u:p%40%2F%3F%23@h/d",
  "postgres://u@[::1]:5432/d",
  "postgres://u@/d?host=/run/postgresql",
  "postgres://u:p@/d?host=/run/postgresql",
  "postgres://u@h",
  "postgres://u@a:5432,b:5433/d",
  "postgres://u:p@a,[::1]:5433,%2Frun%2Fpg/d?target_session_attrs=read-write&sslmode=verify-full",
  "postgres://u@/d?host=/run/one,/run/two",
  "postgres://u@h/d?target_session_attrs=standby",
];
for (const url of good)
  test(`${url} is taken`, () => {
    assert.deepEqual(postgresUrlMistakes(url), []);
  });

const form = "expected postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full";
const special =
  "expected special characters of user and password as %XX (@ is %40, / is %2F, ? is %3F, # is %23), got one of them as it is";
const bad: readonly (readonly [string, string])[] = [
  ["host=h user=u", `${form}, got a text that is no URL`],
  ["http://u@h/d", `${form}, got a URL that starts with "http"`],
  ["postgres://u@h:99999/d", `${form}, got a URL that cannot be read`],
  ["postgres://u%zz@h/d", `${form}, got a URL that cannot be read`],
  ["postgres://h/d", "expected a user before the host (USER@), got none"],
  ["postgres://u@/d", "expected a host (USER@HOST, or ?host=/run/postgresql for a Unix socket), got none"],
  ["postgres://u@h/d?host=/run", "expected one host, got one before the path and one as a parameter"],
  ["postgres://u@a,,b/d", "expected a host on both sides of a comma, got none on one"],
  ["postgres://u@a:5432,b:99999/d", `${form}, got a URL that cannot be read`],
  ["postgres://u@a,b/d?host=/run", "expected one host, got one before the path and one as a parameter"],
  ["postgres://u@/d?host=/run,", "expected a host (USER@HOST, or ?host=/run/postgresql for a Unix socket), got none"],
  [
    "postgres://u@a,b/d?target_session_attrs=primry",
    'expected target_session_attrs any, read-write, read-only, primary, standby or prefer-standby, got "primry"; did you mean "primary"?',
  ],
  ["postgres://u:hunter?2@h/d", special],
  ["postgres://u:hunter#2@h/d", special],
  ["postgres://u:1/hunter2@h/d", special],
  ["postgres://u:hunter 2@h/d", special],
  [
    "postgres://u@h/d?sslmode=allow",
    'expected sslmode disable, prefer, require, verify-ca or verify-full, got "allow"; it is encrypted only where the server insists: use require, or better verify-full',
  ],
  [
    "postgres://u@h/d?sslmode=verify_full",
    'expected sslmode disable, prefer, require, verify-ca or verify-full, got "verify_full"; did you mean "verify-full"?',
  ],
  ["postgres://u@h/d?sslmode=require&sslmode=disable", "expected sslmode once, got it 2 times"],
  ["postgres://u@h/d?sslrootcert=ca.pem", "expected an absolute path in sslrootcert, got another text"],
  [
    "postgres://u@h/d?application_name=x",
    "expected no application_name: Lockwarden sets its own, by which it knows its twins",
  ],
  [
    "postgres://u@h/d?connect_timeout=3",
    'expected no parameters but sslmode, sslrootcert, sslcert, sslkey, host, target_session_attrs, got "connect_timeout"',
  ],
];
for (const [url, mistake] of bad)
  test(`${url} is refused`, () => {
    assert.deepEqual(postgresUrlMistakes(url), [mistake]);
  });

test("no text makes the judgement of a URL throw", () => {
  const text = fc.oneof(
    fc.string(),
    fc.string().map((tail) => `postgres://${tail}`),
    fc.webUrl(),
  );
  fc.assert(
    fc.property(text, (url) => {
      assert.ok(Array.isArray(postgresUrlMistakes(url)) && Array.isArray(smtpUrlMistakes(url)));
      assert.equal(typeof withoutPassword(url), "string");
    }),
  );
});

test("a password is no part of what the digest is made of", () => {
  assert.equal(withoutPassword("postgres://u:p:q@r@h:5432/d?sslmode=require"), "postgres://u@h:5432/d?sslmode=require");
  assert.equal(withoutPassword("postgres://u@h/d"), "postgres://u@h/d");
  assert.equal(withoutPassword("smtps://h:465"), "smtps://h:465");
});
