import pg from "pg";
import { LinkLost } from "../engine.ts";
import type { Address } from "./address.ts";

// Turns what the driver, the socket and the server say into a LinkLost. Pure.

/** What the text of a failure needs to know. */
export type Place = Readonly<{
  target: string;
  /** describeAddress() of it. */
  where: string;
  address: Address;
  /** What to check when a password is not accepted. */
  passwordSource: string;
  /** What to check when there is no such database. */
  databaseSource: string;
}>;

/** How far the attempt had come. */
export type Phase = "connecting" | "handshake" | "login";

/** The driver's words. */
const noTls = "does not support SSL connections";

/** openGauss's words: the user who owns the cluster is let in from the server's own host only. */
const initialUser = "remote connection with initial user";

type Judgement = Readonly<{ kind: LinkLost["kind"]; hint: string | null }>;

export function connectFailure(error: unknown, place: Place, phase: Phase): LinkLost {
  if (error instanceof LinkLost) {
    const { hint, wrongPassword } = error;
    return new LinkLost(error.kind, `${cannot(place)}: ${error.message}`, { cause: error, hint, wrongPassword });
  }
  const { kind, hint } = judge(error, place, phase);
  const wrongPassword = sqlState(error) === "28P01";
  return new LinkLost(kind, `${cannot(place)}: ${saying(error)}`, { cause: error, hint, wrongPassword });
}

/** The session was open and is gone. */
export function lostFailure(error: unknown, place: Place): LinkLost {
  return new LinkLost("lost", `the connection to ${place.target} (${place.where}) was lost: ${saying(error)}`, {
    cause: error,
  });
}

/** The server's error ends its session: shutdown, crash, terminated, timed out, protocol or socket trouble. */
export function endsSession(error: unknown): boolean {
  const state = sqlState(error);
  // Not the server's words: the socket's, or the driver's.
  if (state === null) return true;
  return state.startsWith("08") || ["57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"].includes(state);
}

/** Without TLS it may work: libpq then tries that, too. */
export function refusesEncrypted(error: unknown, phase: Phase): boolean {
  const state = sqlState(error);
  if (state !== null) return state === "28000";
  return phase === "handshake" || (error instanceof Error && error.message.includes(noTls));
}

export function cannot(place: Pick<Place, "target" | "where">): string {
  return `cannot connect to ${place.target} (${place.where})`;
}

function judge(error: unknown, place: Place, phase: Phase): Judgement {
  const state = sqlState(error);
  if (state === "28000" && error instanceof Error && error.message.includes(initialUser))
    return { kind: "denied", hint: "connect as another role: the SQL that lockwarden grants prints makes one" };
  if (state !== null) return judgeState(state, place);
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : "";
  if (message.includes(noTls)) {
    return { kind: "refused", hint: "switch ssl on at the server, or lower sslmode in the target's url" };
  }
  if (message.includes("establishing an SSL connection")) {
    return { kind: "refused", hint: "check host and port: this is no PostgreSQL, or something between speaks for it" };
  }
  if (phase === "handshake" && !/^E[A-Z]+$/.test(code) && !message.startsWith("Connection terminated")) {
    return { kind: "refused", hint: tlsHint(code, place.address) };
  }
  return { kind: "unreachable", hint: socketHint(code) };
}

/** By SQLSTATE: the words are in the server's language. */
function judgeState(state: string, { address, passwordSource, databaseSource }: Place): Judgement {
  const database = quote(address.database);
  switch (state) {
    case "28P01":
      return { kind: "denied", hint: `check ${passwordSource}` };
    case "28000":
      return {
        kind: "denied",
        hint: "check that the role exists and may log in (lockwarden grants), and that pg_hba.conf has a line for it, this database and this client",
      };
    case "3D000":
      return { kind: "denied", hint: `check ${databaseSource}` };
    case "42501":
      return { kind: "denied", hint: `grant connect on database ${database} to ${quote(address.user)};` };
    case "55000":
      return { kind: "denied", hint: `the database ${database} allows no connections; name another one` };
    case "53300":
      return {
        kind: "unreachable",
        hint: "raise the role's connection limit or max_connections; from 16 on keep slots for it: reserved_connections and pg_use_reserved_connections",
      };
    case "57P03":
      return { kind: "unreachable", hint: "wait until the server is up: it is starting, recovering or shutting down" };
    default:
      return /^(08|53|57|58|XX)/.test(state)
        ? { kind: "unreachable", hint: null }
        : { kind: "refused", hint: "check that this is PostgreSQL 12 or later, connected to directly" };
  }
}

function tlsHint(code: string, { sslMode, sslRootCert, host }: Address): string {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the server's certificate is for another name than ${host}: connect by a name that is in it, or use sslmode=verify-ca`;
  }
  if (sslMode === "prefer") return "check the server's ssl settings, or use sslmode=disable";
  return `check that sslrootcert ${sslRootCert ?? "(none named: the system's authorities)"} holds the authority that signed the server's certificate, and that it has not expired`;
}

function socketHint(code: string): string | null {
  switch (code) {
    case "ECONNREFUSED":
      return "check that the server runs and listens on this address and port (listen_addresses, port)";
    case "ENOENT":
      return "check that the server runs and has its socket in this folder (unix_socket_directories)";
    case "EACCES":
      return "let the user that runs Lockwarden reach the socket's folder";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "check the host's name and the name service";
    default:
      return null;
  }
}

/** One line, as people know it from the server's own tools. */
function saying(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(saying).join("; ");
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s*\n\s*/g, " ").trim() || codeOf(error) || "no reason given";
}

/** null: not an error that the server sent. */
function sqlState(error: unknown): string | null {
  return error instanceof pg.DatabaseError ? (error.code ?? "") : null;
}

/** The SQLSTATE or the system's own name of what went wrong; empty where there is none. */
export function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** character_not_in_repertoire, untranslatable_character: some text of somebody's, whole or cut within a character. */
const encodingErrors: readonly unknown[] = ["22021", "22P05"];

/** The server cannot send us somebody's text. */
export function isOfEncoding(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && encodingErrors.includes(error.code);
}
