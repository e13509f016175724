import { chmodSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Account } from "./accounts.ts";
import type { Seats } from "./seats.ts";

// What the catalog's functions must know of the front: a file beside the server, written at once, so that a statement
// which is passed on later finds it. And what they tell the front: lines in the server's log.

export type Ledger = Readonly<{
  file: string;
  /** Writes it down, if anything has changed. */
  settle(): void;
  touch(): void;
  prepare(gid: string, sessionId: number): void;
  setVersion(text: string): void;
}>;

export function ledger(folder: string, seats: Seats, accounts: ReadonlyMap<string, Account>, version: string): Ledger {
  const file = join(folder, "front.json");
  const prepared = new Map<string, number>();
  const state = { version, revision: -1 };
  const named = (right: "monadmin" | "persistence") =>
    [...accounts.values()].filter((account) => account[right]).map(({ name }) => name);
  const touch = () => void (state.revision = -1);
  const settle = () => {
    if (state.revision === seats.revision()) return;
    state.revision = seats.revision();
    const text = JSON.stringify({
      version: state.version,
      monadmin: named("monadmin"),
      persistence: named("persistence"),
      idleWorkers: seats.idleWorkers(),
      prepared: [...prepared].map(([gid, sessionid]) => ({ gid, sessionid })),
      seats: seats.all().map((seat) => ({
        backend: seat.backendPid,
        port: seat.backendPort,
        pid: seat.pid,
        sessionid: seat.sessionId,
        client_addr: seat.clientAddress,
        client_port: seat.clientPort,
      })),
    });
    writeFileSync(`${file}.new`, text);
    chmodSync(`${file}.new`, 0o644);
    renameSync(`${file}.new`, file);
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
