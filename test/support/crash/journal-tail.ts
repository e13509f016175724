import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { setImmediate as others } from "node:timers/promises";

/** Bytes of a file now; 0 when it is not there. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Looks without a pause: what is behind `from` contains the text. False when it did not come within the time, or `stop` says so. */
export async function appears(
  path: string,
  { text, from, withinMs, stop }: Readonly<{ text: string; from: number; withinMs: number; stop(): boolean }>,
): Promise<boolean> {
  const until = performance.now() + withinMs;
  let seen = "";
  let at = from;
  while (performance.now() < until && !stop()) {
    if (sizeOf(path) > at) {
      const part = readFrom(path, at);
      at += part.length;
      seen += part.toString("latin1");
      if (seen.includes(text)) return true;
    }
    await others();
  }
  return false;
}

function readFrom(path: string, from: number): Buffer {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(Math.max(0, fstatSync(file).size - from));
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, from));
  } finally {
    closeSync(file);
  }
}

/** The last byte of a file that is there and has some is no line end. */
export function isTorn(path: string): boolean {
  const size = sizeOf(path);
  return size > 0 && readFrom(path, size - 1)[0] !== 0x0a;
}
