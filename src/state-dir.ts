import { randomBytes } from "node:crypto";
import { lchown, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import type { Server } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ControlServer, controlServer, controlSocket, type Handler } from "./control-socket.ts";
import { errorCode, errorText, type FolderOwner, folderOwner } from "./owned-file.ts";
import { isAlive, openSocketFolder, type SocketFolder } from "./socket-folder.ts";

// Owning state_dir means to listen at its control.sock. A socket outlives its owner as a dead name that has to be
// replaced, and of two that replace it at once the second could throw away the first one's live socket. So nobody ever
// removes a name that could be somebody else's: each claims by listening under a name of its own, then looks for others.
// Of two claims the later one sees the earlier one, hence only who sees nobody alive is the owner; the others withdraw.

/** The exclusive right to write in the state folder. */
export type StateDir = Readonly<{
  kind: "owned";
  path: string;
  /** From now on requests are answered; before they are refused. */
  serve(handler: Handler): void;
  /** False when somebody removed control.sock under us: a second owner may have come, so stop. */
  holds(): Promise<boolean>;
  close(): Promise<void>;
}>;

/** Somebody else has it. */
export type Busy = Readonly<{ kind: "busy"; path: string; text: string }>;

type Claim = Readonly<{ name: string; control: ControlServer }>;
type Place = Readonly<{ dir: string; folder: SocketFolder; owner: FolderOwner }>;

const claimName = /^\.control-[0-9a-f]{16}\.claim$/;
const unfinishedName = /^\.control-[0-9a-f]{16}\.new$/;
const longestName = ".control-0123456789abcdef.claim";

/** Takes the state folder, creating it when it is missing; `busy` when a live process has it. */
export async function ownStateDir(dir: string, withinMs = 10_000): Promise<StateDir | Busy> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o750 });
    const place = { dir, folder: await openSocketFolder(dir, longestName), owner: await folderOwner(dir) };
    const claim = await contend(place, withinMs).catch(async (error: unknown) => {
      await place.folder.close();
      throw error;
    });
    if (claim !== null) return await settle(place, claim);
    await place.folder.close();
    return { kind: "busy", path: dir, text: `another lockwarden owns ${dir}: it answers at ${controlSocket} there` };
  } catch (error) {
    throw new Error(cannotOwn(dir, error), { cause: error });
  }
}

async function contend(place: Place, withinMs: number): Promise<Claim | null> {
  const end = performance.now() + withinMs;
  let claim: Claim | null = null;
  // Several that start at the same moment sort it out in a few rounds.
  while (performance.now() < end) {
    claim ??= await makeClaim(place);
    const mine = claim.name;
    const rivals = await liveRivals(place, mine);
    // After the list, as a winner's claim is renamed to control.sock and could be missed in between.
    if (await isAlive(place.folder.at(controlSocket))) break;
    if (rivals.length === 0) return claim;
    // Only a matter of who gives way: nobody owns anything as long as he sees another.
    if (rivals.some((rival) => rival < mine)) {
      await withdraw(place, claim);
      claim = null;
    }
    await sleep(2 + Math.random() * 20);
  }
  if (claim !== null) await withdraw(place, claim);
  return null;
}

/** Listens under a new name, which others can see only from then on: a refused connect is a proof of death. */
async function makeClaim(place: Place): Promise<Claim> {
  const control = controlServer();
  const stem = `.control-${randomBytes(8).toString("hex")}`;
  const unfinished = join(place.dir, `${stem}.new`);
  try {
    await listen(control.server, place.folder.at(`${stem}.new`));
    if (place.owner.foreign) await lchown(unfinished, place.owner.uid, place.owner.gid);
    await rename(unfinished, join(place.dir, `${stem}.claim`));
    return { name: `${stem}.claim`, control };
  } catch (error) {
    control.server.close();
    // A new owner tidied up what looked unfinished: he will answer at control.sock.
    if (errorCode(error) === "ENOENT" && (await isFolder(place.dir))) return makeClaim(place);
    throw error;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    // The bind happens within the call; so the socket is never open to others, not even for a moment.
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off("error", reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

/** The names of others' live claims. Dead ones are removed: a name is never used twice, so nobody can lose by it. */
async function liveRivals(place: Place, mine: string): Promise<string[]> {
  const alive: string[] = [];
  for (const name of await readdir(place.dir)) {
    if (name === mine || !claimName.test(name)) continue;
    if (await isAlive(place.folder.at(name))) alive.push(name);
    else await rm(join(place.dir, name), { force: true });
  }
  return alive;
}

async function withdraw(place: Place, claim: Claim): Promise<void> {
  await rm(join(place.dir, claim.name), { force: true });
  await closeServer(claim.control.server);
}

/** The claim that saw nobody becomes control.sock, in one step, in place of a dead one. */
async function settle(place: Place, claim: Claim): Promise<StateDir> {
  const { name, control } = claim;
  const path = join(place.dir, controlSocket);
  await rename(join(place.dir, name), path).catch(async (error: unknown) => {
    await withdraw(place, claim);
    await place.folder.close();
    throw error;
  });
  const { dev, ino } = await stat(path);
  for (const left of await readdir(place.dir)) {
    if (unfinishedName.test(left)) await rm(join(place.dir, left), { force: true });
  }
  const holds = async () => {
    const now = await stat(path).catch(() => null);
    return now !== null && now.dev === dev && now.ino === ino;
  };
  let closing: Promise<void> | null = null;
  const close = async () => {
    await control.stop();
    if (await holds()) await rm(path, { force: true });
    await closeServer(control.server);
    await place.folder.close();
  };
  return {
    kind: "owned",
    path: place.dir,
    serve: control.serve,
    holds,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

async function isFolder(dir: string): Promise<boolean> {
  const found = await stat(dir).catch(() => null);
  return found?.isDirectory() === true;
}

function cannotOwn(dir: string, error: unknown): string {
  const hints: Readonly<Record<string, string>> = {
    EACCES: "run lockwarden as the folder's owner, give the folder to this user, or set state_dir",
    EPERM: "run lockwarden as the folder's owner, or put state_dir on a file system that can hold a socket",
    EROFS: "mount that disk for writing, or set state_dir",
    ENOSPC: "free some space on that disk",
    ENOTDIR: "set state_dir to a folder",
    EEXIST: "set state_dir to a folder",
    EISDIR: `remove the folder ${controlSocket} in it`,
    ENOTSUP: "put state_dir on a local file system that can hold a socket",
  };
  const hint = hints[errorCode(error) ?? ""];
  return `cannot own the state folder ${dir} as ${whoAmI()}: ${errorText(error)}${hint === undefined ? "" : `; ${hint}`}`;
}

/** This process's user, for people. */
export function whoAmI(): string {
  try {
    const { username, uid } = userInfo();
    return `user ${username} (uid ${uid})`;
  } catch {
    // A container may run under a uid that no user has.
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}
