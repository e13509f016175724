import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import { type Address, socketFolder } from "./address.ts";

/** Where the password comes from; asked only when the server wants one, so that a rotated one is found. */
export type Password = Readonly<{
  /** What to check when the server does not accept it, in words for people. */
  source: string;
  read(): Promise<string>;
}>;

type Environment = Readonly<Record<string, string | undefined>>;

/** password_file, then `password`, then the url's; null: the config has none. */
export function configuredPassword(
  { password_file: file, password }: Pick<Target, "password_file" | "password">,
  inUrl: string | null,
): Password | null {
  if (file !== undefined) return { source: `password_file ${file}`, read: () => readPasswordFile(file) };
  if (password !== undefined) return { source: "the target's `password`", read: async () => password };
  return inUrl === null ? null : { source: "the password in the target's url", read: async () => inUrl };
}

/** The one that the config has, else what the file says that libpq would read. */
export function passwordOf(target: Target, address: Address, environment: Environment = process.env): Password {
  const configured = configuredPassword(target, address.password);
  if (configured !== null) return configured;
  const passFile = environment["PGPASSFILE"] || join(environment["HOME"] || homedir(), ".pgpass");
  return { source: `the line for it in ${passFile}`, read: () => readPassFile(passFile, address) };
}

async function readPasswordFile(file: string): Promise<string> {
  const password = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new LinkLost("denied", `cannot read password_file ${file}: ${code(cause)}`, {
      cause,
      hint: `let the user that runs Lockwarden read ${file}`,
    });
  });
  const cut = password.replace(/\r?\n$/, "");
  if (cut !== "") return cut;
  throw new LinkLost("denied", `password_file ${file} is empty`, { hint: `write the password to ${file}` });
}

/**
 * The driver would read this file too, but writes a notice of deprecation and complaints about modes to stderr,
 * and does not know libpq's rule that `localhost` stands for a Unix socket.
 */
async function readPassFile(file: string, address: Address): Promise<string> {
  const hint = "set password_file on the target";
  const found = await stat(file).catch(() => null);
  if (found === null) {
    throw new LinkLost("denied", `the server asks for a password and none is configured; there is no ${file} either`, {
      hint,
    });
  }
  if (!found.isFile() || (found.mode & 0o077) !== 0) {
    const got = found.isFile() ? `its mode is ${(found.mode & 0o777).toString(8).padStart(4, "0")}` : "it is no file";
    throw new LinkLost("denied", `the server asks for a password, and ${file} is ignored: ${got}`, {
      hint: `chmod 0600 ${file}, or ${hint}`,
    });
  }
  const lines = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new LinkLost("denied", `the server asks for a password, and ${file} cannot be read: ${code(cause)}`, {
      cause,
      hint,
    });
  });
  const password = findPassword(lines, address);
  if (password !== null) return password;
  throw new LinkLost("denied", `the server asks for a password, and no line of ${file} is for it`, {
    hint: `add a line host:port:database:user:password, or ${hint}`,
  });
}

/** The first line that fits, as libpq reads it: host:port:database:user:password, `*` is any, \ escapes : and \. */
export function findPassword(lines: string, address: Address): string | null {
  const wanted = [
    socketFolder(address.host) ? [address.host, "localhost"] : [address.host],
    [String(address.port)],
    [address.database],
    [address.user],
  ];
  for (const line of lines.split(/\r?\n/)) {
    const fields = /^((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):((?:\\.|[^:\\])*):(.*)$/s.exec(line);
    const [password, ...keys] = fields === null ? [] : [fields[5], ...fields.slice(1, 5)];
    if (password === undefined || password === "") continue;
    if (keys.every((key, index) => key === "*" || wanted[index]?.includes(unescape(key)))) {
      // libpq takes the password up to the next bare colon.
      return unescape(/^(?:\\.|[^:\\]|\\$)*/s.exec(password)?.[0] ?? "");
    }
  }
  return null;
}

function unescape(field: string): string {
  return field.replace(/\\(.)/gs, "$1");
}

function code(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
