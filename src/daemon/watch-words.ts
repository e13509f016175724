import { unguardedText } from "../core/abilities.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import type { Missing } from "../engines/engine.ts";
import type { Log } from "./log-port.ts";
import { createOnce } from "./once.ts";

const unsafeText = "signals cannot be sent safely to this target: it is only observed; lockwarden check says why";

/** What the watch of one target says in the log: each thing once, and again when it has changed. */
export type WatchWords = Readonly<{
  report(level: "info" | "warn" | "error", facts: object, text: string): void;
  sentence(text: string): void;
  /** What a look could not see, and when all is seen again. */
  gaps(gaps: readonly string[]): void;
  /** The server's clock was set. */
  jump(jumpMs: number): void;
  missing(missing: readonly Missing[]): void;
  /** Acting was asked for, and nobody is signalled here: the server is a standby, or signals would be no safe ones. */
  observedOnly(recovery: boolean): void;
  /** Acting was asked for, and no signal can be guarded by the statement that sends it. */
  unguarded(): void;
}>;

const standbyText =
  "this server is in recovery (a standby): it is only observed, as what is stuck is on the primary; name the primary, or all " +
  "hosts, in the target's url, or say target_session_attrs=standby there to act on this server's own sessions";

export function watchWords(target: string, log: Log): WatchWords {
  const once = createOnce();
  let hadGaps = false;
  return {
    report: (level, facts, text) => log[level]({ target, ...facts }, text),
    sentence: (text) => {
      if (once.changed("sentence", text)) log.info({ target }, text);
    },
    gaps: (gaps) => {
      const text = gaps.join("; ");
      if (!once.changed("gaps", text.replace(/\d+/g, "#"))) return;
      if (text !== "") log.warn({ target }, `not everything can be seen: ${text}`);
      else if (hadGaps) log.info({ target }, "everything can be seen again");
      hadGaps = text !== "";
    },
    jump: (jumpMs) => {
      const long = spokenDuration(Math.round(Math.abs(jumpMs) / 1_000) * 1_000);
      const which = `${jumpMs > 0 ? "forward" : "back"} by ${long}`;
      const text = `the server's clock jumped ${which} since the last look${jumpMs > 0 ? " (or this host slept)" : ""}; ages and waits are counted without it`;
      log.warn({ target, jumpMs }, text);
    },
    missing: (missing) => {
      const text = missing.map((one) => `${one.missing}; to grant it: ${one.grant}`).join("; ");
      if (once.changed("missing", text) && text !== "") log.error({ target }, `its role lacks what is needed: ${text}`);
    },
    observedOnly: (recovery) => log.warn({ target }, recovery ? standbyText : unsafeText),
    unguarded: () => {
      if (once.changed("unguarded", unguardedText)) log.warn({ target }, unguardedText);
    },
  };
}
