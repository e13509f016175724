import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import mysql from "mysql2";
import type { Target } from "../../src/config/schema.ts";
import { type Link, LinkLost } from "../../src/engines/engine.ts";
import type { Driver } from "../../src/engines/oceanbase/driver.ts";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { type Opened, openConnection } from "../../src/engines/oceanbase/open.ts";
import { eventually } from "../support/eventually.ts";
import { front } from "../support/front.ts";
import type { OceanBaseDouble } from "../support/oceanbase/oceanbase.ts";
import { answering, closedPort, tenants, tenantTarget } from "../support/oceanbase-target.ts";
import { silentProxy } from "../support/silent-proxy.ts";
import { patience } from "../support/targets.ts";
import { tempFolder } from "../support/temp-folder.ts";

const [oracle, mysqlMode, older, v1, v2] = await tenants([
  { mode: "oracle" },
  { mode: "mysql", edition: "CE" },
  { mode: "oracle", version: "4.1.0.2" },
  { mode: "mysql", proxy: "v1" },
  { mode: "oracle", proxy: "v2" },
]);
const watcher = { name: "lockwarden", password: "s:e@c#r/e%t", alterSystem: true, showProcess: true };
for (const double of [oracle, mysqlMode, older, v1, v2]) await double.createUser(watcher);
const silent = await silentProxy(oracle.port);

const raw = (double: OceanBaseDouble, port = double.port) =>
  `oceanbase://lockwarden@shop#main:s:e@c#r%2Fe%25t@127.0.0.1:${port}/`;

async function opened(target: Target, run: (connection: Opened) => Promise<void>, driver?: Driver): Promise<void> {
  const connection = await openConnection(target, driver === undefined ? {} : { driver }, patience());
  try {
    await run(connection);
  } finally {
    await connection.close();
  }
}

async function linked(target: Target, run: (link: Link) => Promise<void>): Promise<void> {
  const link = await connect(target, patience());
  try {
    await run(link);
  } finally {
    await link.close();
  }
}

test("in Oracle mode the server says who answers, in whose session, and what it has", async () => {
  await opened(tenantTarget(raw(oracle)), async ({ server: seen, recognised, encrypted }) => {
    const { sessionId, ...known } = seen;
    assert.deepEqual(known, {
      mode: "oracle",
      version: "4.2.5.3",
      tenant: "shop",
      throughProxy: false,
      proxySessionIds: false,
      views: {
        schedulers: true,
        locks: true,
        lockId3: true,
        participants: true,
        locations: true,
        objects: false,
        addresses: true,
      },
    });
    assert.ok(Number(sessionId) > 2 ** 31, sessionId);
    assert.equal(recognised.user, "LOCKWARDEN");
    assert.equal(recognised.serverId, "oceanbase/main/shop/1002/PRIMARY");
    assert.equal(encrypted, false);
  });
});

test("in MySQL mode too", async () => {
  await opened(tenantTarget(mysqlMode.url("lockwarden")), async ({ server: seen, recognised }) => {
    assert.equal(seen.mode, "mysql");
    assert.equal(seen.version, "4.2.5.3");
    assert.equal(seen.tenant, "shop");
    assert.equal(recognised.user, "lockwarden");
  });
});

test("an older version has fewer views, and is worked with all the same", async () => {
  await opened(tenantTarget(raw(older)), async ({ server: seen }) => {
    assert.equal(seen.version, "4.1.0.2");
    assert.deepEqual(seen.views, {
      schedulers: false,
      locks: false,
      lockId3: false,
      participants: true,
      locations: true,
      objects: false,
      addresses: true,
    });
  });
});

test("every value is the server's own text under a name in capitals, and what returns no rows returns none", async () => {
  const wide =
    "SELECT 12345678901234567890 AS wide, 7 AS small, 1.50 AS decimal_one, NULL AS nothing, 'ü' AS letter FROM DUAL";
  for (const double of [oracle, mysqlMode])
    await opened(tenantTarget(double.url("lockwarden")), async (connection) => {
      assert.deepEqual(await connection.query(wide, patience()), [
        { WIDE: "12345678901234567890", SMALL: "7", DECIMAL_ONE: "1.50", NOTHING: null, LETTER: "ü" },
      ]);
      assert.deepEqual(await connection.query("SET SESSION ob_query_timeout = 5000000", patience()), []);
    });
});

