import { TLSSocket } from "node:tls";
import pg from "pg";
import type { Target } from "../../config/schema.ts";
import { LinkLost, type ServerFacts } from "../engine.ts";
import type { Row } from "./connection.ts";
import type { Place } from "./failure.ts";
import type { Wire } from "./wire.ts";

/** What the server says of itself; serverId changes with a failover and with a restart. */
export type Server = ServerFacts & Readonly<{ serverId: string }>;

export type SetUp = Readonly<{ pid: string; versionNumber: number; facts: Server }>;

type Timeouts = Pick<Target, "statement_timeout" | "lock_timeout">;

const oldest = 120_000;

// Nothing is set when the pid is another one's: behind a pooler this would be somebody else's session a moment later.
const setUpSql = (systemIdentifier: string): string => `select /* lockwarden:session */
    pg_catalog.pg_backend_pid() as pid,
    pg_catalog.current_setting('server_version_num') as version_number,
    pg_catalog.current_setting('server_version') as version,
    pg_catalog.pg_is_in_recovery() as recovery,
    current_user as role,
    pg_catalog.current_database() as database,
    ${systemIdentifier} as system_identifier,
    pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) as started,
    (select pg_catalog.count(pg_catalog.set_config(wanted.name, wanted.value, false))
       from rows from (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) as wanted (name, value)
      where pg_catalog.pg_backend_pid() = $1::int and pg_catalog.current_setting(wanted.name, true) is not null) as settings`;

const withIdentifier = setUpSql("(select system_identifier from pg_catalog.pg_control_system())");
const withoutIdentifier = setUpSql("null");

/** What each of Lockwarden's sessions sets; a setting that a server does not have is left out there. */
export function settings({ statement_timeout, lock_timeout }: Timeouts): Readonly<Record<string, string>> {
  return {
    client_encoding: "UTF8",
    search_path: "pg_catalog",
    datestyle: "ISO",
    timezone: "UTC",
    statement_timeout: String(statement_timeout),
    lock_timeout: String(lock_timeout),
    // 14 and later: Lockwarden's sessions are idle most of the time.
    idle_session_timeout: "0",
    idle_in_transaction_session_timeout: "5000",
    default_transaction_read_only: "on",
    // A host that is dead or cut off gives its advisory lock back after 12 s, so that another daemon has it within 15 s: three
    // probes at 3, 6 and 9 s. The last of the four moments must be past tcp_user_timeout, or it would be another interval.
    tcp_keepalives_idle: "3",
    tcp_keepalives_interval: "3",
    tcp_keepalives_count: "3",
    tcp_user_timeout: "11000",
  };
}

/** A session that is logged in, and where. */
export type Login = Readonly<{
  target: Timeouts & Partial<Pick<Target, "kill_with">>;
  place: Place;
  client: pg.Client;
}>;

/** Sets Lockwarden's settings and reads who answers, in one statement; refuses whom it cannot work with. */
export async function setUp(wire: Wire, { target, client }: Login, signal: AbortSignal): Promise<SetUp> {
  const keyPid = backendKeyPid(client);
  const wanted = settings(target);
  const values = [keyPid ?? "0", Object.keys(wanted), Object.values(wanted)];
  const rows = await wire.query(withIdentifier, values, signal).catch((error: unknown) => {
    if (!isDenied(error)) throw error;
    return wire.query(withoutIdentifier, values, signal);
  });
  const row = rows[0] ?? {};
  const refusal = refuse(row, keyPid);
  if (refusal !== null) throw refusal;
  const versionNumber = Number(row["version_number"]);
  return { pid: row["pid"] ?? "", versionNumber, facts: readServer(row, client) };
}

/** Why Lockwarden does not work with whoever answered; null: it does. */
export function refuse(row: Row, keyPid: string | null): LinkLost | null {
  const { pid, version_number: versionNumber, version } = row;
  if (keyPid === null || keyPid !== pid) {
    return new LinkLost(
      "refused",
      `a connection pooler stands in between: the session belongs to pid ${keyPid ?? "none"}, and pid ${pid ?? "none"} answers. ` +
        "The lock that makes Lockwarden the only one to act belongs to one server session, and a pooler hands sessions around",
      { hint: "connect to the server directly: its own host and port, not the pooler's" },
    );
  }
  if (Number(versionNumber) >= oldest) return null;
  return new LinkLost("refused", `expected PostgreSQL 12 or later, got version ${version ?? "unknown"}`, {
    hint: "upgrade the server: what Lockwarden reads is not there",
  });
}

function readServer(row: Row, client: pg.Client): Server {
  return {
    version: row["version"] ?? "",
    role: row["role"] ?? "",
    database: row["database"] ?? "",
    recovery: row["recovery"] === "t",
    encrypted: client.connection.stream instanceof TLSSocket,
    serverId: `${row["system_identifier"] ?? "-"}/${row["started"] ?? "-"}`,
  };
}

/** The pid in the key with which a client may cancel; a pooler hands out keys of its own. */
function backendKeyPid(client: pg.Client & { processID?: number | null }): string | null {
  return typeof client.processID === "number" ? String(client.processID) : null;
}

function isDenied(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "42501";
}
