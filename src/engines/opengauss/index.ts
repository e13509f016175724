import type { Target } from "../../config/schema.ts";
import type { Order, Sent } from "../../core/decision.ts";
import { type Capabilities, type Link, LinkLost } from "../engine.ts";
import { describeAddress, parseAddresses } from "../postgres/address.ts";
import { inRecovery, isAboutDatabase, leaderDenied, onServer } from "../postgres/index.ts";
import { leaseOn } from "../postgres/lease.ts";
import { type Opened, type OpenOptions, openAs } from "../postgres/open.ts";
import { prober } from "../postgres/probe.ts";
import { asksForStandby, changed } from "../postgres/suitable.ts";
import { check } from "./check.ts";
import { type ActingProduct, act, wayOf } from "./guard.ts";
import { byWatching } from "./probe.ts";
import { prove } from "./prove.ts";
import { rollbackPrepared } from "./rollback-prepared.ts";
import { type GaussSetUp, pooled, setUpGauss } from "./set-up.ts";
import { createReader } from "./snapshot.ts";
import { survey } from "./survey.ts";
import { keepThread } from "./thread.ts";
import { hiddenSessions, hiddenText } from "./visibility.ts";

export type Session = Opened & GaussSetUp;

/**
 * Two sessions that stay open, as on PostgreSQL: this reader, and the actor in leader_database, which has the lock among
 * daemons. With a thread pool both keep a thread, so that they can look and signal when all others are taken.
 */
export async function linkOn(target: Target, reader: Session, signal: AbortSignal): Promise<Link> {
  try {
    const actor = await openActor(target, reader, signal);
    try {
      await refusePooler(target, { reader, actor }, signal);
      await reader.settle(signal);
      await actor.settle(signal);
      if (reader.product.threadPool) for (const session of [reader, actor]) await keepThread(session, signal);
      return link(target, reader, actor);
    } catch (error) {
      await actor.close();
      throw error;
    }
  } catch (error) {
    await reader.close();
    throw error;
  }
}

function open(
  target: Target,
  { product, address }: Session,
  { unsettled = false, ...options }: OpenOptions & Readonly<{ unsettled?: boolean }>,
  signal: AbortSignal,
): Promise<Session> {
  const named = { name: product.name, version: product.version };
  const setUp = (...[wire, login, bound]: Parameters<Parameters<typeof openAs<GaussSetUp>>[0]>) =>
    setUpGauss(wire, { named, login, unsettled }, bound);
  return openAs(setUp, { target, options: { ...options, at: address } }, signal);
}

async function openActor(target: Target, reader: Session, signal: AbortSignal): Promise<Session> {
  const database = target.leader_database;
  const actor = await open(target, reader, { database, unsettled: true }, signal).catch((error: unknown) => {
    throw error instanceof LinkLost && isAboutDatabase(error) ? leaderDenied(error, target, reader) : error;
  });
  return await onServer(reader.server.serverId, target, actor);
}

/**
 * The key with which a client may cancel says nothing here. Two connections that are one session on the server are proof of
 * a pooler that hands sessions around; where the server sees another port than ours, and the two cannot be compared as they
 * are in two databases, a third one is opened to compare with. One that gives each client a session of its own goes unseen.
 */
async function refusePooler(target: Target, { reader, actor }: Ours, signal: AbortSignal): Promise<void> {
  if (actor.sessionId === reader.sessionId) throw pooled(shared(actor));
  if (actor.direct || actor.server.database === reader.server.database) return;
  const third = await open(target, actor, { database: actor.server.database, unsettled: true }, signal);
  await third.close();
  if (third.sessionId === actor.sessionId) throw pooled(shared(actor));
}

const shared = ({ sessionId }: Session) => `two connections are one session (${sessionId})`;

type Ours = Readonly<{ reader: Session; actor: Session }>;

function link(target: Target, reader: Session, actor: Session): Link {
  const { serverId, ...facts } = reader.server;
  const { product, address } = reader;
  const { wanted } = parseAddresses(target.url ?? "");
  const acts = !facts.recovery || asksForStandby(wanted);
  const lease = leaseOn(actor);
  const openSame = async (options: OpenOptions, signal: AbortSignal): Promise<Session> =>
    onServer(serverId, target, await open(target, reader, options, signal));
  const openOther = (database: string, signal: AbortSignal) => openSame({ database }, signal);
  const own = [reader.sessionId, actor.sessionId];
  const reading = createReader({
    connection: reader,
    target: { name: target.name },
    product,
    facts: reader.server,
    openOther,
    own,
  });
  const probes = prober(openSame, byWatching(reader, target.statement_timeout));
  let closing: Promise<void> | null = null;
  /** Half a link is none: whoever reads must be able to act, on the same server. */
  const whole = async <T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    const failure = reader.failure() ?? actor.failure();
    if (failure !== null) throw failure;
    return await call();
  };
  const whatChanged = (signal: AbortSignal) => changed(reader, { wanted, recovery: facts.recovery }, signal);
  const look = (signal: AbortSignal) => reading.read({ sessions: "transactions", locks: true, prepared: true }, signal);
  /** Never to a server that was not judged, nor to one in recovery that nobody asked for, nor half blind. */
  const send = async (order: Order, signal: AbortSignal): Promise<Sent> => {
    if (order.evidence.serverId !== serverId) return { kind: "changed" };
    if (!acts) return { kind: "denied", error: inRecovery, unsent: true };
    if ((await whatChanged(signal)) !== null) return { kind: "changed" };
    const hidden = await hiddenSessions(reader, product, signal);
    if (hidden.length > 0) return { kind: "denied", error: blind(hidden, facts.role), unsent: true };
    return order.action === "rollback-prepared"
      ? await rollbackPrepared({ open: openOther, look }, order, signal)
      : await act(actor, order, { ...actor.product, killWith: target.kill_with }, signal);
  };
  return {
    capabilities: { ...capabilities({ ...product, killWith: target.kill_with }), acts },
    facts,
    read: (asked, signal) =>
      whole(signal, async () => {
        const why = await whatChanged(signal);
        if (why !== null)
          throw new LinkLost("lost", `${target.name} (${describeAddress(address)}) is another server now: ${why}`);
        return await reading.read(asked, signal);
      }),
    act: (order, signal) => whole(signal, () => send(order, signal)),
    prove: (evidence, signal) => whole(signal, () => prove(reader, evidence, product, signal)),
    readyToProbe: (database, signal) => whole(signal, () => probes.ready(database, signal)),
    probe: (probe, signal) => whole(signal, () => probes.probe(probe, signal)),
    lease: (signal) => whole(signal, () => lease(signal)),
    check: (signal) => whole(signal, () => check(reader, product, signal)),
    survey: (tables, signal) => {
      const { role, database } = facts;
      const source = { connection: reader, second: actor, role, database, openOther };
      return whole(signal, () => survey(source, tables, signal));
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

function blind(hidden: readonly string[], role: string): string {
  return `${hiddenText(hidden.length)} (${role}): alter its user to MONADMIN; see lockwarden check`;
}

function capabilities(product: ActingProduct): Omit<Capabilities, "acts"> {
  const way = wayOf("terminate", product);
  return {
    // By KILL SESSION a session is read again just before, and that is all.
    atomicGuard: !("way" in way && way.way === "kill-session"),
    cancel: !("impossible" in wayOf("cancel", product)),
    rollbackPrepared: true,
    softBlocks: true,
    waitAge: false,
    transactionAge: true,
    lease: true,
  };
}
