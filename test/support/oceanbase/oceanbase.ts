/*
 * A double of OceanBase at its wire: MySQL's protocol 10 in front, real locks of an embedded PostgreSQL behind, one of its
 * sessions for each of the client's. Oracle and MySQL mode, with OBProxy or without.
 *
 * Built from published source (the community edition's server, OBProxy, ODC) and from the vendor's documentation.
 * Calibrated in MySQL mode against what was recorded from seekdb 1.2.0 and 1.4.0, forks of OceanBase 4.3.5
 * (test/fixtures/seekdb-recorded): columns, rows of a wait, refusals, KILL and KILL QUERY, the id that wraps. There every user
 * may see and end everybody, so the rules of privilege are the source's alone. By the driver mysql2: the capability bit 27.
 * Never run beside OceanBase in Oracle mode, whose parser is closed: the grammar of Oracle mode is ours, its rule of
 * ownership and its refusals are the community source's, and what was recorded in MySQL mode is taken to hold there too.
 *
 * It does not prove: how long OceanBase takes, when its lock views show a wait, what its optimiser makes of a statement,
 * several servers or replicas, what a statement costs. Locks are PostgreSQL's: a row's key is its place in the table, a
 * deadlock is PostgreSQL's to find. SQL is rewritten word by word, not parsed; a syntax that PostgreSQL happens to know
 * passes although OceanBase may refuse it.
 *
 * Chosen where nothing is published: ALTER SYSTEM KILL SESSION with serial# and IMMEDIATE together is a syntax error
 * (`killGrammar: "both"` allows it), and not in MySQL mode at all; ages in GV$OB_PROCESSLIST have decimals from 4.2.1
 * in MySQL mode and from 4.3 in Oracle mode; autocommit is on at the start of a session (`variables: { autocommit: "0" }`);
 * OBProxy v1 words its refusals as the server behind it does, and refuses a login that names no cluster with 4669; one's own
 * KILL is answered with OK in Oracle mode, as printed in the documentation, and by a lost connection in MySQL mode. All is in
 * UTC: sessions in other time zones are not played.
 */

import { createServer, type Server } from "node:net";
import { after } from "node:test";
import mysql from "mysql2/promise";
import pg from "pg";
import type { EmbeddedPostgres } from "../../../src/demo/embedded-postgres.ts";
import { startServer } from "../servers.ts";
import { accounts, type NewAccount } from "./accounts.ts";
import { type Arrival, serve } from "./front.ts";
import { functions } from "./functions.ts";
import { endSession } from "./kill.ts";
import type { Ask, Mode, ProxyKind, Statement, Switches, World } from "./world.ts";

export type OceanBaseOptions = Readonly<{
  mode?: Mode;
  /** Such as 4.1.0.2, 4.2.0.0, 4.2.1.11 or 4.3.5.3. Before 4.2.1 there are no schedulers and no ID3, before 4.2 no locks. */
  version?: string;
  edition?: "EE" | "CE";
  tenant?: string;
  cluster?: string;
  proxy?: ProxyKind;
  killGrammar?: World["killGrammar"];
  /** Global variables of the tenant, such as ob_query_timeout in microseconds. */
  variables?: Readonly<Record<string, string>>;
  /** The first transaction's id. */
  transactionsFrom?: bigint;
  /** The password of SYS (Oracle mode) or root (MySQL mode). */
  administratorPassword?: string;
  /** A PostgreSQL to put the locks in, in a database of their own; default: one for this double alone. */
  postgres?: EmbeddedPostgres;
}>;

export type OceanBaseDouble = Readonly<{
  mode: Mode;
  port: number;
  /** OBProxy's; the same as `port` without one. */
  proxyPort: number;
  /** oceanbase://user@tenant#cluster:password@127.0.0.1:port/, percent-encoded; default: the administrator. */
  url(user?: string, password?: string, through?: "server" | "proxy"): string;
  createUser(account: NewAccount): Promise<void>;
  /** Somebody at the server, whose statements may wait for ten minutes; the loss of the connection ends no test. */
  person(user?: string, options?: PersonOptions): Promise<mysql.Connection>;
  /** The id that the server gave the session of this connection. */
  idOf(connection: mysql.Connection): Promise<number>;
  /** Holds the locks; another double may share it. */
  postgres: EmbeddedPostgres;
  /** Every statement that has arrived, in order. */
  statements: readonly Statement[];
  switches: Switches;
  /** Ends the killed sessions that linger. */
  reap(): Promise<void>;
  stop(): Promise<void>;
}>;

