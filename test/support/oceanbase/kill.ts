import { refused } from "./errors.ts";
import { isByProxy } from "./show.ts";
import { begins, isWord, type Token } from "./tokens.ts";
import { may, type Session, type World } from "./world.ts";

/** Whether the session that asked is to end itself: in Oracle mode it is told OK first, in MySQL mode it is just lost. */
export type Killed = Readonly<{ self: boolean }>;

/** KILL [CONNECTION | QUERY] id, of both modes; OBProxy v1 takes the id for one of its own. */
export function kill(tokens: readonly Token[], session: Session, world: World): Promise<Killed> {
  const { number, isQuery } = readKill(tokens, session);
  return end(isByProxy(session, world) ? translatedId(number, session, world) : number, isQuery, session, world);
}

/** The same inside a block, which OBProxy does not look into. */
export function killAtServer(tokens: readonly Token[], session: Session, world: World): Promise<Killed> {
  const { number, isQuery } = readKill(tokens, session);
  return end(number, isQuery, session, world);
}

function readKill(tokens: readonly Token[], { mode }: Session): { number: number; isQuery: boolean } {
  const isQuery = isWord(tokens[1], "QUERY");
  const rest = tokens.slice(isQuery || isWord(tokens[1], "CONNECTION") ? 2 : 1);
  const id = rest.map(({ value }) => value).join("");
  if (id === "") throw refused(mode, { kind: "syntax", near: "" });
  return { number: sessionNumber(id), isQuery };
}

/** ALTER SYSTEM KILL SESSION 'id[, serial#]' [IMMEDIATE], of Oracle mode alone; OBProxy passes it on as it is. */
export function killSession(tokens: readonly Token[], session: Session, world: World): Promise<Killed> {
  const [argument, immediate, more] = tokens.slice(4);
  const isBoth = argument?.value.includes(",") === true && immediate !== undefined;
  const isKnown =
    session.mode === "oracle" &&
    argument?.kind === "string" &&
    (immediate === undefined || isWord(immediate, "IMMEDIATE")) &&
    more === undefined &&
    (!isBoth || world.killGrammar === "both");
  if (!isKnown) throw refused(session.mode, { kind: "syntax", near: (isBoth ? immediate : argument)?.value ?? "KILL" });
  if (!may(session, world, "alterSystem")) throw refused(session.mode, { kind: "privilege", needed: "ALTER SYSTEM" });
  return end(sessionNumber(argument.value), false, session, world);
}

export function isKillSession(tokens: readonly Token[]): boolean {
  return begins(tokens, "ALTER", "SYSTEM", "KILL", "SESSION");
}

/** As the server reads it: up to the first comma, junk is 0, and what is longer than 32 bits wraps to another session. */
export function sessionNumber(text: string): number {
  const digits = /^\s*([+-]?\d+)/.exec(text.split(",")[0] ?? "")?.[1] ?? "0";
  return Number(BigInt.asUintN(32, BigInt(digits)));
}

/** The proxy's own number to the server's. */
function translatedId(number: number, session: Session, world: World): number {
  const target = [...world.sessions.values()].find(
    ({ proxyId, tenant }) => proxyId === number && tenant === session.tenant,
  );
  if (target === undefined) throw refused(session.mode, { kind: "unknown-thread", id: number });
  return target.id;
}

async function end(id: number, isQuery: boolean, session: Session, world: World): Promise<Killed> {
  const target = world.sessions.get(id);
  const isSystem = session.tenant === "sys";
  const isUnknown = target === undefined || (!isSystem && target.tenant !== session.tenant);
  // Recorded: KILL QUERY of nobody is OK.
  if (isUnknown && isQuery) return { self: false };
  if (isUnknown) throw refused(session.mode, { kind: "unknown-thread", id });
  if (!isSystem && target.user !== session.user && !may(session, world, "super"))
    throw refused(session.mode, { kind: "not-owner", id });
  if (isQuery) return killQuery(target, session, world);
  if (target === session && session.mode === "oracle") return { self: true };
  if (world.switches.killed === "linger") {
    target.state = "SESSION_KILLED";
    target.socket.destroy();
  } else await endSession(target, world);
  return { self: false };
}

/** Ends what runs, never the transaction: of an idle holder it frees nothing, and still says OK. */
async function killQuery(target: Session, session: Session, world: World): Promise<Killed> {
  if (target === session) throw refused(session.mode, { kind: "interrupted" });
  // Recorded: an idle session shows this too, until its next statement, which runs all the same.
  target.state = "QUERY_KILLED";
  if (target.command === "Query") await interrupt(target, world, "killed");
  return { self: false };
}

/** Cancels the running statement behind the double; the statement's own end waits for this one. */
export async function interrupt(target: Session, world: World, why: "killed" | "timeout"): Promise<void> {
  if (target.interruption !== null || target.ended) return;
  target.interruption = why;
  target.cancelling = world.ask("select pg_cancel_backend($1)", [target.backendPid]);
  await target.cancelling;
}

/** Ends the session: its transaction is rolled back when this returns, and its client has lost the connection. */
export async function endSession(target: Session, world: World): Promise<void> {
  if (target.ended) return;
  target.ended = true;
  target.state = "SESSION_KILLED";
  await world.ask("select pg_terminate_backend($1, 10000)", [target.backendPid]);
  if (world.sessions.get(target.id) === target) world.sessions.delete(target.id);
  target.socket.destroy();
  await target.backend.end().catch(() => undefined);
}
