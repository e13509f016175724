import { constants, type FileHandle, lchown, lstat, mkdir, open, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** Who owns a folder; `foreign`: we are root and he is not, so what we create is given to him. */
export type FolderOwner = Readonly<{ uid: number; gid: number; foreign: boolean }>;

export async function folderOwner(folder: string): Promise<FolderOwner> {
  const { uid, gid } = await stat(folder);
  return { uid, gid, foreign: process.getuid?.() === 0 && uid !== 0 };
}

/** A folder within one that `owner` owns, created when it is missing. */
export async function makeOwnedFolder(folder: string, owner: FolderOwner): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o750 });
  if (made !== undefined && owner.foreign) await lchown(folder, owner.uid, owner.gid);
  if (!(await lstat(folder)).isDirectory()) throw new Error(`${folder} is no folder; move it away`);
}

/** Opens for reading and for writes at the end; creates it with mode 0640 and the folder's owner. */
export async function openForAppend(path: string, owner: FolderOwner): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_APPEND;
  try {
    const handle = await createOwned(path, flags, owner);
    await syncFolder(dirname(path));
    return handle;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
  // The folder's owner must not lead root to a file elsewhere; his own links he may follow.
  return open(path, flags | constants.O_CREAT | (owner.foreign ? constants.O_NOFOLLOW : 0), 0o640);
}

/** Creates a file that must not exist yet, as the folder's owner. */
export async function createOwned(path: string, flags: number, owner: FolderOwner): Promise<FileHandle> {
  // O_EXCL follows no link, so the owner changes of nothing but what was created here.
  const handle = await open(path, flags | constants.O_CREAT | constants.O_EXCL, 0o640);
  try {
    if (owner.foreign) await handle.chown(owner.uid, owner.gid);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Makes a new, renamed or removed entry survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems cannot sync a folder; the file itself is synced all the same.
    if (errorCode(error) !== "EINVAL") throw error;
  } finally {
    await handle.close();
  }
}

/** `ENOENT` and the like; null when the error carries no code. */
export function errorCode(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** The system's own words, without what wraps them. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
