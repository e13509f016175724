import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Comparison, compareLook, notCompared, type Sides } from "./core/replay-difference.ts";
import { errorCode, errorText } from "./owned-file.ts";
import { recordedLooks } from "./recorded-looks.ts";

/** What was read, target by target, and what could not be. */
export type FilesCompared = Readonly<{
  files: number;
  comparisons: ReadonlyMap<string, Comparison>;
  /** Digests of the configs that the recordings were made under. */
  configs: ReadonlySet<string>;
  /** Last lines that were cut short; nothing is wrong with that. */
  torn: readonly string[];
  /** The first of them. */
  broken: readonly string[];
  moreBroken: number;
}>;

/** A file that is none of ours may have any number of lines. */
const mostBroken = 20;

/** The recordings among these files and folders; `named`: somebody named them, and so expects some. */
export async function recordingFiles(
  places: readonly string[],
  named = false,
): Promise<Readonly<{ files: readonly string[]; broken: readonly string[] }>> {
  const files: string[] = [];
  const broken: string[] = [];
  for (const place of places) {
    try {
      if (!(await stat(place)).isDirectory()) files.push(place);
      else {
        const names = (await readdir(place)).filter((name) => /\.jsonl?(?:\.gz)?$/.test(name));
        if (names.length === 0 && named) broken.push(`no recordings in ${place}: expected files *.jsonl.gz, got none`);
        files.push(...names.toSorted().map((name) => join(place, name)));
      }
    } catch (error) {
      const hint = errorCode(error) === "ENOENT" ? "; name the folder with --dir, or the files" : "";
      broken.push(`${place}: cannot be read: ${errorText(error)}${hint}`);
    }
  }
  return { files, broken };
}

/** Goes through all looks in the order of time, without ever holding more than one of them. */
export async function compareFiles(
  files: readonly string[],
  sidesOf: (target: string) => Sides,
): Promise<FilesCompared> {
  const comparisons = new Map<string, Comparison>();
  const configs = new Set<string>();
  const torn: string[] = [];
  const broken: string[] = [];
  let moreBroken = 0;
  for (const file of await inOrder(files)) {
    for await (const line of recordedLooks(file)) {
      if (line.kind === "torn") torn.push(line.text);
      if (line.kind === "broken" && broken.length < mostBroken) broken.push(line.text);
      else if (line.kind === "broken") moreBroken++;
      if (line.kind !== "look") continue;
      const { look } = line;
      const { target } = look.snapshot;
      if (look.judgement !== null) configs.add(look.judgement.config);
      comparisons.set(target, compareLook(comparisons.get(target) ?? notCompared, look, sidesOf(target)));
    }
  }
  return { files: files.length, comparisons, configs, torn, broken, moreBroken };
}

/** By the moment of their first look; each file is in order by itself. */
async function inOrder(files: readonly string[]): Promise<readonly string[]> {
  const first = new Map<string, number>();
  for (const file of files) {
    for await (const line of recordedLooks(file)) {
      if (line.kind !== "look") continue;
      first.set(file, line.look.snapshot.atMs);
      break;
    }
  }
  return files.toSorted((one, other) => (first.get(one) ?? 0) - (first.get(other) ?? 0));
}
