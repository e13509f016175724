import { didYouMean, either, quote } from "./mistake.ts";

const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"];
const sessionKinds = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];
const parameters = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "target_session_attrs"];
const form = "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full";

/** What is wrong with the URL of a PostgreSQL server, never naming host, account or password; an empty list: nothing. */
export function postgresUrlMistakes(url: string): readonly string[] {
  const [, scheme, authority = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/isu.exec(url) ?? [];
  if (scheme === undefined) return [`expected ${form}, got a text that is no URL`];
  if (!/^postgres(?:ql)?$/iu.test(scheme)) return [`expected ${form}, got a URL that starts with ${quote(scheme)}`];
  // Everything after it would be taken for a host, a database or a parameter, and be shown as such.
  if (/[@#]/u.test(rest) || /\s/u.test(url))
    return [
      "expected special characters of user and password as %XX (@ is %40, / is %2F, ? is %3F, # is %23), got one of them as it is",
    ];
  const account = authority.slice(0, authority.lastIndexOf("@") + 1);
  const hosts = authority.slice(account.length).split(",");
  if (hosts.length > 1 && hosts.includes("")) return ["expected a host on both sides of a comma, got none on one"];
  // What is the same for all of them is judged with the first; of the others only whether they can be read.
  const [parsed, ...more] = hosts.map((host) => parseAs(`${scheme}://${account}${host}${rest}`, account + host, host));
  if (parsed === undefined || parsed === null || more.includes(null))
    return [`expected ${form}, got a URL that cannot be read`];
  const user = parsed.username === "" ? ["expected a user before the host (USER@), got none"] : [];
  return [...user, ...hostMistakes(hosts[0] ?? "", parsed.searchParams), ...parameterMistakes(parsed.searchParams)];
}

/** A Unix socket's URL has an account and no host, which the URL standard refuses. */
function parseAs(url: string, authority: string, host: string): URL | null {
  const whole = host === "" ? url.replace(authority, `${authority.replace(/@?$/u, "@")}localhost`) : url;
  const plain = authority === "" ? url.replace("://", "://localhost") : whole;
  try {
    const parsed = new URL(plain);
    for (const part of [parsed.username, parsed.password, parsed.pathname]) decodeURIComponent(part);
    return parsed;
  } catch {
    return null;
  }
}

function hostMistakes(host: string, query: URLSearchParams): readonly string[] {
  const named = query.get("host");
  if (host !== "" && named !== null) return ["expected one host, got one before the path and one as a parameter"];
  if (host === "" && (named ?? "").split(",").includes(""))
    return ["expected a host (USER@HOST, or ?host=/run/postgresql for a Unix socket), got none"];
  return [];
}

function parameterMistakes(query: URLSearchParams): readonly string[] {
  return [...new Set(query.keys())].flatMap((key) => {
    const values = query.getAll(key);
    if (key === "application_name")
      return ["expected no application_name: Lockwarden sets its own, by which it knows its twins"];
    if (!parameters.includes(key))
      return [`expected no parameters but ${parameters.join(", ")}, got ${quote(key)}${didYouMean(key, parameters)}`];
    if (values.length > 1) return [`expected ${key} once, got it ${values.length} times`];
    const value = values[0] ?? "";
    if (key === "sslmode") return sslModeMistakes(value);
    if (key === "target_session_attrs") return sessionKindMistakes(value);
    // A daemon's working directory is nobody's business.
    return key === "host" || value.startsWith("/") ? [] : [`expected an absolute path in ${key}, got another text`];
  });
}

function sslModeMistakes(mode: string): readonly string[] {
  if (sslModes.includes(mode)) return [];
  const instead =
    mode === "allow"
      ? "; it is encrypted only where the server insists: use require, or better verify-full"
      : didYouMean(mode, sslModes);
  return [`expected sslmode ${either(sslModes)}, got ${quote(mode)}${instead}`];
}

function sessionKindMistakes(kind: string): readonly string[] {
  if (sessionKinds.includes(kind)) return [];
  const instead = didYouMean(kind, sessionKinds);
  return [`expected target_session_attrs ${either(sessionKinds)}, got ${quote(kind)}${instead}`];
}

/** What is wrong with the URL of a mail server; never naming account or password. */
export function smtpUrlMistakes(url: string): readonly string[] {
  const mistake = ["expected smtp://HOST:PORT or smtps://HOST:PORT, got another text"];
  if (!/^smtps?:\/\//iu.test(url) || /\s/u.test(url)) return mistake;
  try {
    const { hostname, pathname, search, hash } = new URL(url);
    return hostname !== "" && `${pathname}${search}${hash}`.replace("/", "") === "" ? [] : mistake;
  } catch {
    return mistake;
  }
}

/** There is a password before the host. An account may have an @ of its own: USER@TENANT. */
export function hasPassword(url: string): boolean {
  return /^[^:]*:\/\/[^:/?]*:[^/?]+@/u.test(url);
}

/** The URL without its password: for the digest. */
export function withoutPassword(url: string): string {
  return url.replace(/^([^:]*:\/\/[^:/?]*):[^/]*@/u, "$1@");
}