export type PersonOptions = Readonly<{
  password?: string;
  tenant?: string;
  through?: "server" | "proxy";
  /** Default in MySQL mode: app. */
  database?: string;
  flags?: string[];
}>;

/** A double for the tests of one file; it is stopped after them. */
export async function oceanBase(options: OceanBaseOptions = {}): Promise<OceanBaseDouble> {
  const double = await startOceanBase(options);
  after(() => double.stop());
  return double;
}

/** A double that its caller stops. */
export async function startOceanBase(options: OceanBaseOptions = {}): Promise<OceanBaseDouble> {
  const postgres = options.postgres ?? (await startServer({ settings: { max_connections: "200" } }));
  const database = `oceanbase_${Math.random().toString(36).slice(2)}`;
  await atPostgres(postgres.url(), `create database ${database}`);
  const backendUrl = postgres.url("postgres", database);
  const admin = new pg.Client({ connectionString: backendUrl });
  admin.on("error", () => undefined);
  await admin.connect();
  await admin.query(functions);
  const ports = { server: 0, proxy: 0 };
  const world = newWorld(options, { ask: oneByOne(admin), port: () => ports.server });
  await addAdministrators(world, options.administratorPassword ?? "");
  const servers = [await listen(world, backendUrl, false)];
  if (world.proxy !== "none") servers.push(await listen(world, backendUrl, true));
  ports.server = portOf(servers[0]);
  ports.proxy = portOf(servers.at(-1));
  let stopping: Promise<void> | null = null;
  const stop = async () => {
    for (const server of servers) server.close();
    // A PostgreSQL that is shared may have been stopped before.
    await Promise.all([...world.sessions.values()].map((session) => endSession(session, world).catch(() => undefined)));
    await admin.end().catch(() => undefined);
    if (options.postgres === undefined) await postgres.stop();
  };
  return {
    ...persons(world, ports),
    createUser: (account) => createUser(account, world),
    postgres,
    statements: world.statements,
    switches: world.switches,
    reap: async () => {
      const killed = [...world.sessions.values()].filter(({ state }) => state === "SESSION_KILLED");
      await Promise.all(killed.map((session) => endSession(session, world)));
    },
    stop: () => (stopping ??= stop()),
  };
}

/** A client of PostgreSQL takes one statement at a time. */
function oneByOne(admin: pg.Client): Ask {
  let turn: Promise<unknown> = Promise.resolve();
  return (sql, values = []) => {
    const answer = turn.then(async () => (await admin.query(sql, [...values])).rows);
    turn = answer.catch(() => undefined);
    return answer;
  };
}

async function atPostgres(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql);
  await client.end();
}

function newWorld(options: OceanBaseOptions, at: Pick<World, "ask" | "port">): World {
  const { mode = "oracle", version = "4.2.5.3", edition = "EE", tenant = "shop", cluster = "main" } = options;
  let transactions = options.transactionsFrom ?? 3413n;
  const named = edition === "EE" ? "OceanBase" : "OceanBase_CE";
  return {
    mode,
    version,
    edition,
    tenant,
    cluster,
    proxy: options.proxy ?? "none",
    killGrammar: options.killGrammar ?? "documented",
    switches: {
      prefix: "ORA",
      richErrors: false,
      holderIds: "exact",
      waiterIds: "exact",
      killed: "end",
      dbmsLock: false,
      userLocks: true,
      tenantRole: "PRIMARY",
      nextIds: [],
      before: null,
    },
    accounts: accounts(tenant),
    sessions: new Map(),
    variables: new Map(
      Object.entries({
        autocommit: "1",
        ob_query_timeout: "10000000",
        ob_trx_timeout: "86400000000",
        ob_trx_idle_timeout: "86400000000",
        ob_trx_lock_timeout: "-1",
        wait_timeout: "28800",
        version_comment: `${named} ${version} (r100000000000000000-0123456789abcdef) (Built Jan  1 2026 00:00:00)`,
        version: `5.7.25-${named}-v${version}`,
        ...options.variables,
      }),
    ),
    statements: [],
    nextTransaction: () => transactions++,
    ...at,
  };
}

