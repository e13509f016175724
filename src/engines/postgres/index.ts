import pg from "pg";
import type { Target } from "../../config/schema.ts";
import type { Order, Sent } from "../../core/decision.ts";
import { type Capabilities, type Engine, type Link, LinkLost } from "../engine.ts";
import { describeAddress, parseAddresses } from "./address.ts";
import { check } from "./check.ts";
import { grants, quoteName } from "./grants.ts";
import { act } from "./guard.ts";
import { leaseOn } from "./lease.ts";
import { type Opened, type OpenOptions, openConnection } from "./open.ts";
import { byLockTimeout, prober } from "./probe.ts";
import { prove } from "./prove.ts";
import { rollbackPrepared } from "./rollback-prepared.ts";
import { createReader } from "./snapshot.ts";
import { asksForStandby, changed } from "./suitable.ts";
import { survey } from "./survey.ts";

const waitAgeSince = 140_000;

export const postgres: Engine<Target> = { name: "postgres", connect, grants };

/**
 * Two sessions that stay open: the reader in the url's database, and the actor in leader_database, which holds the
 * lock among daemons and sends the signals. In a pile-up no act needs a new connection.
 */
async function connect(target: Target, signal: AbortSignal): Promise<Link> {
  return await linkOn(target, await openConnection(target, {}, signal), signal);
}

/** With this reader, which it closes when there will be no link. */
export async function linkOn(target: Target, reader: Opened, signal: AbortSignal): Promise<Link> {
  try {
    const actor = await openActor(target, reader, signal);
    return link(target, reader, actor);
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function openActor(target: Target, reader: Opened, signal: AbortSignal): Promise<Opened> {
  const database = target.leader_database;
  const actor = await openConnection(target, { database, at: reader.address }, signal).catch((error: unknown) => {
    throw error instanceof LinkLost && isAboutDatabase(error) ? leaderDenied(error, target, reader) : error;
  });
  return await onServer(reader.server.serverId, target, actor);
}

/** The same connection, unless another server answers: then it is closed. */
export async function onServer<O extends Opened>(serverId: string, target: Target, opened: O): Promise<O> {
  if (opened.server.serverId === serverId) return opened;
  await opened.close();
  throw new LinkLost(
    "unreachable",
    `two connections to ${target.name} reached two servers, or one that restarted in between`,
    { hint: "if it stays so, name one server in the url: its host stands for several" },
  );
}

/** Not there, no CONNECT, or no line in pg_hba.conf: the same role has just logged in to another database. */
export function isAboutDatabase({ cause }: LinkLost): boolean {
  return cause instanceof pg.DatabaseError && ["3D000", "42501", "55000", "28000"].includes(cause.code ?? "");
}

export function leaderDenied(
  error: LinkLost,
  { leader_database: database }: Target,
  { server }: Pick<Opened, "server">,
): LinkLost {
  return new LinkLost("denied", `${error.message} (leader_database, where daemons agree on who acts)`, {
    cause: error,
    hint:
      `grant connect on database ${quoteName(database)} to ${quoteName(server.role)}; with a line for it in pg_hba.conf, ` +
      "or set leader_database to another one, the same for every Lockwarden on this server",
  });
}

function link(target: Target, reader: Opened, actor: Opened): Link {
  const { serverId, ...facts } = reader.server;
  const lease = leaseOn(actor);
  const { address } = reader;
  const { wanted } = parseAddresses(target.url);
  const acts = !facts.recovery || asksForStandby(wanted);
  const openSame = async (options: OpenOptions, signal: AbortSignal): Promise<Opened> =>
    onServer(serverId, target, await openConnection(target, { ...options, at: address }, signal));
  const openOther = (database: string, signal: AbortSignal) => openSame({ database }, signal);
  const reading = createReader({
    connection: reader,
    target: { name: target.name },
    facts: reader.server,
    openOther,
    ownPids: [reader.pid, actor.pid],
  });
  const probes = prober(openSame, byLockTimeout(target.statement_timeout));
  let closing: Promise<void> | null = null;
  /** Half a link is none: whoever reads must be able to act, on the same server. */
  const whole = async <T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    const failure = reader.failure() ?? actor.failure();
    if (failure !== null) throw failure;
    return await call();
  };
  const whatChanged = (signal: AbortSignal) => changed(reader, { wanted, recovery: facts.recovery }, signal);
  const stillSame = async (signal: AbortSignal): Promise<void> => {
    const why = await whatChanged(signal);
    if (why !== null)
      throw new LinkLost("lost", `${target.name} (${describeAddress(address)}) is another server now: ${why}`);
  };
  /** Never to a server that was not judged, nor to one in recovery that nobody asked for. */
  const send = async (order: Order, signal: AbortSignal): Promise<Sent> => {
    if (order.evidence.serverId !== serverId) return { kind: "changed" };
    if (!acts) return { kind: "denied", error: inRecovery, unsent: true };
    if ((await whatChanged(signal)) !== null) return { kind: "changed" };
    return order.action === "rollback-prepared"
      ? await rollbackPrepared(openOther, order, signal)
      : await act(actor, order, signal);
  };
  return {
    capabilities: { ...capabilities(reader.versionNumber), acts },
    facts,
    read: (look, signal) =>
      whole(signal, async () => {
        await stillSame(signal);
        return await reading.read(look, signal);
      }),
    act: (order, signal) => whole(signal, () => send(order, signal)),
    prove: (evidence, signal) => whole(signal, () => prove(reader, evidence, signal)),
    readyToProbe: (database, signal) => whole(signal, () => probes.ready(database, signal)),
    probe: (probe, signal) => whole(signal, () => probes.probe(probe, signal)),
    lease: (signal) => whole(signal, () => lease(signal)),
    check: (signal) => whole(signal, () => check(reader, signal)),
    survey: (tables, signal) => {
      const { role, database } = facts;
      return whole(signal, () =>
        survey({ connection: reader, second: actor, role, database, openOther }, tables, signal),
      );
    },
    close: () => {
      closing ??= probes
        .close()
        .then(() => actor.close())
        .then(() => reader.close());
      return closing;
    },
  };
}

export const inRecovery =
  "this server is in recovery (a standby), where Lockwarden only observes unless the url says target_session_attrs=standby";

function capabilities(versionNumber: number): Omit<Capabilities, "acts"> {
  return {
    atomicGuard: true,
    cancel: true,
    rollbackPrepared: true,
    softBlocks: true,
    waitAge: versionNumber >= waitAgeSince,
    transactionAge: true,
    lease: true,
  };
}
