import { boundedSignal } from "../../bounded-signal.ts";
import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import { configuredPassword, type Password } from "../postgres/password.ts";
import { type Address, describeAddress, parseAddresses } from "./address.ts";
import type { Connection, Server } from "./connection.ts";
import { type Driver, loadDriver } from "./driver.ts";
import { isMissing } from "./errors.ts";
import { cannot, connectFailure, type Place } from "./failure.ts";
import { login } from "./login.ts";
import { type Recognised, recognise } from "./recognise.ts";
import { type Wire, wrap } from "./wire.ts";

export type OpenOptions = Readonly<{
  /** Only there, whatever other hosts the url names. */
  at?: Address;
  /** Where statements of the user's own run: a schema in Oracle mode. */
  database?: string | null;
  driver?: Driver;
}>;

/** A connection, and what the server said when it opened. */
export type Opened = Connection &
  Readonly<{
    recognised: Recognised;
    /** The one of the url's hosts that it leads to. */
    address: Address;
    encrypted: boolean;
    /** Settings that the server refused, in words. */
    unset: readonly string[];
  }>;

/**
 * Opens one session with Lockwarden's own settings on it, within connect_timeout all in all: the url's hosts are tried in
 * their order, each for its share of what is left.
 */
export async function openConnection(target: Target, options: OpenOptions, signal: AbortSignal): Promise<Opened> {
  signal.throwIfAborted();
  const driver = options.driver ?? (await loadDriver());
  const hosts = options.at === undefined ? parseAddresses(target.url) : [options.at];
  const until = performance.now() + target.connect_timeout;
  const failures: LinkLost[] = [];
  for (const [index, address] of hosts.entries()) {
    const ms = hosts.length === 1 ? target.connect_timeout : (until - performance.now()) / (hosts.length - index);
    try {
      return await openOne({ target, options, driver, address, ms }, signal);
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error;
      failures.push(error);
      // The others have the same accounts, and each try counts.
      if (error.wrongPassword) break;
    }
  }
  throw failureOfAll(failures, target);
}

type Attempt = Readonly<{ target: Target; options: OpenOptions; driver: Driver; address: Address; ms: number }>;

async function openOne({ target, options, driver, address, ms }: Attempt, signal: AbortSignal): Promise<Opened> {
  const password = configuredPassword(target, address.password) ?? noPassword;
  const place: Place = {
    target: target.name,
    where: describeAddress(address),
    address,
    passwordSource: password.source,
  };
  const bound = boundedSignal([signal], Math.max(1, Math.round(ms)));
  try {
    const loggedIn = await login({ driver, place, password, database: options.database ?? null }, bound.signal);
    const wire = wrap(loggedIn.client, { place, answerWithinMs: target.statement_timeout + 2_000 });
    try {
      const asked = { wire, login: loggedIn, user: address.user };
      const recognised = await recognise(asked, bound.signal);
      const unset = await setUp(wire, settings(target, recognised.server.mode), bound.signal);
      return { ...wire, server: recognised.server, recognised, address, encrypted: loggedIn.encrypted, unset };
    } catch (error) {
      wire.destroy();
      signal.throwIfAborted();
      throw bound.isLate() || (error instanceof LinkLost && error.kind === "lost")
        ? error
        : connectFailure(error, place);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw bound.isLate() ? late(place, ms, error) : error;
  } finally {
    bound.release();
  }
}

/** An account may have none. */
const noPassword: Password = {
  source: "that a password is configured (password_file): there is none",
  read: () => Promise.resolve(""),
};

/** Ages are differences of this session's local times. */
const utcSql = "SET SESSION time_zone = '+00:00'";

/** What each of Lockwarden's sessions sets, in the server's own units: microseconds and seconds. */
function settings(
  { statement_timeout: ms }: Pick<Target, "statement_timeout">,
  mode: Server["mode"],
): readonly string[] {
  return [
    "SET SESSION autocommit = 1",
    // Differences of moments are wrong by an hour where the tenant's own zone has just changed its clocks.
    utcSql,
    `SET SESSION ob_query_timeout = ${ms * 1_000}`,
    // Lockwarden's sessions are idle most of the time.
    "SET SESSION wait_timeout = 31536000",
    // Shows in the list of sessions: by it a twin of the same user is known.
    mode === "oracle"
      ? "BEGIN DBMS_APPLICATION_INFO.SET_MODULE('lockwarden', NULL); END;"
      : "CALL DBMS_APPLICATION_INFO.SET_MODULE('lockwarden', '')",
  ];
}

/** A server without one of these is worked with all the same: what they bound is bounded on this side too. */
async function setUp(wire: Wire, wanted: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  const refused: string[] = [];
  for (const sql of wanted) {
    await wire.query(sql, signal).catch((error: unknown) => {
      if (!isRefused(error)) throw error;
      refused.push(sql);
    });
  }
  return refused;
}

/** Unknown variables beside what is missing; a value that is out of bounds. */
function isRefused(error: unknown): boolean {
  if (error instanceof LinkLost) return false;
  return isMissing(error) || (error instanceof Error && "errno" in error);
}

function late(place: Place, ms: number, cause: unknown): LinkLost {
  return new LinkLost("unreachable", `${cannot(place)}: no answer within ${Math.round(ms)} ms`, {
    cause,
    hint: "check the network and the host's firewall, or raise connect_timeout",
  });
}

/** One that says of each host why it will not do. */
function failureOfAll(failures: readonly LinkLost[], { name }: Target): LinkLost {
  const [first, ...more] = failures;
  if (first === undefined) throw new Error(`target ${name}: expected a host, got none`);
  if (more.length === 0) return first;
  const prefix = `cannot connect to ${name} `;
  const reasons = failures.map(({ message }) => (message.startsWith(prefix) ? message.slice(prefix.length) : message));
  const kinds = new Set(failures.map(({ kind }) => kind));
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
