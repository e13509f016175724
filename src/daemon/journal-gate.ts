import type { JournalEvent } from "../core/journal-event.ts";
import type { Log } from "./log-port.ts";

/** A journal that may be missing or failing: watching goes on without it, acting does not. */
export type JournalGate = Readonly<{
  works(): boolean;
  /** Why it does not; null when it does. */
  trouble(): string | null;
  /** Resolves when the event is on disk; rejects, and stops the acting, when it cannot be written. */
  write(event: JournalEvent): Promise<void>;
  /** While it is broken: tries again to write to it, at most every few seconds. */
  mend(): Promise<void>;
  close(): Promise<void>;
}>;

type Journal = Readonly<{ append(event: JournalEvent): Promise<void>; close(): Promise<void> }>;

export type GateContext = Readonly<{
  open(): Promise<Journal>;
  log: Log;
  /** Told when the journal breaks and when it works again. */
  shout(text: string): void;
  newId(): string;
  now(): Date;
}>;

const retryMs = 5_000;

export function journalGate({ open, log, shout, newId, now }: GateContext): JournalGate {
  /** Opened once, however many ask for it meanwhile: what one writer cuts off after a failure may be another's line. */
  let journal: Promise<Journal> | null = null;
  let broken: string | null = null;
  let triedAt = Number.NEGATIVE_INFINITY;

  const opened = (): Promise<Journal> => {
    journal ??= open().catch((error: unknown) => {
      journal = null;
      throw error;
    });
    return journal;
  };
  const append = async (event: JournalEvent): Promise<void> => {
    try {
      await (await opened()).append(event);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (broken === null) {
        log.error({}, `nothing is acted on: ${text}`);
        shout(`Lockwarden does not act any more: ${text}`);
      }
      broken = text;
      triedAt = performance.now();
      throw error;
    }
    if (broken === null) return;
    broken = null;
    log.warn({}, "the journal can be written again: Lockwarden acts again");
    shout("the journal can be written again: Lockwarden acts again");
  };
  return {
    works: () => broken === null,
    trouble: () => broken,
    write: append,
    mend: async () => {
      if (broken === null || performance.now() - triedAt < retryMs) return;
      const reason = { code: "journal", text: "the journal can be written again", facts: {} };
      await append({ v: 1, id: newId(), at: now().toISOString(), target: null, event: "resumed", reason }).catch(
        () => undefined,
      );
    },
    close: async () => {
      // One that could not be opened has been told of.
      await (await journal?.catch(() => null))?.close();
    },
  };
}

/** The same gate; whoever follows is shown what is on disk. */
export function followed(gate: JournalGate, follow: (event: JournalEvent) => void): JournalGate {
  const write = async (event: JournalEvent): Promise<void> => {
    await gate.write(event);
    follow(event);
  };
  return { ...gate, write };
}
