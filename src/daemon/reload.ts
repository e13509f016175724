import type { LoadedConfig } from "../config/load.ts";
import { renderMistake } from "../config/mistake.ts";
import type { Log } from "./log-port.ts";
import type { SystemdNotifier } from "./systemd.ts";

export type ReloadContext = Readonly<{
  load(): LoadedConfig;
  /** Puts it in force. */
  follow(next: Extract<LoadedConfig, { kind: "ok" }>): Promise<void>;
  notifier: Pick<SystemdNotifier, "reloading" | "ready">;
  status(): string;
  log: Log;
  /** Tells people. */
  shout(text: string): void;
}>;

/**
 * Reads the config anew, one time after the other; requests that come while one waits for its turn are one with it, as it has
 * not read the file yet. Never rejects: whatever goes wrong, the daemon goes on with what it has.
 */
export function reloader({ load, follow, notifier, status, log, shout }: ReloadContext): () => Promise<void> {
  /** People know that the file is not what is in force: they are not told of each further mistake in it. */
  let isRefused = false;
  const refuse = (mistakes: readonly string[]): void => {
    log.error({ mistakes }, `the changed config is refused and the old one stays: ${mistakes.join("; ")}`);
    if (isRefused) return;
    isRefused = true;
    const [first = "", ...more] = mistakes;
    const rest = more.length === 0 ? "" : ` (and ${more.length} more in the log)`;
    shout(`the changed config is refused and the old one stays in force: ${first}${rest}`);
  };
  const reload = async (): Promise<void> => {
    await notifier.reloading();
    try {
      const next = load();
      if (next.kind === "bad") refuse(next.mistakes.map(renderMistake));
      else {
        await follow(next);
        if (isRefused) shout("the config is in order again, and in force");
        isRefused = false;
      }
    } catch (error) {
      refuse([error instanceof Error ? error.message : String(error)]);
    }
    await notifier.ready(status());
  };
  let running: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;
  return () => {
    waiting ??= running.then(() => {
      waiting = null;
      running = reload();
      return running;
    });
    return waiting;
  };
}