test("a server that offers query attributes is sent its statements as they are", async () => {
  // OceanBase does not offer them: of one that did, the driver would put two bytes before each statement.
  const offering = await silentProxy(mysqlMode.port, {
    fromServer: (chunk) => {
      const upper = chunk.indexOf(0, 5) + 1 + 4 + 8 + 1 + 2 + 1 + 2;
      if (chunk[4] === 10) chunk.writeUInt16LE(chunk.readUInt16LE(upper) | 0x0800, upper);
      return chunk;
    },
  });
  await opened(tenantTarget(raw(mysqlMode, offering.port)), async (connection) => {
    assert.deepEqual(await connection.query("SELECT 'a' AS letter FROM DUAL", patience()), [{ LETTER: "a" }]);
  });
});

test("a proxy with session ids of its own is known by the ids, and nobody is signalled through it", async () => {
  const target = tenantTarget(v1.url("lockwarden", undefined, "proxy"));
  await opened(target, async ({ server: seen }) => {
    assert.equal(seen.throughProxy, true);
    assert.equal(seen.proxySessionIds, true);
    assert.ok(Number(seen.sessionId) > 2 ** 31, seen.sessionId);
  });
  await linked(target, async (link) => assert.equal(link.capabilities.acts, false));
});

test("a proxy that shares its session ids with the server is no hindrance", async () => {
  const target = tenantTarget(v2.url("lockwarden", undefined, "proxy"));
  await opened(target, async ({ server: seen }) => {
    assert.equal(seen.throughProxy, true);
    assert.equal(seen.proxySessionIds, false);
  });
  await linked(target, async (link) => assert.equal(link.capabilities.acts, true));
});

type Refused = Readonly<{ kind: LinkLost["kind"]; message: RegExp; hint: RegExp; wrongPassword?: boolean }>;

async function refused(target: Target, expected: Refused, driver?: Driver): Promise<void> {
  const failure = await openConnection(target, driver === undefined ? {} : { driver }, patience()).then(
    async (connection) => {
      await connection.close();
      return null;
    },
    (error: unknown) => error,
  );
  assert.ok(failure instanceof LinkLost, String(failure));
  assert.equal(failure.kind, expected.kind, failure.message);
  assert.match(failure.message, expected.message);
  assert.match(failure.hint ?? "", expected.hint);
  assert.equal(failure.wrongPassword, expected.wrongPassword ?? false);
  assert.doesNotMatch(`${failure.message} ${failure.hint}`, /hunter2|s:e@c/);
}

test("a wrong password is denied, and known for one", async () => {
  await refused(tenantTarget(oracle.url("lockwarden", "hunter2"), { name: "shop" }), {
    kind: "denied",
    message: /^cannot connect to shop \(127\.0\.0\.1:\d+, user lockwarden@shop\): Access denied for user/,
    hint: /check the user's name, its tenant .* and the password in the target's url/,
    wrongPassword: true,
  });
});

test("a missing password is said to be missing", async () => {
  await refused(tenantTarget(`oceanbase://lockwarden@shop@127.0.0.1:${oracle.port}`), {
    kind: "denied",
    message: /using password: NO/,
    hint: /password_file\): there is none/,
    wrongPassword: true,
  });
});

test("an unknown tenant is refused in the words of a wrong password, so the hint names it", async () => {
  await refused(tenantTarget(`oceanbase://lockwarden@nobody:x@127.0.0.1:${oracle.port}`), {
    kind: "denied",
    message: /user lockwarden@nobody\): Access denied for user/,
    hint: /check the user's name, its tenant /,
    wrongPassword: true,
  });
});

test("a proxy that is not told the cluster is said so", async () => {
  await refused(tenantTarget(`oceanbase://lockwarden@shop:x@127.0.0.1:${v2.proxyPort}`), {
    kind: "denied",
    message: /cluster not exist/,
    hint: /USER@TENANT#CLUSTER at a proxy/,
  });
});

test("a user who may not log in is told what to grant", async () => {
  await oracle.createUser({ name: "nologin", password: "x", createSession: false });
  await refused(tenantTarget(oracle.url("nologin")), {
    kind: "denied",
    message: /lacks CREATE SESSION/,
    hint: /grant create session/,
  });
});

