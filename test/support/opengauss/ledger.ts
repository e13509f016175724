import { closeSync, fchmodSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Account } from "./accounts.ts";
import type { Seat, Seats } from "./seats.ts";

// What the catalog's functions must know of the front: a file beside the server, written at once, so that a statement
// which is passed on later finds it. And what they tell the front: lines in the server's log.

export type Ledger = Readonly<{
  file: string;
  /** Writes it down, if anything has changed. */
  settle(): void;
  touch(): void;
  prepare(gid: string, sessionId: number): void;
  setVersion(text: string): void;
  close(): void;
}>;

/** In the order in which the catalog reads them. */
const columns: readonly ((seat: Seat) => number)[] = [
  (seat) => seat.backendPid,
  (seat) => seat.backendPort,
  (seat) => seat.pid,
  // Until the session behind it has a pid, it is none that shows.
  (seat) => (seat.backendPid === 0 ? 0 : seat.sessionId),
  (seat) => seat.clientPort,
];

export function ledger(folder: string, seats: Seats, accounts: ReadonlyMap<string, Account>, version: string): Ledger {
  const file = join(folder, "front.json");
  const open = openSync(file, "w");
  fchmodSync(open, 0o644);
  let longest = 0;
  let closed = false;
  let written = 0n;
  const prepared = new Map<string, number>();
  const state = { version, revision: -1 };
  const named = (right: "monadmin" | "persistence") =>
    [...accounts.values()].filter((account) => account[right]).map(({ name }) => name);
  const touch = () => void (state.revision = -1);
  const settle = () => {
    if (closed || state.revision === seats.revision()) return;
    state.revision = seats.revision();
    const known = JSON.stringify({
      version: state.version,
      persistence: named("persistence"),
      idleWorkers: seats.idleWorkers(),
      prepared: [...prepared].map(([gid, sessionid]) => ({ gid, sessionid })),
    });
    const lists = columns.map((of) => `{${seats.all().map(of).join(",")}}`);
    const text = [
      known,
      ...lists,
      `{${named("monadmin")
        .map((name) => JSON.stringify(name))
        .join(",")}}`,
      "",
    ].join("\n");
    longest = Math.max(longest, Buffer.byteLength(text));
    const whole = text + " ".repeat(longest - Buffer.byteLength(text));
    // A file that takes another one's place, or is cut, some file systems write to the disk at once.
    const ends = Buffer.alloc(8);
    ends.writeBigUInt64BE(++written);
    writeSync(open, Buffer.concat([ends, Buffer.from(whole), ends]), 0, null, 0);
  };
  settle();
  return {
    file,
    settle,
    touch,
    prepare: (gid, sessionId) => {
      prepared.set(gid, sessionId);
      touch();
    },
    setVersion: (text) => {
      state.version = text;
      touch();
      settle();
    },
    close: () => {
      closed = true;
      closeSync(open);
    },
  };
}

/** A signal that one of the functions sent. */
export type Signalled = Readonly<{
  called: string;
  /** What the caller named. */
  thread: string;
  session: string | null;
  /** Whom it hit. */
  user: string;
  application: string;
  sessionId: string;
  by: string;
}>;

/** Takes the server's log and finds the signals in it. */
export function signalReader(found: (signal: Signalled) => void): (text: string) => void {
  let unread = "";
  return (text) => {
    const lines = (unread + text).split("\n");
    unread = lines.pop() ?? "";
    for (const line of lines) {
      const told = /opengauss-double (\{.*\})/.exec(line)?.[1];
      if (told !== undefined) found(JSON.parse(told) as Signalled);
    }
  };
}
