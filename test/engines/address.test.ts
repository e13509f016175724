import assert from "node:assert/strict";
import { test } from "node:test";
import { type Address, describeAddress, parseAddress, parseAddresses } from "../../src/engines/postgres/address.ts";

const plain: Address = {
  host: "db.example.org",
  port: 5432,
  user: "lockwarden",
  password: null,
  database: "app",
  sslMode: "prefer",
  sslRootCert: null,
  sslCert: null,
  sslKey: null,
};

const good: readonly [string, Partial<Address>][] = [
  ["postgres://lockwarden@db.example.org/app", {}],
  ["postgresql://lockwarden@db.example.org:5433/app", { port: 5433 }],
  ["POSTGRES://lockwarden@db.example.org/app", {}],
  ["postgres://lockwarden@db.example.org", { database: "lockwarden" }],
  ["postgres://lockwarden@db.example.org/", { database: "lockwarden" }],
  ["postgres://lockwarden@db.example.org:/app", {}],
  [
    "postgres://lock%40warden:p%2Fa%3As%3Fs%40@db.example.org/a%20p%2Fp",
    { user: "lock@warden", password: "p/a:s?s@", database: "a p/p" },
  ],
  ["postgres://lockwarden:a@b:c#d@db.example.org/app", { password: "a@b:c#d" }],
  ["postgres://lockwarden:@db.example.org/app", { password: null }],
  ["postgres://lockwarden@[::1]:5433/app", { host: "::1", port: 5433 }],
  ["postgres://lockwarden@[fe80::1%25eth0]/app", { host: "fe80::1%eth0" }],
  ["postgres://lockwarden@/app?host=/run/postgresql", { host: "/run/postgresql" }],
  ["postgres://lockwarden@/app?host=%2Frun%2Fpostgresql", { host: "/run/postgresql" }],
  ["postgres://lockwarden@%2Frun%2Fpostgresql/app", { host: "/run/postgresql" }],
  ["postgres://lockwarden@:5433/app?host=/tmp", { host: "/tmp", port: 5433 }],
  [
    "postgres://lockwarden@db.example.org/app?sslmode=verify-full&sslrootcert=/etc/a%20b.pem",
    { sslMode: "verify-full", sslRootCert: "/etc/a b.pem" },
  ],
  ["postgres://lockwarden@db.example.org/app?sslcert=/c.pem&sslkey=/k.pem", { sslCert: "/c.pem", sslKey: "/k.pem" }],
];

for (const [url, expected] of good) {
  test(`${url} is understood`, () => {
    assert.deepEqual(parseAddress(url), { ...plain, ...expected });
  });
}

const bad: readonly [string, RegExp][] = [
  ["", /expected postgres:\/\/USER@HOST:PORT\/DATABASE, got a text that does not begin with postgres:\/\//],
  ["mysql://secret@h/app", /does not begin with postgres:\/\//],
  ["postgres://secret@[::1/app", /got something that does not read so/],
  ["postgres://db.example.org/app", /expected a user .*got none/],
  ["postgres://@db.example.org/app", /expected a user .*got none/],
  ["postgres://u:12/secret@h/app", /expected a user .*write \/ as %2F/],
  ["postgres://u@/app", /expected a host .*\?host=\/FOLDER for a Unix socket, got neither/],
  ["postgres://u@a,b/app", /expected one host, got several/],
  ["postgres://u@/app?host=a,b", /expected one host, got several/],
  ["postgres://u@a,/app", /expected a host .*got neither/],
  ["postgres://u@a,[::1/app", /got something that does not read so/],
  ["postgres://u@a:1,b:secret/app", /expected a port from 1 to 65535/],
  ["postgres://u@a%2Cb/app", /expected commas between hosts as they are, got one as %2C/],
  [
    "postgres://u@h/app?target_session_attrs=master",
    /expected target_session_attrs to be any, read-write, .*, got master/,
  ],
  ["postgres://u@h:0/app", /expected a port from 1 to 65535/],
  ["postgres://u@h:65536/app", /expected a port from 1 to 65535/],
  ["postgres://u@h:secret/app", /expected a port from 1 to 65535/],
  ["postgres://u@h/app?sslmode=allow", /expected sslmode to be disable, prefer, .*, got allow/],
  ["postgres://u@h/app?sslmode=Secret!", /expected sslmode to be .*, got something else/],
  ["postgres://u@h/app?sslmode", /expected sslmode=VALUE, got no value/],
  ["postgres://u@h/app?options=-c", /expected only the parameters host, sslmode, .*: options/],
  ["postgres://u@h/app?SECRET!=1", /expected only the parameters .*, got another one$/],
  ["postgres://u@h/app?sslcert=/c.pem", /expected sslcert and sslkey together, got only sslcert/],
  ["postgres://u:%secret@h/app", /expected %XX in password to be UTF-8/],
  ["postgres://u%00@h/app", /expected a user without a zero byte/],
];

for (const [url, expected] of bad) {
  test(`${url || "an empty url"} is refused without showing it`, () => {
    assert.throws(
      () => parseAddress(url),
      (error: Error) => {
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /secret/i);
        return true;
      },
    );
  });
}

test("several hosts are tried in their order, each on its own port, and a primary is wanted", () => {
  const url = "postgres://lockwarden:p@one.example.org:5433,[::1],%2Frun%2Fpg:5434/app?sslmode=require";
  const { hosts, wanted } = parseAddresses(url);
  const same = { ...plain, password: "p", sslMode: "require" };
  assert.deepEqual(hosts, [
    { ...same, host: "one.example.org", port: 5433 },
    { ...same, host: "::1", port: 5432 },
    { ...same, host: "/run/pg", port: 5434 },
  ]);
  assert.equal(wanted, "primary");
});

test("one host may be any kind of server, unless the url says otherwise", () => {
  assert.equal(parseAddresses("postgres://u@h/app").wanted, "any");
  for (const kind of ["any", "primary", "standby", "prefer-standby", "read-write", "read-only"]) {
    assert.equal(parseAddresses(`postgres://u@h/app?target_session_attrs=${kind}`).wanted, kind);
    assert.equal(parseAddresses(`postgres://u@h,i/app?target_session_attrs=${kind}`).wanted, kind);
  }
});

test("several folders of sockets share the port before the path", () => {
  const { hosts } = parseAddresses("postgres://lockwarden@:5433/app?host=/run/one,/run/two");
  assert.deepEqual(
    hosts.map(({ host, port }) => [host, port]),
    [
      ["/run/one", 5433],
      ["/run/two", 5433],
    ],
  );
});

test("an address is described without its password", () => {
  const shown = ["postgres://u:secret@h/app", "postgres://u@[::1]/app", "postgres://u@/app?host=/run"].map((url) =>
    describeAddress(parseAddress(url)),
  );
  assert.deepEqual(shown, [
    "h:5432, user u, database app",
    "[::1]:5432, user u, database app",
    "/run/.s.PGSQL.5432, user u, database app",
  ]);
});
