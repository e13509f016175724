import type { ConnectionOptions } from "node:tls";
import pg from "pg";
import { loginConnection } from "../opengauss/login-connection.ts";
import { connectFailure, type Phase, type Place, refusesEncrypted } from "./failure.ts";
import type { Password } from "./password.ts";
import { tlsOptions } from "./tls.ts";

type Attempt =
  | Readonly<{ kind: "open"; client: pg.Client }>
  | Readonly<{ kind: "failed"; error: unknown; phase: Phase }>;

/** Every value as the server's own text: a Date loses microseconds, a number loses digits. */
const asText: pg.CustomTypesConfig = { getTypeParser: () => (value: string) => value };

/** Logs in on a fresh socket; the client has a listener for errors, so that a killed session ends nobody's process. */
export async function login(place: Place, password: Password, signal: AbortSignal): Promise<pg.Client> {
  const tls = await tlsOptions(place.address).catch((error: unknown) => {
    throw connectFailure(error, place, "connecting");
  });
  const first = await attempt(place, password, { tls, signal });
  if (first.kind === "open") return first.client;
  signal.throwIfAborted();
  // libpq's `prefer`: encrypted where that works, else plain. The driver knows no such mode.
  const plain = tls !== null && place.address.sslMode === "prefer" && refusesEncrypted(first.error, first.phase);
  const last = plain ? await attempt(place, password, { tls: null, signal }) : first;
  if (last.kind === "open") return last.client;
  signal.throwIfAborted();
  throw connectFailure(last.error, place, last.phase);
}

type How = Readonly<{ tls: ConnectionOptions | null; signal: AbortSignal }>;

async function attempt({ address }: Place, password: Password, { tls, signal }: How): Promise<Attempt> {
  let phase: Phase = "connecting";
  const ssl = tls === null ? false : { ...tls };
  const wire = { ssl, sslnegotiation: "postgres", keepAlive: true, keepAliveInitialDelayMillis: 5_000 } as const;
  const config: pg.ClientConfig & Readonly<{ connection: pg.Connection }> = {
    host: address.host,
    port: address.port,
    user: address.user,
    database: address.database,
    // A function, so that neither PGPASSWORD nor the driver's own pass file is asked.
    password: () => password.read(),
    ...wire,
    application_name: "lockwarden",
    client_encoding: "UTF8",
    types: asText,
    connection: loginConnection(wire, () => password.read()),
  };
  const client = new pg.Client(config);
  // The driver emits some failures of a login beside connect(); the deadline ends those.
  client.on("error", () => undefined);
  client.connection.once("sslconnect", () => {
    phase = "handshake";
    client.connection.stream.once("secureConnect", () => {
      phase = "login";
    });
  });
  const abort = () => client.connection.stream.destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    await client.connect();
    return { kind: "open", client };
  } catch (error) {
    client.connection.stream.destroy();
    return { kind: "failed", error, phase };
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