test("a driver without the bit of Oracle mode is refused by the server, and said to be too old", async () => {
  const old: Driver = {
    createConnection: ((config: mysql.ConnectionOptions) =>
      mysql.createConnection({
        ...config,
        flags: [...(config.flags ?? []), "-CLIENT_QUERY_ATTRIBUTES"],
      })) as Driver["createConnection"],
  };
  await refused(
    tenantTarget(raw(oracle)),
    {
      kind: "refused",
      message: /Oracle tenant for current client driver is not supported/,
      hint: /Oracle mode, which needs the driver mysql2 of version 3\.21\.0 or later/,
    },
    old,
  );
  await opened(tenantTarget(raw(mysqlMode)), async () => undefined, old);
});

test("where nobody listens it is unreachable", async () => {
  await refused(tenantTarget(`oceanbase://u@t@127.0.0.1:${await closedPort()}`), {
    kind: "unreachable",
    message: /ECONNREFUSED/,
    hint: /check that the server runs and listens/,
  });
});

test("a server that asks for no TLS cannot be asked for it, and prefer goes without", async () => {
  await refused(tenantTarget(`${raw(oracle)}?sslmode=require`), {
    kind: "refused",
    message: /does not support secure connection/,
    hint: /lower sslmode/,
  });
  await opened(tenantTarget(`${raw(oracle)}?sslmode=prefer`), async ({ encrypted }) => assert.equal(encrypted, false));
});

test("what speaks another protocol ends neither the process nor the wait", async () => {
  const packet = (bytes: readonly number[]) => Buffer.from([bytes.length, 0, 0, 0, ...bytes]);
  const strangers = [
    packet([0x68, 0x65, 0x6c, 0x6c, 0x6f]),
    packet([0xff]),
    packet([10]),
    packet([]),
    packet([10, 0x35, 0, 1, 2]),
    Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"),
    Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"),
  ];
  for (const hello of strangers) {
    const port = await answering(hello, () => packet([0xfe, 1, 2, 3]));
    const target = tenantTarget(`oceanbase://u@t:hunter2@127.0.0.1:${port}`, { connect_timeout: 1_000 });
    await assert.rejects(openConnection(target, {}, patience()), (error: unknown) => {
      assert.ok(error instanceof LinkLost, String(error));
      assert.ok(error.kind === "refused" || error.kind === "unreachable", error.kind);
      return true;
    });
  }
});

test("no server gets the password by asking for it with a key of its own", async () => {
  const packet = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([bytes.length & 255, bytes.length >> 8, 0, number]), bytes]);
  const hello = Buffer.from(`0a352e372e32350001000000414243444546474800fff72d0200ff8115${"00".repeat(10)}`, "hex");
  const greeting = (plugin: string) => Buffer.concat([hello, Buffer.from(`IJKLMNOPQRST\0${plugin}\0`)]);
  for (const plugin of ["sha256_password", "caching_sha2_password"]) {
    for (const first of [plugin, "mysql_native_password"]) {
      const said: Buffer[] = [];
      const port = await answering(packet(0, greeting(first)), (bytes) => {
        said.push(bytes);
        const change = Buffer.from(`\xfe${plugin}\0ABCDEFGHIJKLMNOPQRST\0`, "latin1");
        // Then that the password itself is wanted.
        return packet((bytes[3] ?? 0) + 1, said.length === 1 ? change : Buffer.from([1, 4]));
      });
      const target = tenantTarget(`oceanbase://u@t:hunter2@127.0.0.1:${port}?sslmode=disable`, {
        connect_timeout: 2_000,
      });
      await refused(target, {
        kind: "refused",
        message: /asks for the password itself/,
        hint: /mysql_native_password/,
      });
      assert.equal(said.length, 1, plugin);
    }
  }
});

test("a server that is not OceanBase is refused, and nothing else is asked of it", async () => {
  // As MySQL and MariaDB answer: they have no such variable.
  const { statements } = mysqlMode;
  const before = statements.length;
  const person = await mysqlMode.person();
  const driver: Driver = {
    createConnection: ((config: mysql.ConnectionOptions) => {
      const client = mysql.createConnection(config);
      const query = client.query.bind(client) as (sql: string, done: () => void) => unknown;
      const other = (sql: string) => sql.replace("ob_compatibility_mode", "no_such_variable");
      return Object.assign(client, { query: (sql: string, done: () => void) => query(other(sql), done) });
    }) as Driver["createConnection"],
  };
  await refused(
    tenantTarget(mysqlMode.url("lockwarden")),
    {
      kind: "refused",
      message: /expected an OceanBase server, which has ob_compatibility_mode, got "OceanBase_CE 4\.2/,
      hint: /has other variables and views than OceanBase 4/,
    },
    driver,
  );
  const asked = statements.slice(before).filter(({ user }) => user === "lockwarden");
  assert.ok(asked.length > 0 && asked.every(({ sql }) => sql.startsWith("SHOW VARIABLES")));
  await person.end();
});

