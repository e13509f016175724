import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { LinkLost } from "../engine.ts";
import type { Connection, Row, Value } from "./connection.ts";
import { endsSession, lostFailure, type Place } from "./failure.ts";

/** A logged-in client that fails for good at its first loss, and never by silence. */
export type Wire = Pick<Connection, "query" | "queryPrepared" | "isOpen" | "close"> &
  Readonly<{
    /** Why it is not open any more; null: it is. */
    failure(): LinkLost | null;
    /** Without a goodbye. */
    destroy(): void;
  }>;

export type WireOptions = Readonly<{
  place: Place;
  /** More than the server's own statement_timeout: past it the network has swallowed something. */
  answerWithinMs: number;
}>;

const goodbyeMs = 1_000;

export function wrap(client: pg.Client, { place, answerWithinMs }: WireOptions): Wire {
  let failure: LinkLost | null = null;
  let turn: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | null = null;

  const lose = (reason: LinkLost): LinkLost => {
    failure ??= reason;
    client.connection.stream.destroy();
    return failure;
  };
  client.on("error", (error) => lose(lostFailure(error, place)));
  client.on("end", () => lose(lostFailure(new Error("the server closed it"), place)));

  const names = new Map<string, string>();
  const nameOf = (sql: string): string => {
    const name = names.get(sql) ?? `lockwarden_${names.size}`;
    names.set(sql, name);
    return name;
  };
  const ask = async (asked: Asked, signal: AbortSignal): Promise<readonly Row[]> => {
    signal.throwIfAborted();
    if (failure !== null) throw failure;
    return await send(client, { ...asked, signal, place, answerWithinMs, lose });
  };
  const inTurn = (asked: Asked, signal: AbortSignal): Promise<readonly Row[]> => {
    // One after the other: the time to answer counts from the moment a statement is sent.
    const answer = turn.then(() => ask(asked, signal));
    turn = answer.catch(() => undefined);
    return answer;
  };

  return {
    isOpen: () => failure === null,
    failure: () => failure,
    destroy: () => void lose(closed(place)),
    // Extended: the server then takes one statement in one message, whatever the text.
    query: (sql, values, signal) => inTurn({ text: sql, values: [...values], queryMode: "extended" }, signal),
    queryPrepared: (sql, values, signal) => inTurn({ name: nameOf(sql), text: sql, values: [...values] }, signal),
    close: () => {
      closing ??= failure === null ? sayGoodbye() : Promise.resolve();
      return closing;
    },
  };

  async function sayGoodbye(): Promise<void> {
    failure ??= closed(place);
    await Promise.race([client.end(), sleep(goodbyeMs, undefined, { ref: false })]);
    client.connection.stream.destroy();
  }
}

/** With a name: prepared under it, once for the session. */
type Asked = Readonly<{ name?: string; text: string; values: Value[]; queryMode?: string }>;
type Statement = WireOptions & Asked & Readonly<{ signal: AbortSignal; lose(reason: LinkLost): LinkLost }>;

/** One statement, until it is answered, aborted, lost, or not answered in time. */
function send(client: pg.Client, statement: Statement): Promise<readonly Row[]> {
  const { signal, place, answerWithinMs, lose, ...asked } = statement;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(lose(silent(place, answerWithinMs))), answerWithinMs);
    const abort = () => {
      // A cancel would need a connection of its own; the server ends the statement at its statement_timeout.
      lose(aborted(place));
      reject(signal.reason);
    };
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort, { once: true });
    client
      .query<Row>(asked)
      .then(({ rows }) => resolve(rows))
      .catch((error: unknown) => reject(endsSession(error) ? lose(lostFailure(error, place)) : error))
      .finally(done);
  });
}

function closed(place: Place): LinkLost {
  return new LinkLost("lost", `the connection to ${place.target} (${place.where}) is closed`);
}

function silent(place: Place, withinMs: number): LinkLost {
  return new LinkLost(
    "lost",
    `the connection to ${place.target} (${place.where}) is silent: no answer in ${withinMs} ms`,
    {
      hint: "check the network between here and the server: it swallows packets",
    },
  );
}

function aborted(place: Place): LinkLost {
  return new LinkLost("lost", `the connection to ${place.target} (${place.where}) was closed: a call was aborted`);
}
