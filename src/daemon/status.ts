import type { LoadedConfig } from "../config/load.ts";
import type { Paused } from "../core/pause.ts";
import { version } from "../version.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { KillSwitch } from "./kill-switch.ts";
import type { Watch, WatchState } from "./watch.ts";

/** What the running daemon says of itself. */
export type StatusAnswer = Readonly<{
  pid: number;
  version: string;
  uptimeMs: number;
  mode: string;
  /** The digest of the config in force. */
  config: string;
  /** Its file, which a SIGHUP reads anew. */
  file: string;
  /** What that file says now; null: not asked. */
  disk: "same" | "changed" | "broken" | null;
  paused: Paused | null;
  /** Why the journal cannot be written, in which case nothing is acted on; null when it can. */
  journal: string | null;
  /** Notices that reached nobody yet. */
  undelivered: number;
  targets: readonly (Readonly<{ target: string }> & WatchState)[];
}>;

export type StatusContext = Readonly<{
  file: string;
  watched(): readonly Readonly<{ name: string; watch: Pick<Watch, "state"> }>[];
  loaded(): Pick<Extract<LoadedConfig, { kind: "ok" }>, "config" | "digest">;
  /** Reads the file anew. */
  load(): LoadedConfig;
  killSwitch: Pick<KillSwitch, "state">;
  journal: Pick<JournalGate, "trouble">;
  undelivered(): number;
}>;

export function statusOf(context: StatusContext, withDisk: boolean): StatusAnswer {
  const { watched, loaded, file, killSwitch, journal, undelivered } = context;
  const { config, digest } = loaded();
  return {
    pid: process.pid,
    version: version(),
    uptimeMs: Math.round(process.uptime() * 1_000),
    mode: config.mode,
    config: digest,
    file,
    disk: withDisk ? onDisk(context.load(), digest) : null,
    paused: killSwitch.state(),
    journal: journal.trouble(),
    undelivered: undelivered(),
    targets: watched().map(({ name, watch }) => ({ target: name, ...watch.state() })),
  };
}

function onDisk(read: LoadedConfig, digest: string): "same" | "changed" | "broken" {
  if (read.kind === "bad") return "broken";
  return read.digest === digest ? "same" : "changed";
}
