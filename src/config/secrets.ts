import { resolve } from "node:path";
import { type Finding, type Path, quote } from "./mistake.ts";
import { hasPassword, smtpUrlMistakes } from "./postgres-url.ts";
import type { ReadText } from "./read-text.ts";
import { targetUrlMistakes } from "./target-url.ts";
import { fieldAt } from "./values.ts";

/** Relative paths are taken from `folder`, the config file's. */
export type Files = Readonly<{ folder: string; read: ReadText }>;

export type Loaded<T> = Readonly<{ value: T; findings: readonly Finding[]; warnings?: readonly Finding[] }>;

const mostSecretBytes = 64 * 1024;
const mostBundleBytes = 1024 * 1024;

/** What files say in the place of keys, and absolute paths: to be laid over the map as written. */
export type Resolved = Readonly<{ url?: string; smtp?: string; password_file?: string; ca_file?: string }>;

/** Looks at the map as written, whatever else is wrong with it. */
export function resolveTarget(written: unknown, path: Path, files: Files): Loaded<Resolved> {
  return withOnePassword(written, path, "url", [
    readTwin({ written, path, key: "url", mistakes: targetUrlMistakes(fieldAt(written, "engine")) }, files),
    passwordFile(written, path, files),
  ]);
}

export function resolveChannel(written: unknown, path: Path, files: Files): Loaded<Resolved> {
  if (fieldAt(written, "type") !== "email") return { value: {}, findings: [] };
  return withOnePassword(written, path, "smtp", [
    readTwin({ written, path, key: "smtp", mistakes: smtpUrlMistakes }, files),
    passwordFile(written, path, files),
    readableFile("ca_file", written, path, files),
  ]);
}

/** Of two passwords one is ignored, and it may be that one that somebody changes. */
function withOnePassword(
  written: unknown,
  path: Path,
  key: "url" | "smtp",
  loaded: readonly Loaded<Resolved>[],
): Loaded<Resolved> {
  const { value, findings } = merge(loaded);
  const beside = (["password_file", "password"] as const).find((one) => fieldAt(written, one) !== undefined);
  if (beside === undefined || !hasPassword(value[key] ?? "")) return { value, findings };
  const at = fieldAt(written, key) === undefined ? `${key}_file` : key;
  const text = `expected no password in the ${key} beside ${beside}, got one in both: that of ${beside} is used, so take it out of the ${key}`;
  return { value, findings, warnings: [finding([...path, at], text)] };
}

function merge(loaded: readonly Loaded<Resolved>[]): Loaded<Resolved> {
  const value = Object.assign({}, ...loaded.map((one) => one.value)) as Resolved;
  return { value, findings: loaded.flatMap(({ findings }) => findings) };
}

type Twin = Readonly<{
  written: unknown;
  path: Path;
  key: "url" | "smtp";
  mistakes: (text: string) => readonly string[];
}>;

/** A URL that stands in the config or in a file of its own; exactly one of both. */
function readTwin({ written, path, key, mistakes }: Twin, files: Files): Loaded<Resolved> {
  const inline = fieldAt(written, key);
  const file = fieldAt(written, `${key}_file`);
  const fileAt = [...path, `${key}_file`];
  if (!isMap(written)) return { value: {}, findings: [] };
  if (inline !== undefined && file !== undefined) return { value: {}, findings: [both(path, key)] };
  if (inline === undefined && file === undefined)
    return { value: {}, findings: [finding(path, `expected ${key} or ${key}_file, got neither`)] };
  if (typeof inline === "string" && inline !== "")
    return { value: { [key]: inline }, findings: mistakes(inline).map((text) => finding([...path, key], text)) };
  if (typeof file !== "string" || file === "") return { value: {}, findings: [] };
  const absolute = resolve(files.folder, file);
  const read = files.read(absolute, mostSecretBytes);
  if (read.kind === "bad") return { value: {}, findings: [unreadable(fileAt, absolute, read.reason)] };
  const text = read.text.replace(/\r?\n$/u, "");
  return { value: { [key]: text }, findings: mistakes(text).map((one) => finding(fileAt, `in that file: ${one}`)) };
}

function isMap(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function finding(path: Path, text: string): Finding {
  return { path, at: "value", text };
}

function both(path: Path, key: string): Finding {
  return { path: [...path, `${key}_file`], at: "key", text: `expected ${key} or ${key}_file, got both` };
}

function unreadable(path: Path, file: string, reason: string): Finding {
  return finding(path, `expected a readable file, got ${quote(file)}: ${reason}`);
}

function passwordFile(written: unknown, path: Path, files: Files): Loaded<Resolved> {
  const twice = fieldAt(written, "password") !== undefined && fieldAt(written, "password_file") !== undefined;
  return twice
    ? { value: {}, findings: [both(path, "password")] }
    : readableFile("password_file", written, path, files);
}

/** Only that it can be read: it is read again at every use, so that it can change. */
function readableFile(key: "password_file" | "ca_file", written: unknown, path: Path, files: Files): Loaded<Resolved> {
  const file = fieldAt(written, key);
  if (typeof file !== "string" || file === "") return { value: {}, findings: [] };
  const absolute = resolve(files.folder, file);
  const read = files.read(absolute, mostBundleBytes);
  const reason = read.kind === "bad" ? read.reason : read.text.trim() === "" ? "an empty file" : null;
  return {
    value: { [key]: absolute },
    findings: reason === null ? [] : [unreadable([...path, key], absolute, reason)],
  };
}
