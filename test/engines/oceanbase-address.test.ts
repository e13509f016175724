import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { oceanbaseUrlMistakes, readTenantUrl } from "../../src/config/oceanbase-url.ts";
import { hasPassword, withoutPassword } from "../../src/config/postgres-url.ts";
import { protocolOf, targetUrlMistakes } from "../../src/config/target-url.ts";
import { type Address, describeAddress, loginParts, parseAddresses } from "../../src/engines/oceanbase/address.ts";
import { engineFor } from "../../src/engines/registry.ts";
import { loadText } from "../support/load-text.ts";

const plain: Address = {
  host: "db.example.org",
  port: 2881,
  user: "lockwarden@shop#main",
  password: null,
  database: null,
  sslMode: "prefer",
  sslRootCert: null,
  sslCert: null,
  sslKey: null,
};

const good: readonly [string, Partial<Address>][] = [
  ["oceanbase://lockwarden@shop#main@db.example.org", {}],
  ["oceanbase://lockwarden@shop#main@db.example.org:2883/", { port: 2883 }],
  ["OceanBase://lockwarden@shop#main@db.example.org:/", {}],
  ["mysql://lockwarden@shop#main@db.example.org", {}],
  ["oceanbase://lockwarden%40shop%23main@db.example.org", {}],
  ["oceanbase://lockwarden@shop#main:secret@db.example.org:2881/", { password: "secret" }],
  ["oceanbase://lockwarden@shop#main:se:c@r#t@db.example.org", { password: "se:c@r#t" }],
  ["oceanbase://lockwarden@shop#main:p%2Fa%3Fs%25@db.example.org", { password: "p/a?s%" }],
  ["oceanbase://lockwarden@shop#main:@db.example.org", {}],
  ["oceanbase://root@db.example.org", { user: "root" }],
  ["oceanbase://lockwarden@shop@db.example.org/APP", { user: "lockwarden@shop", database: "APP" }],
  ["oceanbase://lockwarden@shop#main@[::1]:2881", { host: "::1" }],
  ["oceanbase://lockwarden@shop#main@[fe80::1%25eth0]", { host: "fe80::1%eth0" }],
  [
    "oceanbase://lockwarden@shop#main@db.example.org?sslmode=verify-full&sslrootcert=/etc/a%20b.pem",
    { sslMode: "verify-full", sslRootCert: "/etc/a b.pem" },
  ],
  [
    "oceanbase://lockwarden@shop#main@db.example.org?sslcert=/c.pem&sslkey=/k+k.pem",
    { sslCert: "/c.pem", sslKey: "/k+k.pem" },
  ],
];

for (const [url, expected] of good)
  test(`${url} is understood`, () => {
    assert.deepEqual(parseAddresses(url), [{ ...plain, ...expected }]);
    assert.deepEqual(oceanbaseUrlMistakes(url), []);
  });

test("several hosts are tried in their order, with the same login", () => {
  const url = "oceanbase://lockwarden@shop#main:secret@a:2882,[::1],c/";
  assert.deepEqual(
    parseAddresses(url).map(({ host, port, user, password }) => ({ host, port, user, password })),
    [
      { host: "a", port: 2882, user: "lockwarden@shop#main", password: "secret" },
      { host: "::1", port: 2881, user: "lockwarden@shop#main", password: "secret" },
      { host: "c", port: 2881, user: "lockwarden@shop#main", password: "secret" },
    ],
  );
});

const bad: readonly [string, RegExp][] = [
  ["", /got a text that is no URL/],
  ["host=h user=u", /got a text that is no URL/],
  ["http://u@t#c@h", /got a URL that starts with "http"/],
  ["oceanbase://db.example.org", /expected a user before the host .*got none/],
  ["oceanbase://@db.example.org", /expected a user before the host/],
  ["oceanbase://:hunter2@db.example.org", /expected a user before the host/],
  ["oceanbase://u@t#c@", /expected a host after the last @ .*got none/],
  ["oceanbase://u@t#c:2881", /expected a host after the last @ .*got a tenant and its cluster there/],
  ["oceanbase://u@t#c@a,,b", /expected a host on both sides of a comma/],
  ["oceanbase://u@t#c@h:99999", /expected a port from 1 to 65535/],
  ["oceanbase://u@t#c@h:port", /expected HOST:PORT, or \[ADDRESS\]:PORT of IPv6/],
  ["oceanbase://u@t#c@::1:2881", /expected HOST:PORT, or \[ADDRESS\]:PORT of IPv6/],
  ["oceanbase://u@t#c:hun/ter2@h", /expected special characters of a password as %XX/],
  ["oceanbase://u@t#c:hun?ter2@h", /expected special characters of a password as %XX/],
  ["oceanbase://u@t#c:hun ter2@h", /expected special characters of a password as %XX/],
  ["oceanbase://u@t#c:hun%ter2@h", /expected special characters of a password as %XX/],
  ["oceanbase://u@t#c:hunter2%00@h", /expected special characters of a password as %XX/],
  ["oceanbase://u@t#c@h?sslmode=verify_full", /expected sslmode .*got "verify_full"; did you mean "verify-full"\?/],
  ["oceanbase://u@t#c@h?sslmod=require", /expected no parameters but .*got "sslmod"; did you mean "sslmode"\?/],
  ["oceanbase://u@t#c@h?sslmode=require&sslmode=disable", /expected sslmode once, got it 2 times/],
  ["oceanbase://u@t#c@h?sslrootcert=ca.pem", /expected an absolute path in sslrootcert/],
  ["oceanbase://u@t#c@h?sslcert=/c.pem", /expected sslcert and sslkey together/],
  [
    "oceanbase://u@t#c@127.0.0.1?sslmode=verify-full",
    /expected the host by a name .*got an IP address; or use verify-ca/,
  ],
  ["oceanbase://u@t#c@[::1]?sslmode=verify-full", /expected the host by a name/],
];

