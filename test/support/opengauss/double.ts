// A wire-level double of openGauss: a front that speaks its protocol, with a real PostgreSQL session behind every session
// and so with real locks, transactions and waits.
//
// Calibrated against: rows and answers recorded from a live openGauss 7.0.0-RC2 (lite build, sql_compatibility A, thread
// pool off and on) on 2026-11-21, and the source of openGauss 1.0 to 7.0 for what older releases do.
//
// What it does not prove: that GaussDB, or openGauss up to 5.1, does the same (never run: from documentation and source).
// It is PostgreSQL's planner, parser and lock manager that work here: a statement that runs here may use a feature which
// openGauss lacks (the known ones are refused: names.ts), partition and global locks are missing, an UPDATE holds no
// AccessShareLock beside its RowExclusiveLock. '' is NULL only where a statement or a parameter says '', not where a
// function returns it or a column holds it. session_timeout and lockwait_timeout are accepted and never strike. The pool
// grows where a real one lets a session wait for a thread. Roles are told apart by PostgreSQL's rules, plus MONADMIN,
// SYSADMIN, PERSISTENCE and gs_role_signal_backend for what sees and signals; other administrators are not there.

import { after } from "node:test";
import pg from "pg";
import type { EmbeddedPostgres } from "../../../src/demo/embedded-postgres.ts";
import { startServer } from "../servers.ts";
import type { Account } from "./accounts.ts";
import { catalogSql } from "./catalog-sql.ts";
import { front } from "./front.ts";
import { functionsSql } from "./functions-sql.ts";
import { type Ledger, ledger, type Signalled, signalReader } from "./ledger.ts";
import { type Setting, settings, unknownSettings } from "./names.ts";
import type { Heard, NewUser, OpenGaussDouble, Options } from "./options.ts";
import type { House } from "./relay.ts";
import { type Seats, seats } from "./seats.ts";
import { randomHex } from "./sha256.ts";
import { type Version, versions } from "./versions.ts";

/** A double for the tests of one file; it is stopped after them. */
export async function openGauss(options: Options = {}): Promise<OpenGaussDouble> {
  const double = await startOpenGauss(options);
  after(() => double.stop());
  return double;
}

/** The same outside of tests: whoever starts it stops it. */
export async function startOpenGauss(options: Options = {}): Promise<OpenGaussDouble> {
  const { threadPool = false, emptyIsNull = true } = options;
  const version = releaseOf(options);
  const added = settings(threadPool, emptyIsNull ? "A" : "PG", options.onlineDdlLock ?? false);
  const signalled: Signalled[] = [];
  const backend = await startServer({
    major: 18,
    settings: { ...backendSettings(added), ...options.backend },
    onLog: signalReader((one) => signalled.push(one)),
  });
  try {
    const built = { options, version, added, signalled, backend, seats: seats(threadPool, options.workers ?? 4) };
    return await open({
      ...built,
      admin: await adminOf(backend),
      accounts: new Map(),
      sqlLog: [],
      modes: { pipesMeanOr: false },
    });
  } catch (error) {
    await backend.stop();
    throw error;
  }
}

type Building = Readonly<{
  options: Options;
  version: Version;
  added: Readonly<Record<string, Setting>>;
  signalled: readonly Signalled[];
  backend: EmbeddedPostgres;
  admin: pg.Client;
  seats: Seats;
  accounts: Map<string, Account>;
  sqlLog: Heard[];
  modes: { pipesMeanOr: boolean };
}>;

