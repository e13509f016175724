import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { pipeline } from "node:stream";
import { constants, createGunzip } from "node:zlib";
import type { RecordedLook } from "./core/recorded-look.ts";
import type { Snapshot } from "./core/snapshot.ts";
import { errorText } from "./owned-file.ts";
import { NotRecorded, readLook, readSnapshot } from "./recorded-snapshot.ts";
import { textLines } from "./text-lines.ts";

/** One line of a recording. `torn`: the last one, cut short by a crash or a full disk. `broken`: anything else that is no look. */
export type RecordedLine =
  | Readonly<{ kind: "look"; look: RecordedLook }>
  | Readonly<{ kind: "torn" | "broken"; text: string }>;

/** No look is nearly as long. */
const longestLine = 256 * 1024 * 1024;

/** Every look of one file, oldest first, read as a stream; .gz files are unpacked. Never throws. */
export async function* recordedLooks(file: string): AsyncGenerator<RecordedLine> {
  let line = 0;
  try {
    for await (const { text, ended } of textLines(bytesOf(file), longestLine)) {
      line += 1;
      if (text?.trim() !== "") yield lineOf(text, `${file}:${line}`, ended);
    }
  } catch (error) {
    yield { kind: "broken", text: `${file}: cannot be read behind line ${line}: ${errorText(error)}` };
  }
}

/**
 * The latest look of each target in a file, in the order in which the targets first come: of one recorded snapshot, of the
 * lines that `lockwarden snapshot` writes for several targets, of a recording. Throws NotRecorded when there is none.
 */
export async function latestSnapshots(file: string): Promise<readonly Snapshot[]> {
  const latest = new Map<string, Snapshot>();
  for await (const { snapshot } of looksIn(file)) latest.set(snapshot.target, snapshot);
  if (latest.size === 0) throw new NotRecorded(`${file}: expected at least one recorded look, got none`);
  return [...latest.values()];
}

async function* looksIn(file: string): AsyncGenerator<Pick<RecordedLook, "snapshot">> {
  if (!/\.(?:jsonl|gz)$/u.test(file)) {
    const text = await readFile(file, "utf8");
    // Of a snapshot that somebody has laid out over several lines, none is one by itself.
    const lines = text.trim().split("\n");
    if (lines.length === 1 || !lines.every((line) => /^\{.*\}\s*$/u.test(line))) {
      yield { snapshot: readSnapshot(text, file) };
      return;
    }
  }
  for await (const line of recordedLooks(file)) {
    if (line.kind === "broken") throw new NotRecorded(line.text);
    if (line.kind === "look") yield line.look;
  }
}

function lineOf(text: string | null, where: string, ended: boolean): RecordedLine {
  if (text === null) return { kind: "broken", text: `${where}: expected a recorded look, got a line without end` };
  try {
    return { kind: "look", look: readLook(text, where) };
  } catch (error) {
    if (!(error instanceof NotRecorded)) throw error;
    return { kind: error.isCut && !ended ? "torn" : "broken", text: error.message };
  }
}

function bytesOf(file: string): AsyncIterable<Buffer> {
  const bytes = createReadStream(file);
  if (!file.endsWith(".gz")) return bytes as AsyncIterable<Buffer>;
  // What a crash cut short is unpacked as far as it goes.
  const unpacked = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });
  // An error of either ends the other, and shows where the bytes are taken.
  pipeline(bytes, unpacked, () => undefined);
  return unpacked as AsyncIterable<Buffer>;
}