for (const [url, expected] of bad)
  test(`${url === "" ? "an empty text" : url} is a mistake that is named, without a secret in it`, () => {
    const text = oceanbaseUrlMistakes(url).join("; ");
    assert.match(text, expected);
    assert.doesNotMatch(text, /hun|ter2/);
    assert.throws(() => parseAddresses(url), expected);
  });

test("whatever stands there, it is understood or a mistake, and a password is never part of one", () => {
  fc.assert(
    fc.property(fc.webUrl(), fc.string(), fc.string(), (web, some, more) => {
      for (const url of [
        web,
        some,
        `oceanbase://${some}`,
        `oceanbase://${some}:${more}@h`,
        `mysql://u@t#c@${some}?${more}`,
      ]) {
        const read = readTenantUrl(url);
        assert.ok(read.kind === "good" || read.mistakes.length > 0);
      }
      const hidden = `oceanbase://u@t#c:#x1${encodeURIComponent(more.replaceAll("\0", ""))}@h:${some}`;
      const read = readTenantUrl(hidden);
      assert.ok(read.kind === "good" || !read.mistakes.join().includes("#x1"));
    }),
  );
});

test("what a login says of tenant and cluster is read, and what it does not say is unknown", () => {
  assert.deepEqual(loginParts("lockwarden@shop#main"), { name: "lockwarden", tenant: "shop", cluster: "main" });
  assert.deepEqual(loginParts("lockwarden@shop"), { name: "lockwarden", tenant: "shop", cluster: null });
  assert.deepEqual(loginParts("root"), { name: "root", tenant: null, cluster: null });
});

test("a description says where it leads, and no password", () => {
  const [address] = parseAddresses("oceanbase://lockwarden@shop#main:secret@[::1]:2881");
  assert.ok(address !== undefined);
  assert.equal(describeAddress(address), "[::1]:2881, user lockwarden@shop#main");
});

test("the password of an account with a tenant is found and left out of what names the config", () => {
  const url = "oceanbase://lockwarden@shop#main:se:c@ret@h:2881/?sslmode=require";
  assert.equal(hasPassword(url), true);
  assert.equal(withoutPassword(url), "oceanbase://lockwarden@shop#main@h:2881/?sslmode=require");
  assert.equal(hasPassword("oceanbase://lockwarden@shop#main@h:2881/"), false);
  assert.equal(withoutPassword("oceanbase://lockwarden@shop#main@h:2881/"), "oceanbase://lockwarden@shop#main@h:2881/");
});

test("the engine follows from its name, or from the url's scheme", () => {
  const cases: readonly [Parameters<typeof engineFor>[0], string][] = [
    [{ engine: "oceanbase", url: "mysql://u@t@h" }, "oceanbase"],
    [{ url: "oceanbase://u@t@h" }, "oceanbase"],
    [{ url: "postgres://u@h/d" }, "postgres"],
  ];
  for (const [target, name] of cases) {
    assert.equal(engineFor(target).name, name);
    assert.equal(protocolOf(target), name);
  }
});

const pairs: readonly [engine: string | undefined, url: string, mistake: RegExp | null][] = [
  ["oceanbase", "oceanbase://u@t#c@h", null],
  ["oceanbase", "mysql://u@t#c@h", null],
  [undefined, "oceanbase://u@t#c@h", null],
  [undefined, "postgres://u@h/d", null],
  ["oceanbase", "postgres://u@h/d", /as engine is oceanbase, got a postgres:\/\/ URL: correct one of both/],
  ["postgres", "oceanbase://u@t@h", /expected a postgres:\/\/ URL, as engine says, got oceanbase:\/\//],
  ["opengauss", "mysql://u@t@h", /expected a postgres:\/\/ URL, as engine says, got mysql:\/\//],
  [undefined, "mysql://u@h", /expected engine: oceanbase beside a mysql:\/\/ URL.*MySQL and MariaDB themselves/],
  ["oceanbase", "host=h", /got a text that is no URL/],
];

for (const [engine, url, mistake] of pairs)
  test(`engine ${engine ?? "left out"} with ${url} is ${mistake === null ? "taken" : "a mistake"}`, () => {
    const found = targetUrlMistakes(engine)(url).join("; ");
    if (mistake === null) assert.equal(found, "");
    else assert.match(found, mistake);
  });

test("a config says at its place that a url is not OceanBase's", () => {
  const text = (url: string) => `targets:
  - name: app
    engine: oceanbase
    url: "${url}"
rules: [{name: idle, match: {state: idle in transaction, idle_for: 30s}, steps: [terminate]}]
`;
  assert.equal(loadText(text("oceanbase://lockwarden@shop#main@127.0.0.1:2881/")).kind, "ok");
  const other = loadText(text("oceanbase://lockwarden@shop#main@127.0.0.1:2881/?ssl=true"));
  assert.ok(other.kind === "bad");
  assert.deepEqual(
    other.mistakes.map(({ line, column, path }) => ({ line, column, path })),
    [{ line: 4, column: 10, path: "targets.0.url" }],
  );
});
