import { constants, type FileHandle, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as others } from "node:timers/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { RecordedLook } from "./core/recorded-look.ts";
import { createOwned, errorCode, errorText, folderOwner, makeOwnedFolder } from "./owned-file.ts";
import { lookPieces } from "./recorded-snapshot.ts";
import {
  type Bounds,
  listSegments,
  recordingsFolder,
  type Segment,
  segmentName,
  shareOf,
  surplus,
} from "./recording-files.ts";

/** The files of the flight recorder, bounded in bytes and age. Calls must not overlap. */
export type RecordingStore = Readonly<{
  append(look: RecordedLook, bounds: Bounds): Promise<void>;
  /** Removes what is too old or too much. */
  tidy(bounds: Bounds): Promise<void>;
  close(): Promise<void>;
}>;

type Open = Readonly<{ handle: FileHandle; name: string }>;

/** A target's share is made of so many files, and so is the time that is kept: what is removed is one of them. */
const segmentsPerShare = 8;
/** The journal is on the same disk, and nothing is acted on without it: it gets the last room. */
const reservedBytes = 16 * 1024 ** 2;
const compress = promisify(gzip);

/** Opens `recordings/` of a state folder that the caller owns. A new file is begun for every target. */
export async function openRecordings(stateDir: string): Promise<RecordingStore> {
  const folder = recordingsFolder(stateDir);
  const owner = await folderOwner(stateDir);
  await makeOwnedFolder(folder, owner);
  let segments: readonly Segment[] = await listSegments(folder);
  const open = new Map<string, Open>();

  const leave = async (target: string): Promise<void> => {
    const one = open.get(target);
    open.delete(target);
    await one?.handle.close().catch(() => undefined);
  };
  const tidy = async (bounds: Bounds, incoming: Parameters<typeof surplus>[2] = null): Promise<void> => {
    for (const gone of surplus(segments, bounds, incoming)) {
      if (open.get(gone.target)?.name === gone.name) await leave(gone.target);
      await rm(join(folder, gone.name), { force: true });
      segments = segments.filter((one) => one !== gone);
    }
  };
  const begin = async (target: string, nowMs: number): Promise<Open> => {
    // Two in one millisecond: the later one gets the next.
    for (let sinceMs = nowMs; ; sinceMs++) {
      const name = segmentName(target, sinceMs);
      try {
        const handle = await createOwned(join(folder, name), constants.O_WRONLY | constants.O_APPEND, owner);
        const begun = { handle, name };
        open.set(target, begun);
        segments = [...segments, { name, target, sinceMs, bytes: 0 }];
        return begun;
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw error;
      }
    }
  };
  /** The file to go on with; a new one when that is full, too long ago, or was removed by somebody. */
  const current = async (target: string, bytes: number, bounds: Bounds): Promise<Open> => {
    const one = open.get(target);
    if (one === undefined) return begin(target, bounds.nowMs);
    const segment = segments.find(({ name }) => name === one.name);
    const isFull = (segment?.bytes ?? 0) + bytes > shareOf(bounds) / segmentsPerShare;
    const isLong = bounds.nowMs - (segment?.sinceMs ?? 0) > bounds.keepMs / segmentsPerShare;
    if (!isFull && !isLong && (await one.handle.stat()).nlink > 0) return one;
    await leave(target);
    return begin(target, bounds.nowMs);
  };
  return {
    async append(look, bounds) {
      const { target } = look.snapshot;
      const line = await packed(look);
      if (line.length > shareOf(bounds)) {
        const share = `its share of recordings.size is ${shareOf(bounds)} bytes`;
        throw new Error(`one look at ${target} takes ${line.length} bytes, and ${share}; raise recordings.size`);
      }
      await tidy(bounds, { target, bytes: line.length });
      await needRoom(folder, line.length);
      const { handle, name } = await current(target, line.length, bounds);
      try {
        await writeWhole(handle, line);
      } catch (error) {
        await leave(target);
        throw error;
      }
      segments = segments.map((one) => (one.name === name ? { ...one, bytes: one.bytes + line.length } : one));
    },
    tidy: (bounds) => tidy(bounds),
    async close() {
      for (const target of open.keys()) await leave(target);
    },
  };
}

/** One line, packed by itself: whatever is cut off behind it, it can be unpacked. */
async function packed(look: RecordedLook): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (const piece of lookPieces(look)) {
    pieces.push(Buffer.from(piece));
    await others();
  }
  return compress(Buffer.concat([...pieces, Buffer.of(0x0a)]));
}

async function needRoom(folder: string, bytes: number): Promise<void> {
  // Not every file system tells.
  const told = await statfs(folder).catch(() => null);
  const free = told === null ? Number.POSITIVE_INFINITY : told.bavail * told.bsize;
  if (free >= reservedBytes + bytes) return;
  throw new Error(
    `${free} bytes are free on the disk of ${folder}, and the last ${reservedBytes} are left to the journal; free some space there`,
  );
}

/** All of it or nothing: half a line would spoil those behind it. */
async function writeWhole(handle: FileHandle, line: Buffer): Promise<void> {
  const { size } = await handle.stat();
  let why: unknown;
  try {
    const { bytesWritten } = await handle.write(line);
    if (bytesWritten === line.length) return;
    why = new Error(`only ${bytesWritten} of ${line.length} bytes could be written; free some space on that disk`);
  } catch (error) {
    why = error;
  }
  await handle.truncate(size).catch(() => undefined);
  throw new Error(errorText(why), { cause: why });
}
