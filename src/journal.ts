import { type FileHandle, stat } from "node:fs/promises";
import { join } from "node:path";
import type { JournalEvent } from "./core/journal-event.ts";
import { quietJson } from "./daemon/log-line.ts";
import { errorCode, errorText, type FolderOwner, folderOwner, openForAppend } from "./owned-file.ts";

/** The journal's one writer. An append resolves only when the line is on disk; then and only then may be acted. */
export type Journal = Readonly<{
  append(event: JournalEvent): Promise<void>;
  close(): Promise<void>;
}>;

/** `end`: behind the last line known to be good. `torn`: past it lies what a failed write left behind. */
type OpenFile = { handle: FileHandle; dev: number; ino: number; end: number; torn: boolean };

/** No event is nearly as long; readers take what is longer for garbage that must not fill the memory. */
export const longestLine = 16 * 1024 * 1024;

export function journalPath(stateDir: string): string {
  return join(stateDir, "journal.jsonl");
}

/** Opens `journal.jsonl` of a folder that the caller owns (state-dir.ts): two writers would tear each other's lines. */
export async function openJournal(stateDir: string): Promise<Journal> {
  const path = journalPath(stateDir);
  const owner = await folderOwner(stateDir).catch((error: unknown) => Promise.reject(cannot("open", path, error)));
  let file = await openFile(path, owner);
  let last: Promise<void> = Promise.resolve();
  let closing: Promise<void> | null = null;

  async function write(event: JournalEvent): Promise<void> {
    // People look at it with cat and grep too, and what strangers call themselves must not steer their terminals.
    const line = Buffer.from(quietJson(`${JSON.stringify(event)}\n`));
    if (line.length > longestLine) throw cannot("write", path, `the event is ${line.length} bytes long`);
    if (await isElsewhere(path, file)) {
      const moved = file;
      file = await openFile(path, owner);
      await moved.handle.close();
    }
    await writeLine(file, line).catch((error: unknown) => Promise.reject(cannot("write", path, error)));
  }

  return {
    append(event) {
      if (closing !== null) return Promise.reject(new Error(`cannot write the journal ${path}: it is closed`));
      const written = last.then(() => write(event));
      // The next append waits for this one, whether it worked or not.
      last = written.catch(() => undefined);
      return written;
    },
    close() {
      closing ??= last.then(() => file.handle.close());
      return closing;
    },
  };
}

async function openFile(path: string, owner: FolderOwner): Promise<OpenFile> {
  try {
    const handle = await openForAppend(path, owner);
    const { dev, ino } = await handle.stat();
    return { handle, dev, ino, end: -1, torn: false };
  } catch (error) {
    throw cannot("open", path, error);
  }
}

/** The path names another file than the open one: it was removed or rotated away. */
async function isElsewhere(path: string, file: OpenFile): Promise<boolean> {
  try {
    const { dev, ino } = await stat(path);
    return dev !== file.dev || ino !== file.ino;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return true;
    throw cannot("find", path, error);
  }
}

async function writeLine(file: OpenFile, line: Buffer): Promise<void> {
  if (file.torn) await mend(file);
  const { size } = await file.handle.stat();
  // A crash or somebody else may have left half a line: it stays as evidence, on a line of its own that readers skip.
  const whole = size === file.end || size === 0 || (await byteAt(file.handle, size - 1)) === newline;
  const bytes = whole ? line : Buffer.concat([Buffer.of(newline), line]);
  file.end = size;
  try {
    const { bytesWritten } = await file.handle.write(bytes);
    if (bytesWritten !== bytes.length) throw new DiskFull(bytesWritten, bytes.length);
    await file.handle.sync();
    file.end = size + bytes.length;
  } catch (error) {
    file.torn = true;
    // If this fails too, `torn` stays and the next append begins with it.
    await mend(file).catch(() => undefined);
    throw error;
  }
}

/** Cuts off what a failed write left, so that a line is either whole or not there: its append was refused. */
async function mend(file: OpenFile): Promise<void> {
  const { size } = await file.handle.stat();
  if (size > file.end) {
    await file.handle.truncate(file.end);
    await file.handle.sync();
  }
  file.torn = false;
}

const newline = 0x0a;

async function byteAt(handle: FileHandle, position: number): Promise<number | undefined> {
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, position);
  return buffer[0];
}

/** The system took only a part of the line: what it says a moment later, when asked for the rest, is ENOSPC or EFBIG. */
class DiskFull extends Error {
  override readonly name = "DiskFull";
  readonly code = "ENOSPC";
  constructor(written: number, wanted: number) {
    super(`only ${written} of ${wanted} bytes could be written`);
  }
}

const hints: Readonly<Record<string, string>> = {
  ENOSPC: "free some space on that disk",
  EDQUOT: "raise the quota or free some space",
  EFBIG: "raise the limit on file sizes (ulimit -f, LimitFSIZE=) or move the journal away",
  EROFS: "mount that disk for writing",
  EIO: "the disk is failing: look at the kernel's log",
  EACCES: "give the folder and the journal to the user that runs lockwarden",
  EPERM: "give the folder and the journal to the user that runs lockwarden",
  ELOOP: "run lockwarden as the folder's owner: root does not follow a link in a folder of somebody else",
  ENOENT: "create the folder, or set state_dir",
};

function cannot(what: "open" | "find" | "write", path: string, error: unknown): Error {
  const hint = hints[errorCode(error) ?? ""];
  const advice = hint === undefined ? "" : `; ${hint}`;
  return new Error(`cannot ${what} the journal ${path}: ${errorText(error)}${advice}. Without it nothing is acted on`, {
    cause: error,
  });
}