async function addAdministrators(world: World, password: string): Promise<void> {
  for (const schema of ["app", "test", "oceanbase", "sys"]) await world.ask(`create schema ${schema}`);
  const rights = { administrator: true, password };
  world.accounts.add({ name: world.mode === "oracle" ? "SYS" : "root", ...rights }, world.mode);
  world.accounts.add({ name: "root", tenant: "sys", ...rights }, "mysql");
}

async function createUser(wanted: NewAccount, world: World): Promise<void> {
  const mode = wanted.tenant === "sys" ? "mysql" : world.mode;
  const { name } = world.accounts.add(wanted, mode);
  if (mode === "oracle") await world.ask(`create schema if not exists "${name.toLowerCase()}"`);
}

/** Bit 31 and bit 30, the server's number from bit 18 on, then a sequence: above 2^31, as a server's own ids are. */
const firstId = 0xc004_0001;

async function listen(world: World, backendUrl: string, isProxy: boolean): Promise<Server> {
  let arrived = 0;
  const server = createServer((socket) => {
    const number = arrived++;
    serve(socket, arrival(world, isProxy ? number + 1 : null, number), { world, backendUrl });
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return server;
}

/** Behind OBProxy v2 bit 31 is clear: the id is the client's, and the greeting carries it. With v1 that is the proxy's number. */
function arrival(world: World, proxyId: number | null, number: number): Arrival {
  const own = firstId + (proxyId === null ? 0 : 0x1_0000) + number;
  const counted = proxyId !== null && world.proxy === "v2" ? own & 0x7fff_ffff : own;
  const id = world.switches.nextIds.shift() ?? counted;
  return { id, proxyId, threadId: proxyId !== null && world.proxy === "v1" ? proxyId : id };
}

function portOf(server: Server | undefined): number {
  const address = server?.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

type Ports = Readonly<{ server: number; proxy: number }>;

/** The ways in. */
function persons(
  world: World,
  ports: Ports,
): Pick<OceanBaseDouble, "mode" | "port" | "proxyPort" | "url" | "person" | "idOf"> {
  const administrator = world.mode === "oracle" ? "SYS" : "root";
  const port = (through: "server" | "proxy" = "server") => ports[through];
  const login = (user: string, tenant: string, through: "server" | "proxy" = "server") =>
    `${user}@${tenant}${through === "proxy" ? `#${world.cluster}` : ""}`;
  const passwordOf = (user: string, tenant: string) =>
    (world.accounts.find(tenant, user) ?? world.accounts.find(tenant, user.toUpperCase()))?.password ?? "";
  return {
    mode: world.mode,
    port: ports.server,
    proxyPort: ports.proxy,
    url: (user = administrator, password = passwordOf(user, world.tenant), through = "server") => {
      const secret = password === "" ? "" : `:${encodeURIComponent(password)}`;
      return `oceanbase://${encodeURIComponent(login(user, world.tenant, through))}${secret}@127.0.0.1:${port(through)}/`;
    },
    person: async (user = administrator, { tenant = world.tenant, through = "server", ...options } = {}) => {
      const isMysql = world.mode === "mysql" || tenant === "sys";
      const connection = await mysql.createConnection({
        host: "127.0.0.1",
        port: port(through),
        user: login(user, tenant, through),
        password: passwordOf(user, tenant),
        supportBigNumbers: true,
        bigNumberStrings: true,
        ...(isMysql ? { database: "app" } : {}),
        ...options,
      });
      connection.on("error", () => undefined);
      await connection.query("set ob_query_timeout = 600000000");
      return connection;
    },
    idOf: async (connection) => {
      const mode = await modeOf(connection);
      const sql =
        mode === "oracle" ? "SELECT SYS_CONTEXT('USERENV','SID') AS ID FROM DUAL" : "SELECT CONNECTION_ID() AS ID";
      const [rows] = await connection.query<mysql.RowDataPacket[]>(sql);
      return Number(rows[0]?.["ID"]);
    },
  };
}

async function modeOf(connection: mysql.Connection): Promise<Mode> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>("SHOW VARIABLES LIKE 'ob_compatibility_mode'");
  return (rows[0]?.["VALUE"] ?? rows[0]?.["Value"]) === "ORACLE" ? "oracle" : "mysql";
}
