// What a connection url says, in libpq's words. Nothing of the text itself ever shows in a message: it may hold a password.

export const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof sslModes)[number];

/** What kind of server will do, as libpq's target_session_attrs says it. */
export const sessionKinds = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] as const;
export type SessionKind = (typeof sessionKinds)[number];

/** Every server that a url names, in the order in which they are tried; the same login on each. */
export type Addresses = Readonly<{ hosts: readonly Address[]; wanted: SessionKind }>;

export type Address = Readonly<{
  /** A name, an IP address without brackets, or the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  password: string | null;
  database: string;
  sslMode: SslMode;
  sslRootCert: string | null;
  sslCert: string | null;
  sslKey: string | null;
}>;

const form = "postgres://USER@HOST:PORT/DATABASE";
const known = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"];

// The last @ before the first / or ? ends the user's part, as it does in libpq.
const parts =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^@:/?]*)(?::(?<password>[^/?]*))?@)?(?<hosts>[^/?]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/is;

/** HOST, HOST:PORT, [IPV6]:PORT. */
const onePlace = /^(?<host>\[[^\]]*\]|[^@:[\]]*)(?::(?<port>.*))?$/s;

/** Of a url that names one server. */
export function parseAddress(url: string): Address {
  const [host, ...more] = parseAddresses(url).hosts;
  if (host !== undefined && more.length === 0) return host;
  throw new Error("url: expected one host, got several");
}

export function parseAddresses(url: string): Addresses {
  const found = parts.exec(url)?.groups;
  const places = found?.["hosts"]?.split(",").map((place) => onePlace.exec(place)?.groups);
  if (found === undefined || places === undefined || places.includes(undefined)) {
    throw new Error(
      `url: expected ${form}, got ${/^postgres(ql)?:\/\//i.test(url) ? "something that does not read so" : "a text that does not begin with postgres://"} ` +
        "(in a user or password write @ as %40, / as %2F, : as %3A, ? as %3F)",
    );
  }
  const query = parameters(found["query"] ?? "");
  const user = text("user", decode("user", found["user"]));
  if (user === null) throw new Error(`url: expected a user (${form}), got none; in a password write / as %2F`);
  const login = {
    user,
    password: text("password", decode("password", found["password"])),
    database: text("database", decode("database", found["database"])) ?? user,
    sslMode: readSslMode(query.get("sslmode")),
    sslRootCert: text("sslrootcert", query.get("sslrootcert")),
    ...readCertificate(text("sslcert", query.get("sslcert")), text("sslkey", query.get("sslkey"))),
  };
  const hosts = readPlaces(places, query.get("host")).map((place) => ({ ...place, ...login }));
  return { hosts, wanted: readKind(query.get("target_session_attrs"), hosts.length) };
}

/** For messages: where it leads, never a secret. */
export function describeAddress(address: Address): string {
  return `${describePlace(address)}, user ${address.user}, database ${address.database}`;
}

export function describePlace({ host, port }: Pick<Address, "host" | "port">): string {
  if (socketFolder(host)) return `${host}/.s.PGSQL.${port}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host is the folder of a Unix socket. */
export function socketFolder(host: string): boolean {
  return host.startsWith("/");
}

function parameters(query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const pair of query.split("&").filter((one) => one !== "")) {
    const at = pair.indexOf("=");
    const key = decode("parameter", at < 0 ? pair : pair.slice(0, at)) ?? "";
    if (!known.includes(key)) {
      throw new Error(
        `url: expected only the parameters ${known.join(", ")}, got another one${/^[a-z_]{1,40}$/.test(key) ? `: ${key}` : ""}`,
      );
    }
    if (at < 0) throw new Error(`url: expected ${key}=VALUE, got no value`);
    found.set(key, decode(key, pair.slice(at + 1)) ?? "");
  }
  return found;
}

function decode(what: string, encoded: string | undefined): string | undefined {
  if (encoded === undefined) return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new Error(`url: expected %XX in ${what} to be UTF-8, got something else; a % itself is written %25`);
  }
}

function text(what: string, value: string | undefined): string | null {
  if (value?.includes("\0")) throw new Error(`url: expected a ${what} without a zero byte, got one with it`);
  return value === undefined || value === "" ? null : value;
}

function readHost(host: string | undefined): string {
  const value = text("host", host)?.replace(/^\[(.*)\]$/, "$1") ?? "";
  if (value === "") {
    throw new Error(`url: expected a host (${form}), or ?host=/FOLDER for a Unix socket, got neither`);
  }
  if (value.includes(",")) throw new Error("url: expected commas between hosts as they are, got one as %2C");
  return value;
}

type Written = Readonly<Record<string, string | undefined>>;

/** The hosts before the path; where there is none, those of `host`, which may be folders of sockets. */
function readPlaces(
  places: readonly (Written | undefined)[],
  named: string | undefined,
): readonly Pick<Address, "host" | "port">[] {
  const [first, ...more] = places;
  if (named === undefined || more.length > 0 || first?.["host"] !== "") {
    return places.map((place) => ({
      host: readHost(decode("host", place?.["host"])),
      port: readPort(place?.["port"]),
    }));
  }
  const port = readPort(first["port"]);
  return named.split(",").map((host) => ({ host: readHost(host), port }));
}

/**
 * libpq's default is `any`. With several hosts ours is `primary`: locks are on the primary, and a daemon that had once gone
 * to a standby, while the primary restarted say, would be content there for ever.
 */
function readKind(kind: string | undefined, hosts: number): SessionKind {
  if (kind === undefined) return hosts > 1 ? "primary" : "any";
  const found = sessionKinds.find((one) => one === kind);
  if (found !== undefined) return found;
  throw new Error(
    `url: expected target_session_attrs to be ${sessionKinds.join(", ")}, got ${/^[a-z-]{1,20}$/.test(kind) ? kind : "something else"}`,
  );
}

function readPort(port: string | undefined): number {
  if (port === undefined || port === "") return 5432;
  const number = Number(port);
  if (/^\d{1,5}$/.test(port) && number >= 1 && number <= 65_535) return number;
  // Not shown: when a / in a password was not encoded, this is the password.
  throw new Error("url: expected a port from 1 to 65535, got something else; in a password write / as %2F");
}

function readSslMode(mode: string | undefined): SslMode {
  const found = sslModes.find((one) => one === (mode ?? "prefer"));
  if (found !== undefined) return found;
  throw new Error(
    `url: expected sslmode to be ${sslModes.join(", ")}, got ${/^[a-z-]{1,20}$/.test(mode ?? "") ? mode : "something else"}`,
  );
}

function readCertificate(sslCert: string | null, sslKey: string | null): Pick<Address, "sslCert" | "sslKey"> {
  if ((sslCert === null) === (sslKey === null)) return { sslCert, sslKey };
  throw new Error(
    `url: expected sslcert and sslkey together, got only ${sslCert === null ? "sslkey" : "sslcert"}; name both files`,
  );
}