test("several hosts are tried in their order, and a wrong password is tried once", async () => {
  const [closed, port] = [await closedPort(), oracle.port];
  const login = "oceanbase://lockwarden@shop:s:e@c#r%2Fe%25t";
  await opened(tenantTarget(`${login}@127.0.0.1:${closed},127.0.0.1:${port}`), async ({ address }) =>
    assert.equal(address.port, port),
  );
  await refused(tenantTarget(`${login}@127.0.0.1:${closed},127.0.0.1:${await closedPort()}`), {
    kind: "unreachable",
    message: /none of 2 hosts will do: \(127\.0\.0\.1:.*ECONNREFUSED.*; \(127\.0\.0\.1:.*ECONNREFUSED/,
    hint: /check that the server runs/,
  });
  await refused(tenantTarget(`oceanbase://lockwarden@shop:hunter2@127.0.0.1:${port},127.0.0.1:${closed}`), {
    kind: "denied",
    message: /Access denied/,
    hint: /check the user's name/,
    wrongPassword: true,
  });
});

test("a host that says nothing is given up within connect_timeout", async () => {
  const port = await answering(Buffer.alloc(0));
  await refused(tenantTarget(`oceanbase://u@t@127.0.0.1:${port}`, { connect_timeout: 300 }), {
    kind: "unreachable",
    message: /no answer within 300 ms/,
    hint: /check the network and the host's firewall, or raise connect_timeout/,
  });
});

test("the password is read from its file at every connect", async (t) => {
  const file = join(await tempFolder(t), "password");
  const url = `oceanbase://lockwarden@shop@127.0.0.1:${oracle.port}`;
  const target = tenantTarget(url, { password_file: file });
  await refused(target, { kind: "denied", message: /cannot read password_file/, hint: /let the user that runs/ });
  await writeFile(file, "s:e@c#r/e%t\n");
  await opened(target, async () => undefined);
});

test("each of its sessions bounds its own statements at the server, commits by itself, and asks for no file", async () => {
  const before = oracle.statements.length;
  await opened(tenantTarget(raw(oracle), { statement_timeout: 3_000 }), async (connection) => {
    const sent = oracle.statements.slice(before).filter((one) => String(one.sessionId) === connection.server.sessionId);
    assert.ok(sent.some(({ sql }) => sql === "SET SESSION ob_query_timeout = 3000000"));
    assert.ok(sent.some(({ sql }) => sql === "SET SESSION autocommit = 1"));
    // Else a difference of local times is an hour too much where the tenant's clocks have just been put forward.
    assert.ok(sent.some(({ sql }) => sql === "SET SESSION time_zone = '+00:00'"));
    await assert.rejects(connection.query("BEGIN DBMS_LOCK.SLEEP(30); END;", patience()), /-4012/);
    assert.equal(connection.failure(), null);
  });
});

test("a session that is killed is lost for good, and says so", async () => {
  const person = await oracle.person();
  await opened(tenantTarget(raw(oracle)), async (connection) => {
    const waiting = connection.query("BEGIN DBMS_LOCK.SLEEP(32); END;", patience());
    const lost = assert.rejects(waiting, { kind: "lost", message: /^the connection to app .* was lost/ });
    await eventually("it sleeps", () => oracle.statements.some(({ sql }) => sql.includes("SLEEP(32)")));
    await person.query(`ALTER SYSTEM KILL SESSION '${connection.server.sessionId}'`);
    await lost;
    assert.equal(connection.failure()?.kind, "lost");
    await assert.rejects(connection.query("SELECT 1 FROM DUAL", patience()), { kind: "lost" });
  });
  await person.end();
});

test("a call that is aborted closes its connection at once", async () => {
  await opened(tenantTarget(raw(oracle)), async (connection) => {
    const abort = new AbortController();
    const asked = connection.query("BEGIN DBMS_LOCK.SLEEP(31); END;", abort.signal);
    await eventually("it sleeps", () => oracle.statements.some(({ sql }) => sql.includes("SLEEP(31)")));
    abort.abort(new Error("enough"));
    await assert.rejects(asked, /enough/);
    await assert.rejects(connection.query("SELECT 1 FROM DUAL", patience()), { kind: "lost", message: /aborted/ });
  });
});

test("a connection that is cut off without a word is lost, not waited for", async () => {
  const target = tenantTarget(raw(oracle, silent.port), { statement_timeout: 1_500 });
  await opened(target, async (connection) => {
    silent.silence();
    await assert.rejects(connection.query("SELECT 1 FROM DUAL", patience()), {
      kind: "lost",
      message: /is silent: no answer in 3500 ms/,
    });
  });
});

test("an answer that cannot be read loses the connection at once, and ends nothing else", async () => {
  let broken = false;
  const breaking = await silentProxy(mysqlMode.port, {
    // One column, and then less of its description than it says.
    fromServer: (chunk) => (broken ? Buffer.from([1, 0, 0, 1, 1, 2, 0, 0, 2, 0xfd, 0xff]) : chunk),
  });
  await opened(tenantTarget(raw(mysqlMode, breaking.port), { statement_timeout: 60_000 }), async (connection) => {
    broken = true;
    await assert.rejects(connection.query("SELECT 1 FROM DUAL", AbortSignal.timeout(30_000)), { kind: "lost" });
    broken = false;
    await assert.rejects(connection.query("SELECT 1 FROM DUAL", patience()), { kind: "lost" });
    assert.equal(connection.failure()?.kind, "lost");
  });
});

test("a connection that is closed in the middle of a statement is lost at once", async () => {
  const closing = await front(oracle.port);
  await opened(tenantTarget(raw(oracle, closing.port), { statement_timeout: 60_000 }), async (connection) => {
    const asked = connection.query("BEGIN DBMS_LOCK.SLEEP(33); END;", AbortSignal.timeout(30_000));
    const lost = assert.rejects(asked, { kind: "lost" });
    await eventually("it sleeps", () => oracle.statements.some(({ sql }) => sql.includes("SLEEP(33)")));
    closing.behave("hang up");
    await lost;
  });
});

test("of several daemons one has the right to act, and the next has it when that one is gone", async () => {
  oracle.switches.dbmsLock = true;
  for (const double of [oracle, mysqlMode]) {
    const target = tenantTarget(double.url("lockwarden"));
    const first = await connect(target, patience());
    await linked(target, async (second) => {
      assert.equal(first.capabilities.lease, true);
      assert.equal(await first.lease(patience()), "held");
      assert.equal(await first.lease(patience()), "held");
      assert.equal(await second.lease(patience()), "taken");
      await first.close();
      // Given back before the session ends: the server itself may be slow to free what a session leaves behind.
      const released = double.statements.filter(({ sql }) => sql.includes("lockwarden:release"));
      assert.equal(released.length, 1);
      assert.equal(await second.lease(patience()), "held");
    });
  }
  oracle.switches.dbmsLock = false;
});

test("where the server has no lock for daemons, that is known and not taken for a refusal", async () => {
  mysqlMode.switches.userLocks = false;
  for (const double of [oracle, mysqlMode])
    await linked(tenantTarget(double.url("lockwarden")), async (link) => {
      assert.equal(link.capabilities.lease, false);
      assert.equal(await link.lease(patience()), "unsupported");
    });
  mysqlMode.switches.userLocks = true;
});

test("a link's two sessions are its own, and half a link is none", async () => {
  const person = await mysqlMode.person();
  await linked(tenantTarget(mysqlMode.url("lockwarden")), async (link) => {
    assert.deepEqual(link.facts, {
      version: "4.2.5.3 (MySQL mode)",
      role: "lockwarden",
      database: "shop",
      recovery: false,
      encrypted: false,
    });
    const look = { sessions: "all", locks: true } as const;
    const { sessions, serverId } = await link.read(look, patience());
    assert.equal(serverId, "oceanbase/-/shop/1002/PRIMARY");
    const own = sessions.filter((session) => session.own);
    assert.equal(own.length, 2);
    await person.query(`KILL ${own[1]?.pid}`);
    await eventually("the link is lost", () =>
      link.read(look, patience()).then(
        () => false,
        (error: unknown) => error instanceof LinkLost && error.kind === "lost",
      ),
    );
  });
  await person.end();
});
