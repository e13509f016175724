import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { cstringAt, cstrings, encode, encodeFields, type Frame, fieldsOf, type Reader, reader } from "./frames.ts";
import { type Dialect, type Rewritten, refusedWord, rewrite } from "./rewrite.ts";
import type { Seat, Seats } from "./seats.ts";

// One session of the front, let in already, and the PostgreSQL session behind it.

export type House = Readonly<{
  backendPort: number;
  seats: Seats;
  dialect(user: string): Dialect;
  /** Writes down who sits where, if that has changed: before every statement that might ask. */
  settle(): void;
  heard(user: string, seat: Seat, sql: string, rewritten: Rewritten): void;
  /** Whether it holds a lock that outlives its transaction: then it keeps its thread. */
  holdsSessionLock(backendPid: number): Promise<boolean>;
}>;

export type Guest = Readonly<{ user: string; socket: Duplex; input: Reader; startup: Buffer; seat: Seat }>;

type Session = Guest & {
  readonly backend: Socket;
  /** What it was refused for, by number. */
  readonly refusals: NonNullable<Rewritten["refusal"]>[];
  /** Answers (ReadyForQuery) that are due. */
  due: number;
  /** Whether it holds a lock that outlives its transaction. */
  holdsLocks: boolean | "unknown";
  /** A statement that it has prepared may take or give back one, whenever it runs. */
  locksByName: boolean;
};

export async function relay(house: House, guest: Guest): Promise<void> {
  const { seat, socket } = guest;
  const backend = connect({ port: house.backendPort, host: "127.0.0.1", noDelay: true });
  backend.on("error", () => undefined);
  await new Promise((resolve) => backend.once("connect", resolve).once("close", resolve));
  house.seats.seat(seat, { port: backend.localPort ?? 0 });
  const session: Session = { ...guest, backend, refusals: [], due: 1, holdsLocks: false, locksByName: false };
  house.seats.attach(seat);
  house.settle();
  const output = reader(backend);
  const ended = new Promise<void>((resolve) => void backend.once("close", () => resolve()));
  backend.write(guest.startup);
  // Its process ends when it has noticed, which it does not while it waits for a lock; until then it keeps its seat.
  void fromClient(house, session).finally(() => backend.end());
  const last = await fromBackend(house, session, output);
  await ended;
  house.seats.close(seat);
  // What was said last comes only now: who reads it may count on the seat being free.
  if (last !== null) socket.write(last);
  socket.end();
}

async function fromClient(house: House, session: Session): Promise<void> {
  for (;;) {
    const frames = await session.input.frames();
    if (frames === null) return;
    const sent = frames.map((frame) => fromClientFrame(house, session, frame));
    house.settle();
    session.backend.write(Buffer.concat(sent));
  }
}

function fromClientFrame(house: House, session: Session, { kind, body, whole }: Frame): Buffer {
  if (kind === "X") return whole;
  house.seats.attach(session.seat);
  if (kind === "Q" || kind === "S") session.due++;
  switch (kind) {
    case "Q":
      return encode(kind, cstrings(translate(house, session, cstringAt(body, 0))));
    case "P": {
      const name = cstringAt(body, 0);
      const at = Buffer.byteLength(name) + 1;
      const sql = cstringAt(body, at);
      const rest = body.subarray(at + Buffer.byteLength(sql) + 1);
      return encode(kind, Buffer.concat([cstrings(name, translate(house, session, sql, name !== "")), rest]));
    }
    case "B":
      return encode(kind, house.dialect(session.user).emptyIsNull ? withoutEmpty(body) : body);
    default:
      return whole;
  }
}

function translate(house: House, session: Session, sql: string, named = false): string {
  const rewritten = rewrite(sql, house.dialect(session.user));
  house.heard(session.user, session.seat, sql, rewritten);
  if (rewritten.sessionLocks !== null) session.holdsLocks = "unknown";
  if (rewritten.sessionLocks === "later" || (named && rewritten.sessionLocks !== null)) session.locksByName = true;
  if (rewritten.refusal === null) return rewritten.sql;
  return `${refusedWord}${session.refusals.push(rewritten.refusal) - 1}`;
}

