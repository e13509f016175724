import { randomBytes } from "node:crypto";
import { constants, lstat, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { quietJson } from "../daemon/log-line.ts";
import { createOwned, errorText, folderOwner, makeOwnedFolder, syncFolder } from "../owned-file.ts";
import type { Notice } from "./channel.ts";

/** One notice for one channel, until it is delivered or given up. */
export type Spooled = Readonly<{ channel: string; sinceMs: number; notice: Notice }>;

/** What was read at the start: in the order in which it was told; `junk` are files that hold no notice, and why. */
export type SpoolContent = Readonly<{
  entries: readonly Readonly<{ key: string; spooled: Spooled }>[];
  junk: readonly string[];
}>;

/** Notices that survive a restart: one file each, under `state_dir/spool`. */
export type Spool = Readonly<{
  /** Resolves to the file's name, when it is on disk. */
  put(spooled: Spooled): Promise<string>;
  remove(key: string): Promise<void>;
  read(): Promise<SpoolContent>;
}>;

const fileName = /^\d{15}-\d{6}-[0-9a-f]{8}\.json$/;
const largestFile = 16 * 1024 * 1024;

export async function openSpool(stateDir: string): Promise<Spool> {
  const folder = join(stateDir, "spool");
  const owner = await folderOwner(stateDir);
  await makeOwnedFolder(folder, owner);
  let count = 0;
  return {
    async put(spooled) {
      count = (count + 1) % 1_000_000;
      const stem = `${String(spooled.sinceMs).padStart(15, "0")}-${String(count).padStart(6, "0")}`;
      const key = `${stem}-${randomBytes(4).toString("hex")}.json`;
      const unfinished = join(folder, `${key}.new`);
      try {
        const handle = await createOwned(unfinished, constants.O_WRONLY, owner);
        try {
          await handle.writeFile(quietJson(JSON.stringify({ v: 1, ...spooled })));
          await handle.sync();
        } finally {
          await handle.close();
        }
        await rename(unfinished, join(folder, key));
        await syncFolder(folder);
        return key;
      } catch (error) {
        await rm(unfinished, { force: true }).catch(() => undefined);
        throw new Error(`cannot keep a notice in ${folder}: ${errorText(error)}; a restart would lose it`, {
          cause: error,
        });
      }
    },
    async remove(key) {
      await rm(join(folder, key), { force: true });
    },
    read: () => readAll(folder),
  };
}

async function readAll(folder: string): Promise<SpoolContent> {
  const entries: { key: string; spooled: Spooled }[] = [];
  const junk: string[] = [];
  for (const key of (await readdir(folder)).toSorted((a, b) => (a < b ? -1 : 1))) {
    // Half-written by a crash: it was never promised to anybody.
    if (key.endsWith(".json.new")) await rm(join(folder, key), { force: true, recursive: true });
    else {
      const spooled = fileName.test(key) ? await readOne(join(folder, key)) : "its name is none of the spool's";
      if (typeof spooled === "string") junk.push(`${key}: ${spooled}`);
      else entries.push({ key, spooled });
    }
  }
  return { entries, junk };
}

async function readOne(path: string): Promise<Spooled | string> {
  try {
    const { size } = await lstat(path);
    if (size > largestFile) return `it is ${size} bytes long`;
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return isSpooled(value)
      ? { channel: value.channel, sinceMs: value.sinceMs, notice: value.notice }
      : "it holds no notice";
  } catch (error) {
    return errorText(error);
  }
}

function isSpooled(value: unknown): value is Spooled {
  if (!isRecord(value) || value["v"] !== 1 || !isRecord(value["notice"])) return false;
  const notice = value["notice"];
  const texts = [value["channel"], notice["id"], notice["incident"], notice["phase"], notice["at"], notice["text"]];
  if (typeof value["sinceMs"] !== "number" || !texts.every((text) => typeof text === "string")) return false;
  if (notice["target"] !== null && typeof notice["target"] !== "string") return false;
  if (!isDetails(notice["details"])) return false;
  return isDecisionOrNull(notice["decision"]) && (notice["outcome"] === null || isRecord(notice["outcome"]));
}

function isDetails(value: unknown): boolean {
  if (value === undefined) return true;
  const isText = (one: unknown) => typeof one === "string";
  const isOne = (one: unknown) =>
    isRecord(one) && isText(one["title"]) && Array.isArray(one["lines"]) && one["lines"].every(isText);
  return Array.isArray(value) && value.every(isOne);
}

function isDecisionOrNull(value: unknown): boolean {
  if (value === null) return true;
  if (!isRecord(value) || !isRecord(value["evidence"])) return false;
  if (!isRecord(value["reason"]) || !isRecord(value["reason"]["facts"])) return false;
  const { victim, waits, waiters } = value["evidence"];
  return isRecord(victim) && Array.isArray(waits) && Array.isArray(waiters);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
