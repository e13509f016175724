import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

// openGauss' own sha256 login (code 10), as src/gausskernel's auth.cpp and fe-auth.cpp have it: SCRAM's keys, but one
// message each way, and PBKDF2 over SHA-1. The label is misspelt there, and so it is here.

export type Keys = Readonly<{ clientKey: Buffer; serverKey: Buffer; storedKey: Buffer }>;

export function keysOf(password: string, salt: string, iterations: number): Keys {
  const salted = pbkdf2Sync(password, Buffer.from(salt, "hex"), iterations, 32, "sha1");
  const clientKey = hmac(salted, Buffer.from("Client Key"));
  return {
    clientKey,
    serverKey: hmac(salted, Buffer.from("Sever Key")),
    storedKey: createHash("sha256").update(clientKey).digest(),
  };
}

/** 64 hex digits: what a server sends at protocol 3.0 to show that it knows the password. */
export function signatureOf({ serverKey }: Keys, token: string): string {
  return hmac(serverKey, Buffer.from(token, "hex")).toString("hex");
}

/** 64 hex digits: what a client answers. */
export function proofOf({ storedKey, clientKey }: Keys, token: string): string {
  return xor(hmac(storedKey, Buffer.from(token, "hex")), clientKey).toString("hex");
}

/** A server keeps no client key: it gets one out of the proof and compares its hash. */
export function isProof({ storedKey }: Keys, token: string, proof: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(proof)) return false;
  const clientKey = xor(hmac(storedKey, Buffer.from(token, "hex")), Buffer.from(proof, "hex"));
  return timingSafeEqual(createHash("sha256").update(clientKey).digest(), storedKey);
}

export function md5Of(user: string, password: string, salt: Buffer): string {
  const inner = createHash("md5").update(`${password}${user}`).digest("hex");
  return `md5${createHash("md5").update(inner).update(salt).digest("hex")}`;
}

export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}

function hmac(key: Buffer, message: Buffer): Buffer {
  return createHmac("sha256", key).update(message).digest();
}

function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ (other[at] ?? 0)));
}
