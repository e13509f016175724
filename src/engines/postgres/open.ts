import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import { type Address, describeAddress, parseAddress } from "./address.ts";
import type { Connection } from "./connection.ts";
import { cannot, type Place } from "./failure.ts";
import { login } from "./login.ts";
import { passwordOf } from "./password.ts";
import { type Server, setUp } from "./set-up.ts";
import { wrap } from "./wire.ts";

export type OpenOptions = Readonly<{
  /** Instead of the url's database. */
  database?: string;
  /** Which key names it. */
  databaseSource?: string;
}>;

/** A connection, and what the server said when it opened. */
export type Opened = Connection &
  Readonly<{
    server: Server;
    /** Why it is not open any more; null: it is. */
    failure(): LinkLost | null;
  }>;

/** Opens one session with Lockwarden's own settings on it, within connect_timeout all in all. */
export async function openConnection(target: Target, options: OpenOptions, signal: AbortSignal): Promise<Opened> {
  signal.throwIfAborted();
  const address = addressOf(target, options);
  const password = passwordOf(target, address);
  const place: Place = {
    target: target.name,
    where: describeAddress(address),
    address,
    passwordSource: password.source,
    databaseSource: options.databaseSource ?? "the database in the target's url and its leader_database",
  };
  const deadline = AbortSignal.timeout(target.connect_timeout);
  const either = AbortSignal.any([signal, deadline]);
  try {
    const client = await login(place, password, either);
    const wire = wrap(client, { place, answerWithinMs: target.statement_timeout + 2_000 });
    try {
      const server = await setUp(wire, { target, place, client }, either);
      return { ...wire, pid: server.pid, versionNumber: server.versionNumber, server: server.facts };
    } catch (error) {
      wire.destroy();
      throw error;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    const message = `${cannot(place)}: no answer within ${target.connect_timeout} ms`;
    throw new LinkLost("unreachable", message, {
      cause: error,
      hint: "check the network and the host's firewall, or raise connect_timeout",
    });
  }
}

function addressOf(target: Target, { database }: OpenOptions): Address {
  if (target.url === undefined) throw new Error(`target ${target.name}: expected a url, got none`);
  const address = parseAddress(target.url);
  return database === undefined ? address : { ...address, database };
}
