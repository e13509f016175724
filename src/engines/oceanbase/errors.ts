import { LinkLost } from "../engine.ts";

// What an error of the server means for an act. Pure. Never by the driver's `code`: it gives MySQL's names to the numbers of
// Oracle mode (1031, insufficient privileges, would be ER_ILLEGAL_HA).

/**
 * `gone`: there is no such session. `denied`: it may not be ended by us. `lost`: our own session is gone, and nobody knows
 * what became of the statement. `failed`: everything else.
 */
export type Classified = Readonly<{ kind: "gone" | "denied" | "failed" | "lost"; error: string }>;

/** An error that the server sent, taken apart. */
type Said = Readonly<{
  /** ORA- or OBE-, as a number; null: MySQL mode. */
  oracle: number | null;
  /** OceanBase's own, such as -4174, where the text has it. */
  internal: number | null;
  /** MySQL's number; in Oracle mode that of ORA-. */
  number: number;
  text: string;
}>;

const longestText = 300;

export function classify(error: unknown): Classified {
  const text = reasonOf(error);
  if (error instanceof LinkLost) return { kind: "lost", error: text };
  const said = saidBy(error);
  if (said === null) return { kind: isDrivers(error) ? "lost" : "failed", error: text };
  return { kind: kindOf(said), error: text };
}

function kindOf(said: Said): Classified["kind"] {
  if (losesSession(said)) return "lost";
  if (said.oracle !== null) return oracleKind(said);
  switch (said.number) {
    case 1094:
      return "gone";
    // Not the owner; a privilege; a command on a table or column; a database; an account.
    case 1095:
    case 1227:
    case 1142:
    case 1143:
    case 1044:
    case 1045:
      return "denied";
    default:
      return kindOfText(said);
  }
}

function oracleKind(said: Said): Classified["kind"] {
  if (said.internal === -4174) return "gone";
  if (said.internal === -5251) return "denied";
  // Insufficient privileges; no such table, which is also what a view without a grant is.
  if (said.oracle === 1031 || said.oracle === 942) return "denied";
  return kindOfText(said);
}

/** Where numbers say nothing: a version that has other ones, or a proxy that answers in the server's place. */
function kindOfText({ text }: Said): Classified["kind"] {
  if (/unknown thread id/iu.test(text)) return "gone";
  return /not owner of thread|access denied|insufficient privilege/iu.test(text) ? "denied" : "failed";
}

/** The session of ours that asked has ended, or can no longer be trusted: what answered was not the server. */
export function endsSession(error: unknown): boolean {
  const said = saidBy(error);
  return said === null || losesSession(said);
}

function losesSession({ oracle, number }: Said): boolean {
  // Killed; not logged on; end of file on the channel; instance terminated, disconnection forced.
  if (oracle !== null) return [28, 1012, 1092, 3113, 3114, 3135].includes(oracle);
  // Shutdown; connection killed; gone away; lost.
  return [1053, 1927, 2006, 2013].includes(number);
}

/** The server does not have such a view, column, function or statement, or does not show it to this user. */
export function isMissing(error: unknown): boolean {
  const said = saidBy(error);
  if (said === null) return false;
  // -4007: not supported.
  if (said.internal === -4007) return true;
  // No such table or view; identifier; sequence or package; syntax; privileges; PL/SQL that does not compile.
  if (said.oracle !== null) return [942, 904, 900, 923, 1031, 2289, 6550, 4043].includes(said.oracle);
  return [1146, 1054, 1305, 1064, 1235, 1142, 1143, 1044, 1227, 1049].includes(said.number);
}

/** It waited for a lock as long as it may. */
export function isLockTimeout(error: unknown): boolean {
  const said = saidBy(error);
  if (said === null) return false;
  // NOWAIT; WAIT n expired.
  if (said.oracle !== null && [54, 30_006].includes(said.oracle)) return true;
  // -6003: could not lock the row in time; -6005: somebody else has it.
  if (said.internal !== null && [-6003, -6005].includes(said.internal)) return true;
  return said.oracle === null && [1205, 3572].includes(said.number);
}

/** Why nobody was let in: the account's password, lock or right, the tenant's name, the driver, or no room. */
export type Refusal = "password" | "locked" | "session" | "tenant" | "driver" | "full" | null;

export function refusalOf(error: unknown): Refusal {
  const said = saidBy(error);
  if (said === null) return null;
  if (/Oracle tenant for current client driver/iu.test(said.text)) return "driver";
  if (/tenant|cluster not exist/iu.test(said.text) && !/Access denied/iu.test(said.text)) return "tenant";
  return said.oracle === null ? mysqlRefusal(said.number) : oracleRefusal(said.oracle);
}

function oracleRefusal(number: number): Refusal {
  switch (number) {
    case 1017:
      return "password";
    case 28_000:
      return "locked";
    case 1045:
      return "session";
    default:
      return null;
  }
}

function mysqlRefusal(number: number): Refusal {
  switch (number) {
    case 1045:
      return "password";
    case 3118:
      return "locked";
    case 1040:
    case 1203:
      return "full";
    default:
      return null;
  }
}

/** One line of it, for people. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(reasonOf).join("; ");
  const message = error instanceof Error ? error.message : String(error);
  // With enable_rich_error_msg the server's own address, time and trace follow on lines of their own.
  const [first = ""] = message.trim().split(/[\r\n]+/u);
  const line = first.trim() || codeOf(error) || "no reason given";
  return line.length > longestText ? `${line.slice(0, longestText)}…` : line;
}

/** null: no error that the server sent. */
function saidBy(error: unknown): Said | null {
  if (!isDrivers(error) || !("errno" in error) || typeof error.errno !== "number" || error.errno <= 0) return null;
  if (!("sqlState" in error)) return null;
  const text = reasonOf(error);
  const oracle = /(?:ORA|OBE)-(\d{5})/u.exec(text);
  const internal = oracle === null ? null : /-00600\D.*?(-\d{4,5})\b/u.exec(text);
  return {
    oracle: oracle === null ? null : Number(oracle[1]),
    internal: internal === null ? null : Number(internal[1]),
    number: error.errno,
    text,
  };
}

/** One of the driver's, of the socket's or of the server's: all of them carry a code or a number. */
function isDrivers(error: unknown): error is Error {
  return error instanceof Error && ("errno" in error || "code" in error);
}

export function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}
