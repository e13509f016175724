import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import pg from "pg";
import { dressed, ServerError } from "./errors.ts";
import { endSession } from "./kill.ts";
import { type Login, plainName, provesPassword, readLogin } from "./login.ts";
import { error, frame, greeting, ok, packetReader, resultSet } from "./packets.ts";
import { useDatabase } from "./settings.ts";
import { type Answer, run } from "./statements.ts";
import { type Mode, type Session, schemaOf, type World } from "./world.ts";

/** How a client came in: the ids that it and the server know it by. */
export type Arrival = Readonly<{ id: number; threadId: number; proxyId: number | null }>;

const status = { inTransaction: 1, autocommit: 2, oracle: 4 };
const command = { quit: 1, initDatabase: 2, query: 3, ping: 14 };

/** Serves one client: greeting, login, then one command after the other. */
export function serve(
  socket: Socket,
  arrival: Arrival,
  { world, backendUrl }: { world: World; backendUrl: string },
): void {
  const salt = randomSalt();
  let session: Session | null = null;
  let turn: Promise<void> = Promise.resolve();
  const handle = async (payload: Buffer, sequence: number) => {
    if (session === null) session = await admit(payload, sequence, { socket, arrival, world, backendUrl, salt });
    else await obey(payload, session, world);
  };
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on(
    "data",
    packetReader((payload, sequence) => {
      turn = turn.then(() => handle(payload, sequence)).catch(() => void socket.destroy());
    }),
  );
  socket.on("close", () => {
    // A killed session that lingers outlives its client.
    const ended = session;
    if (ended !== null && ended.state !== "SESSION_KILLED") endSession(ended, world).catch(() => undefined);
  });
  send(socket, [greeting(arrival.threadId, salt)], 0);
}

/** The salt is sent as text that ends with a zero, so it holds none. */
function randomSalt(): Buffer {
  return Buffer.from(randomBytes(20).map((byte) => (byte % 94) + 33));
}

function send(socket: Socket, payloads: readonly Buffer[], from: number): void {
  if (!socket.destroyed) socket.write(Buffer.concat(payloads.map((payload, at) => frame(payload, from + at))));
}

type Door = Readonly<{ socket: Socket; arrival: Arrival; world: World; backendUrl: string; salt: Buffer }>;

async function admit(payload: Buffer, sequence: number, door: Door): Promise<Session | null> {
  const { socket, world } = door;
  try {
    const login = readLogin(payload);
    const mode = checkLogin(login, door);
    const session = await openSession(login, mode, door);
    send(socket, [ok(0, statusOf(session) | (mode === "oracle" ? status.oracle : 0))], sequence + 1);
    return session;
  } catch (failure) {
    refuse(socket, failure, sequence + 1, world);
    socket.end();
    return null;
  }
}

/** The password comes first, the client's capability after it. */
function checkLogin(login: Login, { world, arrival, salt }: Door): Mode {
  if (arrival.proxyId !== null && login.cluster !== world.cluster)
    throw new ServerError(4669, "HY000", "cluster not exist");
  const mode = login.tenant === "sys" ? "mysql" : world.mode;
  const account = world.accounts.find(login.tenant, plainName(login.user, mode));
  if (account === undefined || !provesPassword(account.password, salt, login.proof)) {
    // Recorded: the address is written so, and a tenant that is not there is refused in the same words.
    const using = login.proof.length === 0 ? "NO" : "YES";
    throw new ServerError(
      1045,
      "42000",
      `Access denied for user '${login.user}'@'xxx.xxx.xxx.xxx' (using password: ${using})`,
    );
  }
  if (mode === "oracle" && !login.speaksOracle)
    throw new ServerError(1235, "0A000", "Oracle tenant for current client driver is not supported");
  if (mode === "oracle" && !account.createSession && !account.administrator)
    throw new ServerError(
      1045,
      "42000",
      `ORA-01045: user ${account.name} lacks CREATE SESSION privilege; logon denied`,
    );
  return mode;
}

