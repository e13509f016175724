import { readFile } from "node:fs/promises";
import type { Snapshot } from "./core/snapshot.ts";

/** A snapshot that somebody recorded: one JSON object with a version. */
export async function readSnapshot(file: string): Promise<Snapshot> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new Error(`${file}: cannot be read`, { cause });
  });
  return snapshotOf(text, file);
}

const lists = ["sessions", "prepared", "gaps"] as const;
const listsOrNull = ["holds", "waits"] as const;
const texts = ["target", "engine", "serverVersion", "serverId", "at"] as const;

function snapshotOf(text: string, file: string): Snapshot {
  const record = recordOf(text, file);
  if (record["version"] !== 1) {
    const got = JSON.stringify(record["version"]) ?? "none";
    throw new Error(`${file}: version: expected 1, got ${got}; a newer lockwarden may have recorded it`);
  }
  const wrong = [
    ...lists.filter((key) => !Array.isArray(record[key])),
    ...listsOrNull.filter((key) => record[key] !== null && !Array.isArray(record[key])),
    ...texts.filter((key) => typeof record[key] !== "string"),
    ...(typeof record["atMs"] === "number" ? [] : ["atMs"]),
  ];
  if (wrong.length > 0)
    throw new Error(`${file}: expected a recorded snapshot, but ${wrong.join(", ")} is not as in one`);
  return record as Snapshot;
}

function recordOf(text: string, file: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Its message would show a piece of the file.
  }
  throw new Error(`${file}: expected one JSON object, a recorded snapshot`);
}
