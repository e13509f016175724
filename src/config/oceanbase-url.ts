import { didYouMean, either, quote } from "./mistake.ts";

// What the url of an OceanBase tenant says. The user may be NAME@TENANT#CLUSTER, as it is or as %XX. One reader for the
// config's mistakes and for the engine. Nothing of host, account or password ever shows in a mistake.

export const tenantSslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const;
export type TenantSslMode = (typeof tenantSslModes)[number];

export type TenantPlace = Readonly<{
  /** A name, or an IP address without brackets. */
  host: string;
  port: number;
}>;

/** Every server that a url names, in the order in which they are tried; the same login on each. */
export type TenantUrl = Readonly<{
  places: readonly TenantPlace[];
  /** NAME@TENANT#CLUSTER, whole: the server takes it apart. */
  user: string;
  password: string | null;
  /** Where probes run: a schema in Oracle mode. */
  database: string | null;
  sslMode: TenantSslMode;
  sslRootCert: string | null;
  sslCert: string | null;
  sslKey: string | null;
}>;

export type ReadTenantUrl =
  | Readonly<{ kind: "good"; url: TenantUrl }>
  | Readonly<{ kind: "bad"; mistakes: readonly string[] }>;

const form = "oceanbase://USER@TENANT#CLUSTER:PASSWORD@HOST:PORT";
const special =
  "expected special characters of a password as %XX (/ is %2F, ? is %3F, % is %25), got one of them as it is";
const parameters = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
const defaultPort = 2881;

/** What is wrong with it; an empty list: nothing. */
export function oceanbaseUrlMistakes(url: string): readonly string[] {
  const read = readTenantUrl(url);
  return read.kind === "bad" ? read.mistakes : [];
}

export function readTenantUrl(url: string): ReadTenantUrl {
  const found = /^([a-z][a-z0-9+.-]*):\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/isu.exec(url);
  if (found === null) return bad([`expected ${form}, got a text that is no URL`]);
  const [, scheme = "", authority = "", path = "", query = ""] = found;
  if (!/^(?:oceanbase|mysql)$/iu.test(scheme))
    return bad([`expected ${form}, got a URL that starts with ${quote(scheme)}`]);
  // What follows an unencoded / or ? would be taken for a database or a parameter, and be shown as such.
  if (/[@#]/u.test(path + query) || /\s/u.test(url)) return bad([special]);
  // The last @ ends the account: the ones before it are the tenant's, or the password's.
  const at = authority.lastIndexOf("@");
  const [user, password] = accountOf(authority.slice(0, Math.max(at, 0)));
  const places = placesOf(authority.slice(at + 1));
  const database = decoded(path);
  const values = readParameters(query);
  const mistakes = [
    ...(user === null || password === null || database === null ? [special] : []),
    ...(user === "" ? [`expected a user before the host (${form}), got none`] : []),
    ...places.mistakes,
    ...values.mistakes,
    ...identityMistakes(values.known, places.found),
  ];
  if (mistakes.length > 0 || user === null || password === null || database === null) return bad(mistakes);
  const { known } = values;
  return {
    kind: "good",
    url: {
      places: places.found,
      user,
      password: password === "" ? null : password,
      database: database === "" ? null : database,
      sslMode: tenantSslModes.find((mode) => mode === known.get("sslmode")) ?? "prefer",
      sslRootCert: known.get("sslrootcert") ?? null,
      sslCert: known.get("sslcert") ?? null,
      sslKey: known.get("sslkey") ?? null,
    },
  };
}

function bad(mistakes: readonly string[]): ReadTenantUrl {
  return { kind: "bad", mistakes: [...new Set(mistakes)] };
}

/** null: it cannot be read. */
function decoded(text: string): string | null {
  try {
    const plain = decodeURIComponent(text);
    return plain.includes("\0") ? null : plain;
  } catch {
    return null;
  }
}

/** User and password; a user has no colon, a password may have some. */
function accountOf(account: string): readonly [string | null, string | null] {
  const at = account.indexOf(":");
  return at < 0 ? [decoded(account), ""] : [decoded(account.slice(0, at)), decoded(account.slice(at + 1))];
}

type Places = Readonly<{ found: readonly TenantPlace[]; mistakes: readonly string[] }>;

function placesOf(written: string): Places {
  const hosts = written.split(",");
  if (written === "") return { found: [], mistakes: [`expected a host after the last @ (${form}), got none`] };
  if (hosts.includes("")) return { found: [], mistakes: ["expected a host on both sides of a comma, got none on one"] };
  const read = hosts.map(placeOf);
  const found = read.filter((place) => typeof place !== "string");
  return { found, mistakes: read.filter((place) => typeof place === "string") };
}

/** HOST, HOST:PORT, [IPV6]:PORT; or what is wrong with it. */
function placeOf(written: string): TenantPlace | string {
  // oceanbase://USER@TENANT#CLUSTER:2881, with the host forgotten.
  if (written.includes("#")) return `expected a host after the last @ (${form}), got a tenant and its cluster there`;
  const [, bracketed, plain, port] =
    /^(?:\[([0-9a-f:.]+(?:%25[\w.-]+)?)\]|([^:[\]]+))(?::(\d*))?$/iu.exec(written) ?? [];
  const host = decoded(bracketed ?? plain ?? "") ?? "";
  if (host === "" || /[\s/@,]/u.test(host))
    return `expected HOST:PORT, or [ADDRESS]:PORT of IPv6, after the last @ (${form}), got something else`;
  const number = port === undefined || port === "" ? defaultPort : Number(port);
  return number >= 1 && number <= 65_535
    ? { host, port: number }
    : "expected a port from 1 to 65535, got something else";
}

type Parameters = Readonly<{ known: ReadonlyMap<string, string>; mistakes: readonly string[] }>;

function readParameters(query: string): Parameters {
  const written = new URLSearchParams(query.replaceAll("+", "%2B"));
  const known = new Map<string, string>();
  const mistakes: string[] = [];
  for (const key of new Set(written.keys())) {
    const values = written.getAll(key);
    const [value = ""] = values;
    known.set(key, value);
    if (!parameters.includes(key))
      mistakes.push(
        `expected no parameters but ${parameters.join(", ")}, got ${quote(key)}${didYouMean(key, parameters)}`,
      );
    else if (values.length > 1) mistakes.push(`expected ${key} once, got it ${values.length} times`);
    else if (key === "sslmode" && !tenantSslModes.some((mode) => mode === value))
      mistakes.push(
        `expected sslmode ${either(tenantSslModes)}, got ${quote(value)}${didYouMean(value, [...tenantSslModes])}`,
      );
    // A daemon's working directory is nobody's business.
    else if (key !== "sslmode" && !value.startsWith("/"))
      mistakes.push(`expected an absolute path in ${key}, got another text`);
  }
  if (known.has("sslcert") !== known.has("sslkey"))
    mistakes.push("expected sslcert and sslkey together, got only one of both");
  return { known, mistakes };
}

/** The driver compares a certificate with names only: an address would be compared with `localhost`. */
function identityMistakes(known: ReadonlyMap<string, string>, places: readonly TenantPlace[]): readonly string[] {
  const isAddress = ({ host }: TenantPlace) => /^[\d.]+$/u.test(host) || host.includes(":");
  return known.get("sslmode") === "verify-full" && places.some(isAddress)
    ? [
        "expected the host by a name that is in its certificate with sslmode=verify-full, got an IP address; or use verify-ca",
      ]
    : [];
}