async function openSession(login: Login, mode: Mode, { socket, arrival, world, backendUrl }: Door): Promise<Session> {
  const backend = new pg.Client({ connectionString: backendUrl, application_name: String(arrival.id) });
  backend.on("error", () => undefined);
  await backend.connect();
  const user = plainName(login.user, mode);
  const pid = await backend.query<{ pid: number }>("select pg_backend_pid() as pid");
  const session: Session = {
    id: arrival.id,
    mode,
    tenant: login.tenant,
    user,
    host: `127.0.0.1:${socket.remotePort ?? 0}`,
    proxyId: arrival.proxyId,
    socket,
    backend,
    backendPid: pid.rows[0]?.pid ?? 0,
    database: mode === "oracle" ? user : null,
    autocommit: world.variables.get("autocommit") !== "0",
    transaction: null,
    command: "Sleep",
    state: "SLEEP",
    info: null,
    module: "",
    since: performance.now(),
    statements: 0,
    table: null,
    interruption: null,
    cancelling: null,
    ended: false,
    variables: new Map([["ob_compatibility_mode", mode === "oracle" ? "ORACLE" : "MYSQL"]]),
  };
  try {
    if (login.database !== null) await useDatabase(login.database, session);
    else await backend.query(`set search_path to "${schemaOf(session).replaceAll('"', '""') || "ob"}", ob`);
  } catch (failure) {
    await backend.end();
    throw failure;
  }
  if (socket.destroyed) {
    await backend.end();
    throw new Error("the client left before its session was there");
  }
  world.sessions.set(session.id, session);
  return session;
}

function statusOf({ autocommit, transaction }: Session): number {
  return (autocommit ? status.autocommit : 0) | (transaction === null ? 0 : status.inTransaction);
}

async function obey(payload: Buffer, session: Session, world: World): Promise<void> {
  const { socket } = session;
  const text = payload.toString("utf8", 1);
  switch (payload[0] ?? 0) {
    case command.quit:
      socket.end();
      await endSession(session, world);
      return;
    case command.ping:
      send(socket, [ok(0, statusOf(session))], 1);
      return;
    case command.initDatabase:
    case command.query:
      await answer(payload[0] === command.query ? text : `use \`${text}\``, session, world);
      return;
    default:
      refuse(socket, new ServerError(1235, "0A000", `the double speaks no command ${payload[0]}`), 1, world);
  }
}

async function answer(sql: string, session: Session, world: World): Promise<void> {
  const statement = { sessionId: session.id, user: session.user, tenant: session.tenant, sql };
  world.statements.push(statement);
  try {
    await world.switches.before?.(statement);
    turnTo(session, "Query", sql);
    const result = await run(sql, session, world);
    turnTo(session, "Sleep", null);
    tell(session, result);
    if (result.kind === "ok" && result.last) await endSession(session, world);
  } catch (failure) {
    turnTo(session, "Sleep", null);
    if (!session.ended) refuse(session.socket, failure, 1, world);
  }
}

/** A killed session stays one. */
function turnTo(session: Session, to: Session["command"], info: string | null): void {
  session.command = to;
  session.info = info;
  session.statements += 1;
  session.since = performance.now();
  if (session.state !== "SESSION_KILLED") session.state = to === "Sleep" ? "SLEEP" : "ACTIVE";
}

function tell(session: Session, result: Answer): void {
  if (session.ended) return;
  const flags = statusOf(session);
  const packets = result.kind === "ok" ? [ok(result.affected, flags)] : resultSet(result.columns, result.rows, flags);
  send(session.socket, packets, 1);
}

/** What is no refusal of the server's is a mistake of the double's, and says so. */
function refuse(socket: Socket, failure: unknown, sequence: number, { switches }: World): void {
  const refusal =
    failure instanceof ServerError ? failure : new ServerError(1105, "HY000", `the double failed: ${String(failure)}`);
  send(socket, [error(refusal.errno, refusal.sqlState, dressed(refusal.message, switches))], sequence);
}
