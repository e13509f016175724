import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** One file of the flight recorder: looks at one target from a moment on, of which the name tells. */
export type Segment = Readonly<{ name: string; target: string; sinceMs: number; bytes: number }>;

export type Bounds = Readonly<{
  bytes: number;
  keepMs: number;
  nowMs: number;
  /** Files are as old as this says; left out: `nowMs`. A host's clock put forward by days is no reason to remove them. */
  agedMs?: number;
  /** The watched targets: each may fill its share. */
  targets: readonly string[];
}>;

export function recordingsFolder(stateDir: string): string {
  return join(stateDir, "recordings");
}

/** `app.20260301T030312500Z.jsonl.gz` */
export function segmentName(target: string, sinceMs: number): string {
  return `${target}.${new Date(sinceMs).toISOString().replace(/[-:.]/g, "")}.jsonl.gz`;
}

/** Target and moment of a segment's name; null for a file that is none of the recorder's. */
export function readSegmentName(name: string): Readonly<{ target: string; sinceMs: number }> | null {
  const found = /^(.+)\.(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z\.jsonl\.gz$/.exec(name);
  if (found === null) return null;
  const [, target = "", year, month, day, hour, minute, second, ms] = found;
  const sinceMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
  return Number.isNaN(sinceMs) ? null : { target, sinceMs };
}

/** The recorder's files, oldest first. */
export async function listSegments(folder: string): Promise<readonly Segment[]> {
  const segments: Segment[] = [];
  for (const name of await readdir(folder)) {
    const known = readSegmentName(name);
    const found = known === null ? null : await stat(join(folder, name)).catch(() => null);
    if (known !== null && found?.isFile() === true) segments.push({ name, ...known, bytes: found.size });
  }
  return segments.toSorted((one, other) => one.sinceMs - other.sinceMs);
}

/** What one target may fill. */
export function shareOf({ bytes, targets }: Bounds): number {
  return Math.floor(bytes / Math.max(1, targets.length));
}

/** The segments that have to go before `incoming` may be written: the old, then the oldest of a target above its share. */
export function surplus(
  segments: readonly Segment[],
  bounds: Bounds,
  incoming: Readonly<{ target: string; bytes: number }> | null,
): readonly Segment[] {
  const { nowMs, agedMs = nowMs, keepMs, targets } = bounds;
  const isOld = ({ sinceMs }: Segment) => agedMs - sinceMs > keepMs;
  const kept = segments.filter((segment) => !isOld(segment));
  const above = targets.flatMap((target) => {
    const more = incoming?.target === target ? incoming.bytes : 0;
    const own = kept.filter((segment) => segment.target === target);
    return firstAbove(own, shareOf(bounds) - more);
  });
  const rest = kept.filter((segment) => !above.includes(segment));
  // Nobody watches these targets any more: what is left of the whole is theirs.
  const watched = rest.filter(({ target }) => targets.includes(target));
  const room = bounds.bytes - total(watched) - (incoming?.bytes ?? 0);
  const unwatched = firstAbove(
    rest.filter(({ target }) => !targets.includes(target)),
    room,
  );
  return [...segments.filter(isOld), ...above, ...unwatched];
}

/** The first of them, as many as have to go until the others fit. */
function firstAbove(segments: readonly Segment[], bytes: number): readonly Segment[] {
  let over = total(segments) - bytes;
  const gone: Segment[] = [];
  for (const segment of segments) {
    if (over <= 0) break;
    gone.push(segment);
    over -= segment.bytes;
  }
  return gone;
}

function total(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