async function open(building: Building): Promise<OpenGaussDouble> {
  const { options, version, added, backend, admin, accounts, sqlLog } = building;
  const book = ledger(backend.folder, building.seats, accounts, version.text);
  const compatibility = added["sql_compatibility"]?.value ?? "A";
  const catalog = { file: book.file, version, compatibility, settings: added, unknownSettings: [...unknownSettings] };
  await admin.query("create role gs_role_signal_backend nologin");
  const sql = [catalogSql(catalog), functionsSql(version, options.threadPool ?? false)].join("\n");
  await admin.query(sql);
  // Databases that are made later have it, too.
  const template = await adminOf(backend, "template1");
  await template.query(sql);
  await template.end();
  const answers: string[] = [];
  const listening = await front({ house: houseOf(building, book), accounts, answers, added, tls: options.tls ?? null });
  const double: OpenGaussDouble = {
    url: (user = "dba", database = "postgres") => {
      const password = encodeURIComponent(accounts.get(user)?.password ?? "");
      return `postgres://${user}:${password}@127.0.0.1:${listening.port}/${database}`;
    },
    port: listening.port,
    threadPool: options.threadPool ?? false,
    createUser: async (user) => {
      await admin.query(roleSql(user));
      accounts.set(user.name, accountOf(user));
      book.touch();
    },
    sqlLog,
    answers,
    signalled: building.signalled,
    recycleIds: building.seats.recycle,
    pipesMeanOr: (on) => (building.modes.pipesMeanOr = on),
    killGrammar: version.killGrammar,
    setVersion: book.setVersion,
    backend,
    stop: async () => {
      await listening.close();
      book.close();
      await admin.end();
      await backend.stop();
    },
  };
  await double.createUser({ name: "dba", sysadmin: true });
  return double;
}

function releaseOf({ version = "openGauss 7.0.0", killGrammar, missing = [] }: Options): Version {
  const base: Version = typeof version === "string" ? versions[version] : version;
  return { ...base, missing: [...base.missing, ...missing], killGrammar: killGrammar ?? base.killGrammar };
}

function backendSettings(added: Readonly<Record<string, Setting>>): Readonly<Record<string, string>> {
  const own = Object.entries(added).map(([name, { value }]) => [`gauss.${name}`, value]);
  return {
    max_prepared_transactions: "20",
    autovacuum: "off",
    max_connections: "400",
    jit: "off",
    ...Object.fromEntries(own),
  };
}

async function adminOf(backend: EmbeddedPostgres, database = "postgres"): Promise<pg.Client> {
  const connectionString = backend.url("postgres", database);
  const admin = new pg.Client({ connectionString, application_name: "opengauss-double" });
  admin.on("error", () => undefined);
  await admin.connect();
  return admin;
}

function houseOf(building: Building, book: Ledger): House {
  const { version, added, accounts, sqlLog, admin, backend } = building;
  const emptyIsNull = added["sql_compatibility"]?.value === "A";
  return {
    backendPort: backend.port,
    seats: building.seats,
    dialect: (user) => ({
      version,
      settings: added,
      emptyIsNull,
      pipesMeanOr: building.modes.pipesMeanOr,
      sysadmin: accounts.get(user)?.sysadmin ?? false,
    }),
    settle: book.settle,
    heard: (user, seat, sql, { prepares, accounts: changed }) => {
      sqlLog.push({ user, sessionId: String(seat.sessionId), sql });
      for (const gid of prepares) book.prepare(gid, seat.sessionId);
      for (const one of changed) accounts.set(one.name, { ...(accounts.get(one.name) ?? accountOf(one)), ...one });
      if (changed.length > 0) book.touch();
    },
    holdsSessionLock: async (pid) => {
      const sql = "select from pg_locks where pid = $1 and locktype = 'advisory' and granted";
      return ((await admin.query(sql, [pid])).rowCount ?? 0) > 0;
    },
  };
}

function roleSql({ name, sysadmin, signalBackend }: NewUser): string {
  const quoted = pg.escapeIdentifier(name);
  const made = `create role ${quoted} login ${sysadmin === true ? "superuser" : ""};`;
  return signalBackend === true ? `${made} grant gs_role_signal_backend to ${quoted};` : made;
}

function accountOf(user: NewUser): Account {
  return {
    name: user.name,
    password: user.password ?? `${user.name}@Gauss1`,
    sysadmin: user.sysadmin ?? false,
    monadmin: user.monadmin ?? false,
    persistence: user.persistence ?? false,
    method: user.auth ?? "md5",
    iterations: user.iterations ?? 10_000,
    forged: user.forged ?? false,
    salt: randomHex(32),
  };
}
