import { randomBytes } from "node:crypto";
import { constants, lstat, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Paused, readPaused } from "./core/pause.ts";
import { createOwned, errorCode, errorText, folderOwner, syncFolder } from "./owned-file.ts";

/** What `pause` leaves in the state folder. A file that cannot be understood means paused: never act by ignorance. */
export type PausedFile =
  | Readonly<{ kind: "none" }>
  | Readonly<{ kind: "paused"; paused: Paused }>
  | Readonly<{ kind: "unreadable"; paused: Paused; text: string; code: string | null }>;

const largestFile = 64 * 1024;

export function pausedPath(stateDir: string): string {
  return join(stateDir, "paused.json");
}

export async function readPausedFile(stateDir: string): Promise<PausedFile> {
  const path = pausedPath(stateDir);
  let since: string | null = null;
  try {
    const found = await lstat(path);
    since = found.mtime.toISOString();
    // A pipe in its place would be waited for without an end.
    if (!found.isFile()) return unreadable(path, since, new Error("expected a file, got something else"));
    if (found.size > largestFile)
      return unreadable(path, since, new Error(`expected at most ${largestFile} bytes, got ${found.size}`));
    const paused = readPaused(parse(await readFile(path, "utf8")));
    if (paused === null)
      return unreadable(path, since, new Error("expected what lockwarden pause writes, got another"));
    return { kind: "paused", paused };
  } catch (error) {
    return errorCode(error) === "ENOENT" ? { kind: "none" } : unreadable(path, since, error);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function unreadable(path: string, since: string | null, error: unknown): PausedFile {
  const text = `${path} cannot be understood: ${errorText(error)}`;
  const paused = { since, by: "somebody unknown", reason: text, until: null };
  return { kind: "unreadable", paused, text, code: errorCode(error) };
}

/** Resolves when a power cut would not lose it. The caller owns the folder (state-dir.ts). */
export async function writePausedFile(stateDir: string, paused: Paused): Promise<void> {
  const path = pausedPath(stateDir);
  const unfinished = join(stateDir, `.paused-${randomBytes(8).toString("hex")}.new`);
  try {
    const handle = await createOwned(unfinished, constants.O_WRONLY, await folderOwner(stateDir));
    try {
      await handle.writeFile(`${JSON.stringify({ v: 1, ...paused })}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, path);
    await syncFolder(stateDir);
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw new Error(`cannot write ${path}: ${errorText(error)}`, { cause: error });
  }
}

export async function removePausedFile(stateDir: string): Promise<void> {
  const path = pausedPath(stateDir);
  try {
    await rm(path, { force: true });
    await syncFolder(stateDir);
  } catch (error) {
    throw new Error(`cannot remove ${path}: ${errorText(error)}`, { cause: error });
  }
}
