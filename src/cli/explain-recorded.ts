import { access, constants, stat } from "node:fs/promises";
import { patterns } from "../config/patterns.ts";
import type { Config, Target } from "../config/schema.ts";
import type { Explanation, Scope } from "../core/explanation.ts";
import { noHistory } from "../core/history.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { explainLook } from "../daemon/explain.ts";
import { settingsFor } from "../daemon/settings.ts";
import { errorCode, errorText } from "../owned-file.ts";
import { latestSnapshots } from "../recorded-looks.ts";

export type Asking = Readonly<{ config: Config; digest: string; file: string; scope: Scope; warn(text: string): void }>;

/** Who looks for the first time remembers nothing, and would have the right to act: that is what is explained. */
export const stranger = { history: noHistory, leader: true, paused: false, journal: { works: () => true } } as const;

/** The latest look of each target in a file. A text says what is wrong with it. */
export async function explainRecorded(
  from: string,
  { config, digest, scope, warn }: Asking,
): Promise<readonly Explanation[] | string> {
  const unreadable = await whyUnreadable(from);
  if (unreadable !== null) return unreadable;
  try {
    const snapshots = await latestSnapshots(from);
    const judged = snapshots.flatMap((snapshot) => {
      const target = targetOf(snapshot, config.targets, snapshots.length === 1);
      return target === null ? [] : [{ snapshot, target }];
    });
    const strangers = snapshots.filter((one) => !judged.some(({ snapshot }) => snapshot === one));
    const others = `recorded on target ${strangers.map((one) => one.target).join(", ")}, but the config has ${config.targets
      .map(({ name }) => name)
      .join(", ")}`;
    if (judged.length === 0) return `${from}: ${others}`;
    if (strangers.length > 0) warn(`${from}: left out what was ${others}`);
    const explanations: Explanation[] = [];
    for (const { snapshot, target } of judged) {
      if (target.name !== snapshot.target) warn(`${from}: recorded on ${snapshot.target}, judged as ${target.name}`);
      const settings = settingsFor(config, digest, target, patterns);
      const look = { snapshot, standing: { ...stranger, settings } };
      explanations.push(await explainLook(look, { scope, basis: "recording" }));
    }
    return explanations;
  } catch (error) {
    return errorText(error);
  }
}

/** By its name; where there is one on both sides, there is no doubt either. */
function targetOf(snapshot: Snapshot, targets: readonly Target[], alone: boolean): Target | null {
  const [first, ...others] = targets;
  const only = alone && others.length === 0 ? first : undefined;
  return targets.find(({ name }) => name === snapshot.target) ?? only ?? null;
}

const causes: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "a part of its path is no folder",
  EACCES: "this user may not read it",
};

/** What a system's error would say less plainly; null: nothing speaks against it. */
async function whyUnreadable(from: string): Promise<string | null> {
  const wanted = "expected a file that lockwarden snapshot or the flight recorder has written";
  try {
    await access(from, constants.R_OK);
    return (await stat(from)).isDirectory() ? `--from ${from}: it is a folder; ${wanted}` : null;
  } catch (error) {
    return `--from ${from}: ${causes[errorCode(error) ?? ""] ?? errorText(error)}; ${wanted}`;
  }
}
