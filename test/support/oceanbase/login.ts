import { createHash } from "node:crypto";
import type { Mode } from "./world.ts";

/** The capability bit without which a tenant in Oracle mode lets nobody in (MySQL 8 calls it CLIENT_QUERY_ATTRIBUTES). */
const oracleBit = 0x0800_0000;
const connectWithDatabase = 0x8;

export type Login = Readonly<{
  /** As it was sent: user@tenant#cluster. */
  sent: string;
  user: string;
  tenant: string;
  cluster: string | null;
  proof: Buffer;
  database: string | null;
  speaksOracle: boolean;
}>;

/** Reads the client's answer to the greeting (protocol 4.1). */
export function readLogin(payload: Buffer): Login {
  const flags = payload.readUInt32LE(0);
  const userEnd = payload.indexOf(0, 32);
  const sent = payload.toString("utf8", 32, userEnd);
  const proofLength = payload[userEnd + 1] ?? 0;
  const proofEnd = userEnd + 2 + proofLength;
  const databaseEnd = payload.indexOf(0, proofEnd);
  const database = (flags & connectWithDatabase) !== 0 ? payload.toString("utf8", proofEnd, databaseEnd) : "";
  return {
    sent,
    ...nameParts(sent),
    proof: payload.subarray(userEnd + 2, proofEnd),
    database: database === "" ? null : database,
    speaksOracle: (flags & oracleBit) !== 0,
  };
}

/** Split at the first @; a cluster follows the #. Without a tenant it is the system's own. */
function nameParts(sent: string): Pick<Login, "user" | "tenant" | "cluster"> {
  const at = sent.indexOf("@");
  const [user, rest] = at === -1 ? [sent, "sys"] : [sent.slice(0, at), sent.slice(at + 1)];
  const [tenant = "", cluster = null] = rest.split("#");
  return { user, tenant, cluster };
}

/** Names of Oracle mode are upper-case unless they stand in double quotes. */
export function plainName(name: string, mode: Mode): string {
  if (mode === "mysql") return name;
  const quoted = /^"(.*)"$/s.exec(name)?.[1];
  return quoted ?? name.toUpperCase();
}

/** mysql_native_password: SHA1(password) xor SHA1(salt + SHA1(SHA1(password))); no password proves itself with nothing. */
export function provesPassword(password: string, salt: Buffer, proof: Buffer): boolean {
  if (password === "") return proof.length === 0;
  const sha1 = (...parts: Buffer[]) => parts.reduce((hash, part) => hash.update(part), createHash("sha1")).digest();
  const once = sha1(Buffer.from(password, "utf8"));
  const mask = sha1(salt, sha1(once));
  const expected = Buffer.from(once.map((byte, at) => byte ^ (mask[at] ?? 0)));
  return proof.equals(expected);
}
