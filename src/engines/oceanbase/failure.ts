import { unreachable } from "../../core/unreachable.ts";
import { LinkLost } from "../engine.ts";
import type { Address } from "./address.ts";
import { oldestDriver } from "./driver.ts";
import { codeOf, reasonOf, refusalOf } from "./errors.ts";

// Turns what the driver, the socket and the server say into a LinkLost. Pure.

/** What the text of a failure needs to know. */
export type Place = Readonly<{
  target: string;
  /** describeAddress() of it. */
  where: string;
  address: Address;
  /** What to check when a password is not accepted. */
  passwordSource: string;
}>;

type Judgement = Readonly<{ kind: LinkLost["kind"]; hint: string | null }>;

export function connectFailure(error: unknown, place: Place): LinkLost {
  if (error instanceof LinkLost) {
    const { hint, wrongPassword } = error;
    return new LinkLost(error.kind, `${cannot(place)}: ${error.message}`, { cause: error, hint, wrongPassword });
  }
  const { kind, hint } = judge(error, place);
  const wrongPassword = refusalOf(error) === "password";
  return new LinkLost(kind, `${cannot(place)}: ${reasonOf(error)}`, { cause: error, hint, wrongPassword });
}

/** The session was open and is gone. */
export function lostFailure(error: unknown, place: Place): LinkLost {
  return new LinkLost("lost", `the connection to ${place.target} (${place.where}) was lost: ${reasonOf(error)}`, {
    cause: error,
  });
}

export function cannot(place: Pick<Place, "target" | "where">): string {
  return `cannot connect to ${place.target} (${place.where})`;
}

function judge(error: unknown, place: Place): Judgement {
  const refusal = refusalOf(error);
  switch (refusal) {
    case "password":
      return {
        kind: "denied",
        hint: `check the user's name, its tenant (USER@TENANT, through a proxy USER@TENANT#CLUSTER) and ${place.passwordSource}`,
      };
    case "locked":
      return { kind: "denied", hint: "unlock the account: alter user … account unlock" };
    case "session":
      return { kind: "denied", hint: "grant create session to this user (lockwarden grants prints all it needs)" };
    case "tenant":
      return {
        kind: "denied",
        hint: "check tenant and cluster in the url: USER@TENANT at a server (port 2881), USER@TENANT#CLUSTER at a proxy (port 2883)",
      };
    case "driver":
      return {
        kind: "refused",
        hint: `this tenant is in Oracle mode, which needs the driver mysql2 of version ${oldestDriver} or later: update it`,
      };
    case "full":
      return { kind: "unreachable", hint: "raise max_connections of the tenant, or max_user_connections of the user" };
    case null:
      return judgeCode(codeOf(error), place);
    default:
      return unreachable(refusal);
  }
}

function judgeCode(code: string, { address }: Place): Judgement {
  switch (code) {
    case "HANDSHAKE_NO_SSL_SUPPORT":
      return {
        kind: "refused",
        hint: "switch ssl on at the server (ssl_client_authentication), or lower sslmode in the target's url",
      };
    case "HANDSHAKE_SSL_ERROR":
      return { kind: "refused", hint: tlsHint(address) };
    case "AUTH_SWITCH_PLUGIN_ERROR":
    case "MYSQL_CLEAR_PASSWORD_NOT_ENABLED":
      return { kind: "refused", hint: "let the account use mysql_native_password: the password is not sent readable" };
    case "HANDSHAKE_UNKNOWN_ERROR":
    case "PROTOCOL_ERROR":
    case "PROTOCOL_UNEXPECTED_PACKET":
    case notUnderstood:
      return { kind: "refused", hint: portHint };
    case "PROTOCOL_CONNECTION_LOST":
      return { kind: "unreachable", hint: portHint };
    case "ECONNREFUSED":
      return { kind: "unreachable", hint: "check that the server runs and listens on this address and port" };
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { kind: "unreachable", hint: "check the host's name and the name service" };
    default:
      return { kind: "unreachable", hint: null };
  }
}

/** The code of an answer that is no MySQL protocol. */
export const notUnderstood = "LOCKWARDEN_NOT_UNDERSTOOD";

const portHint =
  "check the port: 2881 is where a server takes SQL, 2883 where a proxy does; 2882 is for the servers among themselves";

function tlsHint({ sslMode, sslRootCert }: Address): string {
  return sslMode === "verify-full"
    ? "check that the host's name is in the server's certificate, and that sslrootcert holds the authority that signed it"
    : `check that sslrootcert ${sslRootCert ?? "(none named: the system's authorities)"} holds the authority that signed the server's certificate, and that it has not expired`;
}
