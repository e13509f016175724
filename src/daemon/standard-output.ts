import { fstatSync, write } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";

/** Where lines go. `write` neither waits nor throws. */
export type Destination = Readonly<{
  kind: "plain" | "journal" | "terminal" | "colour-terminal";
  write(line: string): void;
  /** Until everything is written or given up, at most about a second. */
  flush(): Promise<void>;
}>;

const busyMs = 50;
const flushMs = 1_000;
const mostPending = 4_000_000;

/**
 * Standard output (1) or error (2), written by a thread of the pool: `process.stdout` blocks the whole daemon while its
 * reader sleeps (a terminal after Ctrl-S), and a pipe whose reader is gone ends it. Lines beyond 4 MB are dropped, and told.
 */
export function standardOutput(descriptor: 1 | 2 = 1, env: NodeJS.ProcessEnv = process.env): Destination {
  let pending = "";
  let dropped = 0;
  let broken = false;
  let writing: Promise<void> | null = null;

  const drain = async (): Promise<void> => {
    while (pending !== "" && !broken) {
      const chunk = pending;
      pending = "";
      broken = !(await writeAll(descriptor, Buffer.from(chunk)));
      if (dropped > 0) pending += droppedLine(dropped);
      dropped = 0;
    }
    if (broken) pending = "";
    writing = null;
  };

  return {
    kind: kindOf(descriptor, env),
    write: (line) => {
      if (broken) return;
      if (pending.length + line.length > mostPending) dropped += 1;
      else pending += line;
      if (pending !== "") writing ??= drain();
    },
    flush: async () => {
      if (writing === null) return;
      const given = new AbortController();
      const bound = sleep(flushMs, undefined, { signal: given.signal }).catch(() => undefined);
      await Promise.race([writing, bound]);
      given.abort();
    },
  };
}

function droppedLine(count: number): string {
  const msg = `${count} log lines were dropped because nothing read the output for a while`;
  return `${JSON.stringify({ level: "warn", time: new Date().toISOString(), msg })}\n`;
}

/** Whether all of it was written: false once nobody will ever read it. */
async function writeAll(descriptor: number, bytes: Buffer): Promise<boolean> {
  let rest = bytes;
  while (rest.length > 0) {
    const result = await writeSome(descriptor, rest);
    if (typeof result === "number") rest = rest.subarray(result);
    // A pipe shared with a program that made it non-blocking, or a full disk that may be emptied.
    else if (result === "EAGAIN" || result === "ENOSPC" || result === "EINTR") await sleep(busyMs);
    else return false;
  }
  return true;
}

function writeSome(descriptor: number, bytes: Buffer): Promise<number | string> {
  return new Promise((resolve) => {
    write(descriptor, bytes, 0, bytes.length, null, (error, written) => {
      resolve(error === null ? written : (error.code ?? "unknown"));
    });
  });
}

function kindOf(descriptor: number, env: NodeJS.ProcessEnv): Destination["kind"] {
  if (isatty(descriptor))
    return (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb" ? "colour-terminal" : "terminal";
  return isJournal(descriptor, env["JOURNAL_STREAM"]) ? "journal" : "plain";
}

/** JOURNAL_STREAM is inherited by children whose output goes elsewhere, so device and inode must agree (systemd.exec(5)). */
function isJournal(descriptor: number, stream: string | undefined): boolean {
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(descriptor);
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
