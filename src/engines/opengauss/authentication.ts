import { LinkLost } from "../engine.ts";
import type { Challenge } from "./sha256.ts";

// What the driver cannot read of a login: authentication messages of openGauss. They are taken out of the stream before the
// driver sees them, as it would take one for another (10 is SASL's number too) and ends the process at a number it does not know.
// Everything else goes on unchanged, and once the server lets us in, so does every byte.

/** `pass`: the driver's; `over`: the driver's, and everything after it. */
export type Step =
  | Readonly<{ kind: "pass"; bytes: Buffer }>
  | Readonly<{ kind: "over"; bytes: Buffer }>
  | Readonly<{ kind: "challenge"; challenge: Challenge }>
  | Readonly<{ kind: "refused"; error: LinkLost }>;

const authentication = 0x52; // R
const headBytes = 5;
const leastBytes = headBytes + 4;
/** More than any message of a login that can work. The driver must not be given another: it trusts what it reads. */
const mostBytes = 4_096;

/** Call it with each chunk, until it says that it is over. */
export function loginFilter(): (chunk: Buffer) => readonly Step[] {
  let pending: Buffer = Buffer.alloc(0);
  let toSkip = 0;
  let sasl = false;
  let over = false;
  return (chunk) => {
    if (over) return [{ kind: "over", bytes: chunk }];
    const steps: Step[] = [];
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length > 0 && !over) {
      const skipped = Math.min(toSkip, pending.length);
      if (skipped > 0) {
        steps.push({ kind: "pass", bytes: pending.subarray(0, skipped) });
        pending = pending.subarray(skipped);
        toSkip -= skipped;
        continue;
      }
      if (pending.length < headBytes) break;
      const whole = 1 + pending.readUInt32BE(1);
      if (pending[0] !== authentication) {
        toSkip = Math.max(whole, headBytes);
        continue;
      }
      if (whole < leastBytes || whole > mostBytes) return [...steps, unreadable(whole)];
      if (pending.length < whole) break;
      const step = judge(pending.subarray(0, whole), sasl);
      pending = pending.subarray(whole);
      sasl ||= step.kind === "pass" && codeOf(step.bytes) === codes.sasl;
      over = step.kind === "over";
      steps.push(step.kind === "over" ? { ...step, bytes: Buffer.concat([step.bytes, pending]) } : step);
    }
    return steps;
  };
}

const codes = { ok: 0, clearText: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12, sm3: 13 } as const;

function codeOf(message: Buffer): number {
  return message.readInt32BE(headBytes);
}

function judge(message: Buffer, sasl: boolean): Step {
  const code = codeOf(message);
  const body = message.subarray(headBytes + 4);
  const pass: Step = { kind: "pass", bytes: message };
  switch (code) {
    case codes.ok:
      return { kind: "over", bytes: message };
    case codes.clearText:
      return body.length === 0 ? pass : unreadable(message.length);
    case codes.md5:
      return body.length === saltBytes ? pass : unreadable(message.length);
    case codes.sasl:
      // SASL lists its mechanisms by name, and two zeros end the list; openGauss begins with a number below 256.
      if (body[0] === 0) return challengeOf(body);
      return body.subarray(-2).equals(endOfList) ? pass : unreadable(message.length);
    case codes.saslContinue:
      return sasl ? pass : refused(md5Sha256, md5Sha256Hint);
    case codes.saslFinal:
      return sasl ? pass : refused(unknownMethod(code), null);
    case codes.sm3:
      return refused(sm3, sm3Hint);
    default:
      return refused(unknownMethod(code), null);
  }
}

const saltBytes = 4;
const endOfList = Buffer.alloc(2);
const sha256Stored = 2;
const hex = /^[0-9a-f]+$/i;

/** int32 how the password is stored, 64 hex digits of salt, 8 of token; then 64 of signature, or an int32 of iterations. */
function challengeOf(body: Buffer): Step {
  const stored = body.length < 4 ? Number.NaN : body.readInt32BE(0);
  const salt = body.toString("latin1", 4, 68);
  const token = body.toString("latin1", 68, 76);
  const rest = body.subarray(76);
  if (stored !== sha256Stored)
    return refused(`it stores this role's password in a form that Lockwarden does not know (${stored})`, sm3Hint);
  const isWhole = salt.length === 64 && token.length === 8 && hex.test(salt + token);
  const signature = rest.toString("latin1");
  const withSignature = rest.length === 64 && hex.test(signature);
  if (!isWhole || !(withSignature || rest.length === 4))
    return refused(`its sha256 challenge cannot be read (${body.length} bytes)`, malformedHint);
  return {
    kind: "challenge",
    challenge: {
      salt: Buffer.from(salt, "hex"),
      token: Buffer.from(token, "hex"),
      serverSignature: withSignature ? Buffer.from(signature, "hex") : null,
      iterations: withSignature ? null : rest.readInt32BE(0),
    },
  };
}

const md5Sha256 = "it asks for the password by md5, and stores it by sha256 (authentication method 11)";
const md5Sha256Hint =
  "write sha256 instead of md5 in the line of pg_hba.conf for this role and client, and reload (gs_guc reload -h); " +
  "or set password_encryption_type = 1 and give the role its password again";
const sm3 = "it asks for the password by SM3 (authentication method 13), which Lockwarden does not speak";
const sm3Hint =
  "set password_encryption_type = 2, give the role its password again, and write sha256 in its line of pg_hba.conf";
const malformedHint = "check host and port: something between speaks for the server";

function unreadable(bytes: number): Step {
  return refused(`its authentication message of ${bytes} bytes cannot be read`, malformedHint);
}

function unknownMethod(code: number): string {
  return `it asks for a way to log in that Lockwarden does not know (authentication method ${code})`;
}

function refused(why: string, hint: string | null): Step {
  const known = "expected sha256, SCRAM-SHA-256, md5 or a certificate";
  return {
    kind: "refused",
    error: new LinkLost("refused", `${known} at login, got another answer of the server: ${why}`, {
      hint: hint ?? known,
    }),
  };
}