/** A bound '' is NULL, too. */
function withoutEmpty(body: Buffer): Buffer {
  let at = body.indexOf(0) + 1;
  at = body.indexOf(0, at) + 1;
  at += 2 + 2 * body.readInt16BE(at);
  const copy = Buffer.from(body);
  let left = body.readInt16BE(at);
  for (at += 2; left > 0; left--) {
    const length = body.readInt32BE(at);
    if (length === 0) copy.writeInt32BE(-1, at);
    at += 4 + Math.max(length, 0);
  }
  return copy;
}

/** Until the backend ends; then its last word, which the client has not got yet. */
async function fromBackend(house: House, session: Session, output: Reader): Promise<Buffer | null> {
  const { seat, socket } = session;
  for (;;) {
    const frames = await output.frames();
    if (frames === null) return null;
    const sent: Buffer[] = [];
    for (const frame of frames) {
      if (frame.kind === "K") house.seats.seat(seat, { pid: frame.body.readInt32BE(0) });
      if (frame.kind === "Z") await settleDown(house, session, frame.body.toString("latin1"));
      const told = toldFrame(session, frame);
      if (told.last !== undefined) {
        if (sent.length > 0) socket.write(Buffer.concat(sent));
        return told.last;
      }
      sent.push(told.now);
    }
    socket.write(Buffer.concat(sent));
  }
}

/** ReadyForQuery: a session of the pool leaves its thread, unless it is in a transaction or must not. */
async function settleDown(house: House, session: Session, status: string): Promise<void> {
  session.due--;
  if (session.due > 0 || status !== "I") return;
  if (session.holdsLocks === "unknown" || session.locksByName) {
    const holds = await house.holdsSessionLock(session.seat.backendPid);
    // It has said something else meanwhile: then it is asked again.
    if (session.due > 0) return;
    session.holdsLocks = holds;
  }
  if (!session.holdsLocks) house.seats.detach(session.seat);
}

const unsaid = new Set(["in_hot_standby", "default_transaction_read_only", "scram_iterations", "search_path"]);
const nothing = Buffer.alloc(0);
const refusedPattern = new RegExp(`${refusedWord}(\\d+)`);

type Told = Readonly<{ now: Buffer; last?: undefined } | { now?: undefined; last: Buffer | null }>;

function toldFrame(session: Session, { kind, body, whole }: Frame): Told {
  switch (kind) {
    case "S": {
      const name = cstringAt(body, 0);
      if (unsaid.has(name) || name.startsWith("gauss.")) return { now: nothing };
      return { now: name === "server_version" ? encode(kind, cstrings(name, "9.2.4")) : whole };
    }
    case "E": {
      const fields = complaint(session, body);
      const told = encodeFields(kind, fields);
      if (fields.get("S") !== "FATAL") return { now: told };
      // A session without a thread has nobody who could write to its client: the socket is just closed.
      return { last: session.seat.pid === 0 ? null : told };
    }
    case "N":
      return { now: encodeFields(kind, complaint(session, body)) };
    case "T":
      return { now: body.includes("gauss.") ? encode(kind, withPlainNames(body)) : whole };
    default:
      return { now: whole };
  }
}

/** Without fields that 9.2 has not got, and without places in a text that the client did not write. */
function complaint(session: Session, body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map([...fieldsOf(body)].filter(([letter]) => "SCMDH".includes(letter)));
  const refused = refusedPattern.exec(fields.get("M") ?? "");
  const refusal = session.refusals[Number(refused?.[1])];
  if (refusal !== undefined) {
    const told = [
      ["S", "ERROR"],
      ["C", refusal.code],
      ["M", refusal.message],
    ] as const;
    return new Map(told);
  }
  for (const [letter, text] of fields) if (letter !== "C") fields.set(letter, text.replaceAll("gauss.", ""));
  return fields;
}

/** RowDescription of `show gauss.name`. */
function withPlainNames(body: Buffer): Buffer {
  const parts = [body.subarray(0, 2)];
  for (let at = 2; at < body.length; ) {
    const name = cstringAt(body, at);
    at += Buffer.byteLength(name) + 1;
    parts.push(cstrings(name.replace(/^gauss\./, "")), body.subarray(at, at + 18));
    at += 18;
  }
  return Buffer.concat(parts);
}
