import { closeSync, openSync, readSync } from "node:fs";

export type TextFile = Readonly<{ kind: "ok"; text: string }> | Readonly<{ kind: "bad"; reason: string }>;
export type ReadText = (file: string, mostBytes: number) => TextFile;

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  ENOTDIR: "no such file",
  EACCES: "a file that this user may not read",
  EPERM: "a file that this user may not read",
  EISDIR: "a directory",
  ELOOP: "a loop of links",
  ENAMETOOLONG: "a path that is too long",
};

/** The UTF-8 text of a file of bounded size; endless devices end at the bound too. */
export function readText(file: string, mostBytes: number): TextFile {
  // A full buffer has no room left to read into, which ends the loop.
  const bytes = new Uint8Array(mostBytes + 1);
  let length = 0;
  try {
    const handle = openSync(file, "r");
    try {
      for (let got = -1; got !== 0; length += got) got = readSync(handle, bytes, length, bytes.length - length, null);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "an error";
    return { kind: "bad", reason: reasons[code] ?? code };
  }
  if (length > mostBytes) return { kind: "bad", reason: `more than ${mostBytes / 1024} KiB` };
  try {
    return { kind: "ok", text: new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length)) };
  } catch {
    return { kind: "bad", reason: "bytes that are no UTF-8 text" };
  }
}
