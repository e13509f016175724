import { access, constants, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { request } from "./control-socket.ts";
import { errorCode, errorText } from "./owned-file.ts";
import { whoAmI } from "./state-dir.ts";

/** What a state folder is good for, seen without writing there. */
export type StateSurvey = Readonly<{
  path: string;
  exists: boolean;
  ownerId: number | null;
  freeBytes: number | null;
  /** The daemon that owns it; null: none answers. */
  daemon: unknown;
  /** A daemon could not work there, whoever runs it. */
  errors: readonly string[];
  /** This user could not; the daemon's user may. */
  warnings: readonly string[];
}>;

const leastFreeBytes = 64 * 1024 * 1024;
const answerMs = 5_000;
const journal = "journal.jsonl";

export async function surveyStateDir(path: string): Promise<StateSurvey> {
  const nothing = { path, exists: false, ownerId: null, freeBytes: null, daemon: null };
  const found = await stat(path).catch((error: unknown) => error);
  if (found instanceof Error) return { ...nothing, ...(await surveyMissing(path, found)) };
  const folder = found as Awaited<ReturnType<typeof stat>>;
  if (!folder.isDirectory())
    return { ...nothing, exists: true, errors: [`expected a folder, got something else; set state_dir`], warnings: [] };
  const freeBytes = await freeIn(path);
  const daemon = await askDaemon(path);
  const warnings = [
    ...(await unwritable(path, constants.R_OK | constants.W_OK | constants.X_OK, "read and write in")),
    ...(await unwritable(join(path, journal), constants.R_OK | constants.W_OK, "read and write")),
    ...daemon.warnings,
    ...spaceWarnings(freeBytes),
  ];
  return { path, exists: true, ownerId: Number(folder.uid), freeBytes, daemon: daemon.status, errors: [], warnings };
}

type Findings = Pick<StateSurvey, "freeBytes" | "errors" | "warnings">;

/** The daemon makes it; can this user? */
async function surveyMissing(path: string, error: Error): Promise<Findings> {
  const none = { freeBytes: null, errors: [], warnings: [] };
  const code = errorCode(error);
  if (code === "EACCES")
    return { ...none, warnings: [`${whoAmI()} may not look at it: ${errorText(error)}; ${asDaemon}`] };
  if (code !== "ENOENT")
    return { ...none, errors: [`it cannot be a folder: ${errorText(error)}; set state_dir to another one`] };
  const parent = await existingParent(path);
  const freeBytes = await freeIn(parent);
  const denied = await unwritable(parent, constants.W_OK | constants.X_OK, "make it in");
  return { ...none, freeBytes, warnings: [...denied, ...spaceWarnings(freeBytes)] };
}

const asDaemon = "run this as the user that runs the daemon, or give that user the folder";

async function existingParent(path: string): Promise<string> {
  const parent = dirname(path);
  const found = await stat(parent).catch(() => null);
  return found !== null || parent === path ? parent : existingParent(parent);
}

/** What is not there is no hindrance. */
async function unwritable(path: string, mode: number, what: string): Promise<readonly string[]> {
  try {
    await access(path, mode);
    return [];
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT") return [];
    const why = code === "EROFS" ? "the file system is mounted read-only" : errorText(error);
    return [`${whoAmI()} may not ${what} ${path} (${why}); ${asDaemon}`];
  }
}

async function freeIn(path: string): Promise<number | null> {
  const found = await statfs(path).catch(() => null);
  return found === null ? null : found.bavail * found.bsize;
}

function spaceWarnings(freeBytes: number | null): readonly string[] {
  if (freeBytes === null || freeBytes >= leastFreeBytes) return [];
  return [`only ${spokenSize(freeBytes)} are free: with a full disk nothing can be journalled, and nothing is done`];
}

/** `12.3 GB`, `64 MB`. */
export function spokenSize(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.floor(bytes / 1e6)} MB`;
}

async function askDaemon(path: string): Promise<Readonly<{ status: unknown; warnings: readonly string[] }>> {
  try {
    const reply = await request(path, { command: "status" }, { timeoutMs: answerMs });
    return { status: reply.kind === "nobody" ? null : reply.answer, warnings: [] };
  } catch (error) {
    return { status: null, warnings: [errorText(error)] };
  }
}
