import type { Target } from "../../config/schema.ts";
import type { Order, Sent } from "../../core/decision.ts";
import { type Capabilities, type Link, LinkLost, type ServerFacts } from "../engine.ts";
import { act } from "./act.ts";
import { check, whyNotAct } from "./check.ts";
import { hasLease, leaseOn } from "./lease.ts";
import { type Opened, openConnection } from "./open.ts";
import { prober } from "./probe.ts";
import { prove } from "./prove.ts";
import { createReader } from "./snapshot.ts";
import { survey } from "./survey.ts";

/**
 * Two sessions that stay open: the reader, and the actor, which holds the lock among daemons and sends the signals. In a
 * pile-up no act needs a new connection.
 */
export async function connect(target: Target, signal: AbortSignal): Promise<Link> {
  const reader = await openConnection(target, {}, signal);
  try {
    const actor = await openSame(target, reader, null, signal);
    try {
      return link(target, { reader, actor, leased: await hasLease(actor, signal) });
    } catch (error) {
      await actor.close();
      throw error;
    }
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** One more session; closed again when another tenant answers. Which server of its cluster it is on does not matter. */
async function openSame(
  target: Target,
  { address, recognised }: Opened,
  database: string | null,
  signal: AbortSignal,
): Promise<Opened> {
  const opened = await openConnection(target, { at: address, database }, signal);
  if (opened.recognised.serverId === recognised.serverId) return opened;
  await opened.close();
  throw new LinkLost("unreachable", `two connections to ${target.name} reached two tenants, or two copies of one`, {
    hint: "if it stays so, name one server in the url: its host stands for several",
  });
}

type Parts = Readonly<{ reader: Opened; actor: Opened; leased: boolean }>;

function link(target: Target, { reader, actor, leased }: Parts): Link {
  const { serverId } = reader.recognised;
  const facts = factsOf(reader);
  const denied = whyNotAct(actor.server, reader.recognised.standby);
  const lease = leaseOn(actor);
  // Probes' sessions are added when they are opened.
  const own = [reader.server.sessionId, actor.server.sessionId];
  const reading = createReader({
    connection: reader,
    target: { name: target.name },
    facts: { ...facts, serverId },
    own,
  });
  const probes = prober(target.statement_timeout, async (database, signal) => {
    const opened = await openSame(target, reader, database ?? reader.address.database, signal);
    own.push(opened.server.sessionId);
    return opened;
  });
  let closing: Promise<void> | null = null;
  /** Half a link is none: whoever reads must be able to act, in the same tenant. */
  const whole = async <T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    const failure = reader.failure() ?? actor.failure();
    if (failure !== null) throw failure;
    return await call();
  };
  /** Never to a tenant that was not judged, nor where an id means somebody else. */
  const send = async (order: Order, signal: AbortSignal): Promise<Sent> => {
    if (order.evidence.serverId !== serverId) return { kind: "changed" };
    if (denied !== null) return { kind: "denied", error: denied, unsent: true };
    return await act(actor, order, signal);
  };
  return {
    capabilities: { ...capabilities(reader, leased), acts: denied === null },
    facts,
    read: (look, signal) => whole(signal, () => reading.read(look, signal)),
    act: (order, signal) => whole(signal, () => send(order, signal)),
    prove: (evidence, signal) => whole(signal, () => prove(reader, evidence, signal)),
    readyToProbe: (database, signal) => whole(signal, () => probes.ready(database, signal)),
    probe: (probe, signal) => whole(signal, () => probes.probe(probe, signal)),
    lease: (signal) => whole(signal, () => lease.ask(signal)),
    check: (signal) =>
      whole(signal, () => check(reader, { recognised: reader.recognised, lease: leased, unset: reader.unset }, signal)),
    survey: (questions, signal) =>
      whole(signal, () => survey(reader, { user: reader.recognised.user, questions }, signal)),
    close: () => {
      closing ??= probes
        .close()
        .then(() => lease.release())
        .then(() => actor.close())
        .then(() => reader.close());
      return closing;
    },
  };
}

function factsOf({ server, recognised, encrypted }: Opened): ServerFacts {
  return {
    version: `${server.version} (${server.mode === "oracle" ? "Oracle" : "MySQL"} mode)`,
    role: recognised.user,
    database: server.tenant ?? "",
    recovery: recognised.standby,
    encrypted,
  };
}

function capabilities({ server: { views } }: Opened, lease: boolean): Omit<Capabilities, "acts"> {
  return {
    // The server has no statement that compares and ends: what is sent was checked a moment before.
    atomicGuard: false,
    cancel: true,
    rollbackPrepared: false,
    softBlocks: false,
    waitAge: views.locks,
    transactionAge: views.schedulers || views.participants,
    lease,
  };
}
