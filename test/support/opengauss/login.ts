import { randomBytes } from "node:crypto";
import { unreachable } from "../../../src/core/unreachable.ts";
import type { Account } from "./accounts.ts";
import { type Complaint, cstringAt, cstrings, encode, errorFrame, int32, type Reader } from "./frames.ts";
import { unknownSettings } from "./names.ts";
import { isProof, keysOf, md5Of, randomHex, signatureOf } from "./sha256.ts";

// From the startup message to the point where openGauss says AuthenticationOk.

export type Startup = Readonly<{ major: number; minor: number; parameters: ReadonlyMap<string, string> }>;

export function startupOf(body: Buffer): Startup {
  const parameters = new Map<string, string>();
  for (let at = 4; at < body.length && body[at] !== 0; ) {
    const name = cstringAt(body, at);
    at += Buffer.byteLength(name) + 1;
    const value = cstringAt(body, at);
    at += Buffer.byteLength(value) + 1;
    parameters.set(name, value);
  }
  return { major: body.readUInt16BE(0), minor: body.readUInt16BE(2), parameters };
}

const denied: Complaint = { severity: "FATAL", code: "28P01", message: "Invalid username/password,login denied." };

/** Why such a startup is refused before anybody is asked who he is. */
export function startupRefusal({ major, minor, parameters }: Startup, added: readonly string[]): Complaint | null {
  if (major !== 3 || ![0, 50, 51].includes(minor)) {
    const message = `unsupported frontend protocol ${major}.${minor}: server supports 1.0 to 3.51`;
    return { severity: "FATAL", code: "0A000", message };
  }
  if (parameters.get("user") === "omm")
    return { severity: "FATAL", code: "28000", message: "Forbid remote connection with initial user." };
  for (const name of [...parameters.keys(), ...optionNames(parameters.get("options") ?? "")]) {
    if (unknownSettings.has(name))
      return { severity: "FATAL", code: "42704", message: `unrecognized configuration parameter "${name}"` };
    if (added.includes(name) && name !== "session_timeout" && parameters.has(name))
      return { severity: "FATAL", code: "55P02", message: `parameter "${name}" cannot be changed now` };
  }
  return null;
}

/** The names that `-c name=value` gives. */
function optionNames(options: string): readonly string[] {
  return [...options.matchAll(/(?:-c\s*|--)([\w-]+)=/g)].map((found) => (found[1] ?? "").replaceAll("-", "_"));
}

/** A startup message for the PostgreSQL behind, with openGauss' own settings under the names that they have there. */
export function startupFor({ parameters }: Startup, added: readonly string[]): Buffer {
  const theirs: string[] = [];
  for (const [name, value] of parameters) {
    if (name === "options") {
      const renamed = value.replaceAll(/(-c\s*|--)(\w+)=/g, (whole, flag: string, option: string) =>
        added.includes(option) ? `${flag}gauss.${option}=` : whole,
      );
      theirs.push(name, renamed);
    } else theirs.push(added.includes(name) ? `gauss.${name}` : name, value);
  }
  const body = Buffer.concat([int32(3 << 16), cstrings(...theirs, "")]);
  return Buffer.concat([int32(body.length + 4), body]);
}

export type Wire = Readonly<{ input: Reader; write(bytes: Buffer): void }>;

/** Asks for the password as the account has it stored; null: let in. */
export async function authenticate(
  { input, write }: Wire,
  startup: Startup,
  account: Account | undefined,
  onAnswer: () => void,
): Promise<Complaint | null> {
  const asked = challenge(startup, account ?? stranger(startup.parameters.get("user") ?? ""));
  write(encode("R", asked.body));
  const answer = await input.frame();
  if (answer === null || answer.kind !== "p") return denied;
  onAnswer();
  const isRight = asked.accepts(cstringAt(answer.body, 0)) && account !== undefined;
  return isRight ? null : denied;
}

/** Whoever does not exist is asked like anybody else. */
function stranger(name: string): Account {
  const rights = { sysadmin: false, monadmin: false, persistence: false };
  const password = randomHex(8);
  return { name, password, ...rights, method: "sha256", iterations: 10_000, forged: false, salt: randomHex(32) };
}

type Challenge = Readonly<{ body: Buffer; accepts(answer: string): boolean }>;

function challenge({ minor }: Startup, account: Account): Challenge {
  const { name, password, salt, iterations } = account;
  switch (account.method) {
    case "md5": {
      const random = randomBytes(4);
      const accepts = (answer: string) => answer === md5Of(name, password, random);
      return { body: Buffer.concat([int32(5), random]), accepts };
    }
    case "md5-sha256":
      return { body: Buffer.concat([int32(11), Buffer.from(salt), randomBytes(4)]), accepts: () => false };
    case "sm3": {
      const parts = [int32(13), int32(3), Buffer.from(salt), Buffer.from(randomHex(4)), Buffer.from(randomHex(32))];
      return { body: Buffer.concat(parts), accepts: () => false };
    }
    case "sha256": {
      const token = randomHex(4);
      const keys = keysOf(password, salt, iterations);
      const shown = account.forged ? keysOf(`not ${password}`, salt, iterations) : keys;
      const parts = [int32(10), int32(2), Buffer.from(salt), Buffer.from(token)];
      if (minor === 0) parts.push(Buffer.from(signatureOf(shown, token)));
      if (minor === 51) parts.push(int32(iterations));
      return { body: Buffer.concat(parts), accepts: (answer) => isProof(keys, token, answer) };
    }
    default:
      return unreachable(account.method);
  }
}

export function refuse(write: Wire["write"], complaint: Complaint): void {
  write(errorFrame(complaint));
}
