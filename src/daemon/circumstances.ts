import type { Circumstances } from "../core/plan.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Settings } from "./settings.ts";

type Standing = Readonly<{
  settings: Settings;
  paused: boolean;
  leader: boolean;
  journal: Readonly<{ works(): boolean }>;
}>;

/** What decides besides the look: `explain` judges by it too. */
export function circumstancesOf(
  { settings, paused, leader, journal }: Standing,
  snapshot: Pick<Snapshot, "atMs">,
): Circumstances {
  return {
    config: settings.digest,
    mode: settings.mode,
    barred: settings.barred,
    paused,
    leader,
    journalled: journal.works(),
    protection: settings.protection,
    protectMaintenance: settings.protect.maintenance,
    limits: settings.limits,
    cannot: settings.cannot,
    atMs: snapshot.atMs,
  };
}
