import { existsSync } from "node:fs";
import { chmod, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

const places = [
  "/usr/lib/x86_64-linux-gnu/faketime",
  "/usr/lib/aarch64-linux-gnu/faketime",
  "/usr/lib64/faketime",
  "/usr/lib/faketime",
];

/** libfaketime's file; a text in `missing` says why there is none, to skip a test with. */
export function fakeTimeLibrary(): Readonly<{ file: string; missing: string | false }> {
  const own = process.env["FAKETIME_LIBRARY"];
  const candidates = own === undefined ? places.map((folder) => join(folder, "libfaketimeMT.so.1")) : [own];
  const found = candidates.find((file) => existsSync(file));
  if (found !== undefined) return { file: found, missing: false };
  return {
    file: "",
    missing: `no libfaketime in ${candidates.join(", ")}: install it (Debian: faketime) or name it in FAKETIME_LIBRARY`,
  };
}

export type FakeTime = Readonly<{
  /** For a process whose wall clock this is; its steady clock goes on. */
  environment: Readonly<Record<string, string>>;
  /** From now on the wall clock is so far ahead of the true one. */
  set(aheadSeconds: number): Promise<void>;
}>;

/** A wall clock that can be set while the processes that have it run. */
export async function fakeTime(library: string): Promise<FakeTime> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-clock-"));
  await chmod(folder, 0o755);
  after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "clock");
  const set = async (aheadSeconds: number) => {
    const next = join(folder, "next");
    await writeFile(next, `${aheadSeconds < 0 ? "" : "+"}${aheadSeconds}\n`, { mode: 0o644 });
    await rename(next, file);
  };
  await set(0);
  const environment = {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
  };
  return { environment, set };
}
