import { boundedSignal } from "../../bounded-signal.ts";
import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import { type Address, type Addresses, describeAddress, parseAddresses } from "./address.ts";
import type { Connection } from "./connection.ts";
import { cannot, connectFailure, type Place } from "./failure.ts";
import { login } from "./login.ts";
import { passwordOf } from "./password.ts";
import { type Login, type Server, type SetUp, setUp } from "./set-up.ts";
import { unsuitable } from "./suitable.ts";
import { type Wire, wrap } from "./wire.ts";

export type OpenOptions = Readonly<{
  /** Instead of the url's database. */
  database?: string;
  /** Which key names it. */
  databaseSource?: string;
  /** Only there, whatever other hosts the url names, and whatever kind of server it wants. */
  at?: Address;
}>;

/** A connection, and what the server said when it opened. */
export type Opened = Connection &
  Readonly<{
    server: Server;
    /** The one of the url's hosts that it leads to. */
    address: Address;
    /** Why it is not open any more; null: it is. */
    failure(): LinkLost | null;
  }>;

/** Makes a session that is logged in one of Lockwarden's own, and refuses whom it cannot work with. */
export type SetUpSession<S extends SetUp> = (wire: Wire, login: Login, signal: AbortSignal) => Promise<S>;

/** To PostgreSQL. */
export function openConnection(target: Target, options: OpenOptions, signal: AbortSignal): Promise<Opened> {
  return openAs(setUp, { target, options }, signal);
}

type Wanted = Readonly<{ target: Target; options: OpenOptions }>;

/**
 * Opens one session with Lockwarden's own settings on it, within connect_timeout all in all: the url's hosts are tried in
 * their order, each for its share of what is left, until one is of the kind that the url wants.
 */
export async function openAs<S extends SetUp>(
  setUpSession: SetUpSession<S>,
  { target, options }: Wanted,
  signal: AbortSignal,
): Promise<Opened & S> {
  signal.throwIfAborted();
  const { hosts, wanted } = addressesOf(target, options);
  const until = performance.now() + target.connect_timeout;
  // Where no standby answers, a primary is tried once more.
  const tries = hosts.length + (wanted === "prefer-standby" ? 1 : 0);
  const attempt = { setUpSession, target, options };
  const failures: LinkLost[] = [];
  const primaries: Address[] = [];
  for (const [index, address] of hosts.entries()) {
    const ms = hosts.length === 1 ? target.connect_timeout : (until - performance.now()) / (tries - index);
    try {
      return await openSuitable({ ...attempt, address, wanted, ms }, signal);
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error;
      failures.push(error);
      if (error instanceof Unsuitable) primaries.push(address);
      // As libpq does: the others have the same accounts, and each try counts.
      if (error.wrongPassword) break;
    }
  }
  if (wanted === "prefer-standby" && primaries[0] !== undefined)
    return await openSuitable(
      { ...attempt, address: primaries[0], wanted: "any", ms: until - performance.now() },
      signal,
    );
  throw failureOfAll(failures, target);
}

type Attempt<S extends SetUp> = Wanted &
  Readonly<{
    setUpSession: SetUpSession<S>;
    address: Address;
    wanted: Addresses["wanted"];
    ms: number;
  }>;

/** The server answers, and is of another kind than is wanted. */
class Unsuitable extends LinkLost {}

async function openSuitable<S extends SetUp>(attempt: Attempt<S>, signal: AbortSignal): Promise<Opened & S> {
  const { target, options, address, wanted } = attempt;
  const password = passwordOf(target, address);
  const place: Place = {
    target: target.name,
    where: describeAddress(address),
    address,
    passwordSource: password.source,
    databaseSource: options.databaseSource ?? "the database in the target's url and its leader_database",
  };
  const ms = Math.max(1, Math.round(attempt.ms));
  const bound = boundedSignal([signal], ms);
  try {
    const client = await login(place, password, bound.signal);
    const wire = wrap(client, { place, answerWithinMs: target.statement_timeout + 2_000 });
    try {
      const session = await ours(attempt, { wire, login: { target, place, client } }, bound.signal);
      const why = await unsuitable(wire, wanted, session.facts.recovery, bound.signal);
      if (why === null) return { ...session, ...wire, server: session.facts, address };
      await wire.close();
      throw new Unsuitable("unreachable", `${cannot(place)}: ${why}`, { hint: unsuitableHint });
    } catch (error) {
      wire.destroy();
      throw error;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw bound.isLate() ? late(place, ms, error) : error;
  } finally {
    bound.release();
  }
}

async function ours<S extends SetUp>(
  { setUpSession }: Attempt<S>,
  { wire, login: to }: Readonly<{ wire: Wire; login: Login }>,
  signal: AbortSignal,
): Promise<S> {
  try {
    return await setUpSession(wire, to, signal);
  } catch (error) {
    signal.throwIfAborted();
    const alreadyTold = error instanceof LinkLost && error.kind === "lost";
    throw alreadyTold ? error : connectFailure(error, to.place, "login");
  }
}

const unsuitableHint = "promote a standby, or change target_session_attrs in the target's url";

function late(place: Place, ms: number, cause: unknown): LinkLost {
  return new LinkLost("unreachable", `${cannot(place)}: no answer within ${ms} ms`, {
    cause,
    hint: "check the network and the host's firewall, or raise connect_timeout",
  });
}

/** One that says of each host why it will not do. */
function failureOfAll(failures: readonly LinkLost[], { name }: Target): LinkLost {
  const [first, ...more] = failures;
  if (first === undefined) throw new Error(`target ${name}: expected a host, got none`);
  if (more.length === 0) return first;
  const kinds = new Set(failures.map(({ kind }) => kind));
  const prefix = `cannot connect to ${name} `;
  const reasons = failures.map(({ message }) => (message.startsWith(prefix) ? message.slice(prefix.length) : message));
  const hints = new Set(failures.flatMap(({ hint }) => hint ?? []));
  return new LinkLost(
    kinds.size === 1 ? first.kind : "unreachable",
    `cannot connect to ${name}, none of ${failures.length} hosts will do: ${reasons.join("; ")}`,
    {
      cause: new AggregateError(failures),
      hint: hints.size === 0 ? null : [...hints].join("; "),
      wrongPassword: failures.some(({ wrongPassword }) => wrongPassword),
    },
  );
}

function addressesOf(target: Target, { database, at }: OpenOptions): Addresses {
  if (target.url === undefined) throw new Error(`target ${target.name}: expected a url, got none`);
  const { hosts, wanted } = at === undefined ? parseAddresses(target.url) : { hosts: [at], wanted: "any" as const };
  return { hosts: database === undefined ? hosts : hosts.map((host) => ({ ...host, database })), wanted };
}
