import pg from "pg";
import { unreachable } from "../../../src/core/unreachable.ts";
import type { Mode, World } from "./world.ts";

/** What the server answers instead of a result: errno, SQL state and message as they go over the wire. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly errno: number;
  readonly sqlState: string;
  constructor(errno: number, sqlState: string, message: string) {
    super(message);
    this.errno = errno;
    this.sqlState = sqlState;
  }
}

/** The refusals of one mode. Oracle mode sends the ORA number as errno and keeps the SQL state. */
export type Refusal =
  | { kind: "unknown-thread"; id: number }
  | { kind: "not-owner"; id: number }
  | { kind: "interrupted" }
  | { kind: "query-timeout"; microseconds: string }
  | { kind: "lock-timeout" }
  | { kind: "lock-busy" }
  | { kind: "deadlock" }
  | { kind: "privilege"; needed: string }
  | { kind: "no-table"; name: string }
  | { kind: "no-select"; user: string; name: string }
  | { kind: "no-column"; name: string }
  | { kind: "no-function"; name: string }
  | { kind: "duplicate"; key: string }
  | { kind: "syntax"; near: string }
  | { kind: "no-from" }
  | { kind: "unsupported"; what: string };

export function refused(mode: Mode, refusal: Refusal): ServerError {
  return mode === "oracle" ? oracle(refusal) : mysql(refusal);
}

const ora = (errno: number, text: string, sqlState = "HY000") =>
  new ServerError(errno, sqlState, `ORA-${String(errno).padStart(5, "0")}: ${text}`);
const internal = (code: number, text: string, sqlState = "HY000") =>
  ora(600, `internal error code, arguments: ${code}, ${text}`, sqlState);

function oracle(refusal: Refusal): ServerError {
  switch (refusal.kind) {
    case "unknown-thread":
      return internal(-4174, `Unknown thread id: ${refusal.id}`);
    case "not-owner":
      return internal(-5251, `You are not owner of thread ${refusal.id}`);
    case "interrupted":
      return internal(-5065, "Query execution was interrupted", "70100");
    case "query-timeout":
      return internal(-4012, queryTimeout(refusal.microseconds));
    case "lock-timeout":
      return ora(30006, "resource busy; acquire with WAIT timeout expired");
    case "lock-busy":
      return ora(54, "resource busy and acquire with NOWAIT specified or timeout expired");
    case "deadlock":
      return ora(60, "deadlock detected while waiting for resource", "40001");
    case "privilege":
      return ora(1031, "insufficient privileges");
    case "no-table":
    case "no-select":
      return ora(942, "table or view does not exist", "42S02");
    case "no-column":
    case "no-function":
      return ora(904, `invalid identifier '${refusal.name.toUpperCase()}'`, "42S22");
    case "duplicate":
      return ora(1, `unique constraint '${refusal.key}' violated`, "23000");
    case "syntax":
      return ora(900, syntax(refusal.near), "42000");
    case "no-from":
      return ora(923, "FROM keyword not found where expected", "42000");
    case "unsupported":
      return internal(-4007, `${refusal.what} not supported`, "0A000");
    default:
      return unreachable(refusal);
  }
}

function mysql(refusal: Refusal): ServerError {
  switch (refusal.kind) {
    case "unknown-thread":
      return new ServerError(1094, "HY000", `Unknown thread id: ${refusal.id}`);
    case "not-owner":
      return new ServerError(1095, "HY000", `You are not owner of thread ${refusal.id}`);
    case "interrupted":
      return new ServerError(1317, "70100", "Query execution was interrupted");
    case "query-timeout":
      return new ServerError(4012, "HY000", queryTimeout(refusal.microseconds));
    case "lock-timeout":
      return new ServerError(1205, "HY000", "Lock wait timeout exceeded; try restarting transaction");
    case "lock-busy":
      return new ServerError(1205, "HY000", "Lock wait timeout exceeded; try restarting transaction");
    case "deadlock":
      return new ServerError(1213, "40001", "Deadlock found when trying to get lock; try restarting transaction");
    case "privilege":
      return new ServerError(
        1227,
        "42501",
        `Access denied; you need (at least one of) the ${refusal.needed} privilege(s) for this operation`,
      );
    case "no-table":
      return new ServerError(1146, "42S02", `Table '${refusal.name}' doesn't exist`);
    case "no-select":
      return new ServerError(
        1142,
        "42000",
        `SELECT command denied to user '${refusal.user}'@'%' for table '${refusal.name.toLowerCase()}'`,
      );
    case "no-column":
      return new ServerError(1054, "42S22", `Unknown column '${refusal.name}' in 'field list'`);
    case "no-function":
      return new ServerError(1305, "42000", `FUNCTION ${refusal.name} does not exist`);
    case "duplicate":
      return new ServerError(1062, "23000", `Duplicate entry for key '${refusal.key}'`);
    case "syntax":
    case "no-from":
      return new ServerError(1064, "42000", syntax(refusal.kind === "syntax" ? refusal.near : ""));
    case "unsupported":
      return new ServerError(1235, "0A000", `${refusal.what} not supported`);
    default:
      return unreachable(refusal);
  }
}

function queryTimeout(microseconds: string): string {
  return `Timeout, query has reached the maximum query timeout: ${microseconds}(us), maybe you can adjust the session variable ob_query_timeout or query_timeout hint, and try again.`;
}

function syntax(near: string): string {
  return `You have an error in your SQL syntax; check the manual that corresponds to your OceanBase version for the right syntax to use near '${near}' at line 1`;
}

/** What PostgreSQL says behind the double, in OceanBase's words. An interruption is for the caller to explain. */
export function translated(failure: unknown, mode: Mode, sql: string): unknown {
  if (!(failure instanceof pg.DatabaseError)) return failure;
  const quoted = /"([^"]+)"/.exec(failure.message)?.[1] ?? /(\S+) does not exist/.exec(failure.message)?.[1] ?? "";
  switch (failure.code ?? "") {
    case "23505":
      return refused(mode, { kind: "duplicate", key: failure.constraint ?? quoted });
    case "40P01":
      return refused(mode, { kind: "deadlock" });
    case "55P03":
      return refused(mode, { kind: "lock-busy" });
    case "42P01":
    case "3F000":
      return refused(mode, { kind: "no-table", name: quoted });
    case "42703":
      return refused(mode, { kind: "no-column", name: quoted.split(".").at(-1) ?? quoted });
    case "42883":
      return refused(mode, { kind: "no-function", name: /function ([^(]+)/.exec(failure.message)?.[1] ?? quoted });
    case "42601":
      return refused(mode, { kind: "syntax", near: quoted === "" ? sql.slice(0, 80) : quoted });
    default:
      return new ServerError(
        mode === "oracle" ? 600 : 1105,
        "HY000",
        `${mode === "oracle" ? "ORA-00600: internal error code, arguments: -4016, " : ""}behind the double, PostgreSQL says ${failure.code}: ${failure.message}`,
      );
  }
}

/** The message as the server's settings dress it. */
export function dressed(message: string, { prefix, richErrors }: World["switches"]): string {
  const named = prefix === "OBE" ? message.replace(/^ORA-(?=\d)/, "OBE-") : message;
  const at = new Date().toISOString().replace("T", " ").replace("Z", "000");
  return richErrors ? `${named}\n[127.0.0.1:2882] [${at}] [YB427F000001-000626A1B2C3D4E5-0-0]` : named;
}
