import { setTimeout as sleep } from "node:timers/promises";
import { LinkLost } from "../engine.ts";
import type { Connection, Row } from "./connection.ts";
import { type DriverConnection, hangUp } from "./driver.ts";
import { endsSession } from "./errors.ts";
import { lostFailure, type Place } from "./failure.ts";

/** A logged-in client that fails for good at its first loss, and never by silence. */
export type Wire = Pick<Connection, "query" | "failure" | "close"> & Readonly<{ destroy(): void }>;

export type WireOptions = Readonly<{
  place: Place;
  /** More than the server's own timeout: past it the network has swallowed something. */
  answerWithinMs: number;
}>;

const goodbyeMs = 1_000;

export function wrap(client: DriverConnection, { place, answerWithinMs }: WireOptions): Wire {
  let failure: LinkLost | null = null;
  let turn: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | null = null;
  let pending: ((reason: LinkLost) => void) | null = null;

  const lose = (reason: LinkLost): LinkLost => {
    failure ??= reason;
    hangUp(client);
    // The driver leaves a statement without an answer when it is hung up on.
    pending?.(failure);
    return failure;
  };
  client.on("error", (error: unknown) => lose(lostFailure(error, place)));
  client.on("end", () => lose(lostFailure(new Error("the server closed it"), place)));

  const ask = async (sql: string, signal: AbortSignal): Promise<readonly Row[]> => {
    signal.throwIfAborted();
    if (failure !== null) throw failure;
    const fail = (reject: (reason: LinkLost) => void) => {
      pending = reject;
    };
    return await send(client, { sql, signal, place, answerWithinMs, lose, fail });
  };
  return {
    failure: () => failure,
    destroy: () => void lose(closed(place)),
    query: (sql, signal) => {
      // One after the other: the time to answer counts from the moment a statement is sent.
      const answer = turn.then(() => ask(sql, signal));
      turn = answer.catch(() => undefined);
      return answer;
    },
    close: () => {
      closing ??= failure === null ? sayGoodbye() : Promise.resolve();
      return closing;
    },
  };

  async function sayGoodbye(): Promise<void> {
    failure ??= closed(place);
    const ended = new Promise<void>((resolve) => {
      client.end(() => resolve());
    });
    await Promise.race([ended, sleep(goodbyeMs, undefined, { ref: false })]);
    hangUp(client);
  }
}

type Statement = WireOptions &
  Readonly<{
    sql: string;
    signal: AbortSignal;
    lose(reason: LinkLost): LinkLost;
    fail(reject: (reason: LinkLost) => void): void;
  }>;

/** One statement, until it is answered, aborted, lost, or not answered in time. */
function send(client: DriverConnection, statement: Statement): Promise<readonly Row[]> {
  const { sql, signal, place, answerWithinMs, lose, fail } = statement;
  return new Promise((resolve, reject) => {
    fail(reject);
    const timer = setTimeout(() => reject(lose(silent(place, answerWithinMs))), answerWithinMs);
    const abort = () => {
      // The server ends the statement at its ob_query_timeout.
      reject(signal.reason);
      lose(new LinkLost("lost", `${connectionTo(place)} was closed: a call was aborted`));
    };
    signal.addEventListener("abort", abort, { once: true });
    client.query(sql, (error: unknown, rows: unknown) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      if (error === null || error === undefined) resolve(asRows(rows));
      else reject(endsSession(error) ? lose(lostFailure(error, place)) : error);
    });
  });
}

/** A statement that returns no rows is answered by a record of another kind. */
function asRows(answer: unknown): readonly Row[] {
  if (!Array.isArray(answer)) return [];
  return answer.map((row: Record<string, string | null>) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name.toUpperCase(), value])),
  );
}

function connectionTo({ target, where }: Place): string {
  return `the connection to ${target} (${where})`;
}

function closed(place: Place): LinkLost {
  return new LinkLost("lost", `${connectionTo(place)} is closed`);
}

function silent(place: Place, withinMs: number): LinkLost {
  return new LinkLost("lost", `${connectionTo(place)} is silent: no answer in ${withinMs} ms`, {
    hint: "check the network between here and the server: it swallows packets",
  });
}
