import type { AuthPlugin, SslOptions, TypeCast } from "mysql2";
import type { Password } from "../postgres/password.ts";
import { type Driver, type DriverConnection, hangUp, oracleClientBit } from "./driver.ts";
import { codeOf } from "./errors.ts";
import { connectFailure, notUnderstood, type Place } from "./failure.ts";
import { tlsOptions } from "./tls.ts";

export type LoginOptions = Readonly<{
  driver: Driver;
  place: Place;
  password: Password;
  /** Left out by Lockwarden's own sessions: one that does not exist is refused, and none is needed. */
  database: string | null;
}>;

/** A client that is logged in, and what the greeting said. */
export type LoggedIn = Readonly<{ client: DriverConnection; greetedId: string; encrypted: boolean }>;

/** Of the driver's connection, what its types do not show. */
type Inside = {
  serverCapabilityFlags: number;
  handlePacket(packet: unknown): unknown;
};

/** Every value as the server's own text. */
const asText: TypeCast = (field) => field.string("utf8");

/** Logs in on a fresh socket; the client has a listener for errors, so that a killed session ends nobody's process. */
export async function login(options: LoginOptions, signal: AbortSignal): Promise<LoggedIn> {
  const { place } = options;
  try {
    const tls = await tlsOptions(place.address);
    const password = await options.password.read();
    try {
      return await attempt({ ...options, text: password, tls }, signal);
    } catch (error) {
      // libpq's `prefer`: encrypted where that works, else plain. Until then nothing of the login was sent.
      const noTls = ["HANDSHAKE_NO_SSL_SUPPORT", "HANDSHAKE_SSL_ERROR"].includes(codeOf(error));
      const plain = noTls && place.address.sslMode === "prefer";
      if (!plain || signal.aborted) throw error;
      return await attempt({ ...options, text: password, tls: null }, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw connectFailure(error, place);
  }
}

/** The server's own key would encrypt the password: whoever answers reads it, unless a certificate says who that is. */
const withoutProof: AuthPlugin = () => () =>
  Promise.reject<string>(
    new Error("the server asks for the password itself, encrypted with a key that nothing vouches for"),
  );
const unproved = { sha256_password: withoutProof, caching_sha2_password: withoutProof };

type Attempt = LoginOptions & Readonly<{ text: string; tls: SslOptions | null }>;

async function attempt({ driver, place, database, text, tls }: Attempt, signal: AbortSignal): Promise<LoggedIn> {
  signal.throwIfAborted();
  const { host, port, user } = place.address;
  const client = driver.createConnection({
    host,
    port,
    user,
    password: text,
    ...(database === null ? {} : { database }),
    ...(tls === null ? {} : { ssl: tls }),
    // Ours is the caller's signal.
    connectTimeout: 0,
    charset: "utf8mb4_general_ci",
    // No server may ask for a file of ours.
    flags: ["-LOCAL_FILES"],
    ...(tls?.rejectUnauthorized === true ? {} : { authPlugins: unproved }),
    connectAttributes: { program_name: "lockwarden" },
    enableKeepAlive: true,
    keepAliveInitialDelay: 5_000,
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    typeCast: asText,
    // Names of columns are the server's to choose: no code is made of them.
    disableEval: true,
    trace: false,
  });
  // Some failures are emitted late, when nobody waits for them any more.
  client.on("error", () => undefined);
  const inside = client as unknown as Inside;
  try {
    const greetedId = await connected(client, inside, signal);
    // Were the bit in the server's greeting, the driver would put two bytes before each statement that OceanBase does not read.
    inside.serverCapabilityFlags &= ~oracleClientBit;
    return { client, greetedId, encrypted: tls !== null };
  } catch (error) {
    hangUp(client);
    throw error;
  }
}

function connected(client: DriverConnection, inside: Inside, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    guardParser(inside, (error) => {
      hangUp(client);
      reject(error);
      client.emit("error", error);
    });
    const abort = () => reject(signal.reason);
    const settled = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
    client.once("error", (error: unknown) => {
      settled();
      reject(error);
    });
    client.once("connect", (greeting: Readonly<{ connectionId: number }>) => {
      settled();
      resolve(String(greeting.connectionId));
    });
  });
}

/** The driver reads packets within an event of the socket: what it cannot read would end the process. */
function guardParser(inside: Inside, fail: (error: Error) => void): void {
  const handle = inside.handlePacket.bind(inside);
  inside.handlePacket = (packet) => {
    try {
      return handle(packet);
    } catch (cause) {
      const error = new Error("what answers there does not speak the MySQL protocol", { cause });
      fail(Object.assign(error, { code: notUnderstood, fatal: true }));
      return undefined;
    }
  };
}
