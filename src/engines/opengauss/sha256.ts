import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

// openGauss's own password exchange, "sha256" in its pg_hba.conf. Like SCRAM in its parts, unlike it in their order: the server
// proves that it knows the password in its very first message, so the proof is sent to nobody who does not.

/** What the server sends of it. */
export type Challenge = Readonly<{
  salt: Buffer;
  token: Buffer;
  /** Protocol 3.0: HMAC of the token; null: protocol 3.51, where the server proves nothing. */
  serverSignature: Buffer | null;
  /** Protocol 3.51; null: not said, and found by the server's signature. */
  iterations: number | null;
}>;

export type Answer =
  | Readonly<{ kind: "proof"; text: string }>
  /** No number of iterations that was tried makes the server's signature out of this password. */
  | Readonly<{ kind: "mismatch"; tried: readonly number[] }>;

/** The server's default, the least that it can be set to (auth_iteration_count), and what people set. */
export const likelyIterations = [
  10_000, 2_048, 4_096, 5_000, 8_192, 16_384, 20_000, 32_768, 50_000, 65_536, 100_000,
] as const;

const leastIterations = 2_048;
/** Some seconds of one core: who asks for more wants to keep us busy. */
const mostIterations = 10_000_000;

const derive = promisify(pbkdf2);

/** What to answer; throws where what the server asks for is out of bounds. */
export async function answer(password: string, challenge: Challenge): Promise<Answer> {
  const { iterations, serverSignature } = challenge;
  if (iterations !== null && (iterations < leastIterations || iterations > mostIterations))
    throw new Error(
      `expected ${leastIterations} to ${mostIterations} iterations of the password's hash (auth_iteration_count), got ${iterations}`,
    );
  const candidates = iterations === null ? likelyIterations : [iterations];
  for (const count of candidates) {
    const key = await derive(password, challenge.salt, count, 32, "sha1");
    if (serverSignature === null || isSigned(key, challenge.token, serverSignature))
      return { kind: "proof", text: proofOf(key, challenge.token) };
  }
  return { kind: "mismatch", tried: candidates };
}

function isSigned(key: Buffer, token: Buffer, signature: Buffer): boolean {
  // "Sever" is what the server says.
  const expected = hmac(hmac(key, "Sever Key"), token);
  return signature.length === expected.length && timingSafeEqual(signature, expected);
}

function proofOf(key: Buffer, token: Buffer): string {
  const clientKey = hmac(key, "Client Key");
  const mask = hmac(createHash("sha256").update(clientKey).digest(), token);
  return Buffer.from(clientKey.map((byte, at) => byte ^ (mask[at] ?? 0))).toString("hex");
}

function hmac(key: Buffer, text: Buffer | string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
