import { resolve } from "node:path";
import { request } from "../control-socket.ts";
import { pausedText } from "../core/pause.ts";
import type { Answers, Request } from "../daemon/control.ts";
import { errorCode } from "../owned-file.ts";

/** Past this, and what it may wait for an outcome, the daemon is not well. */
export const daemonMs = 120_000;

/** What the daemon on this state folder answers; null: none can be asked. */
export async function askDaemon<Question extends Request>(
  stateDir: string,
  question: Question,
  barred?: Asking["barred"],
  timeoutMs = daemonMs,
): Promise<Answers[Question["command"]] | null> {
  try {
    const reply = await request(stateDir, question, { timeoutMs });
    return reply.kind === "nobody" ? null : (reply.answer as Answers[Question["command"]]);
  } catch (error) {
    // Whether somebody is there cannot be seen. Owning the folder is not possible then either, and says better why.
    const code = error instanceof Error ? errorCode(error.cause) : null;
    if (!["EACCES", "ENOTDIR", "ELOOP", "ENAMETOOLONG"].includes(code ?? "")) throw error;
    if (code === "EACCES") {
      const hint = `run this as the owner of ${stateDir}, or as root`;
      barred?.(`a daemon may run on ${stateDir}, but this user may not ask it: ${hint}`);
    }
    return null;
  }
}

/** What to do with a config that is not the daemon's. */
const otherConfig = "what another one would say: lockwarden snapshot --out FILE, then explain --from FILE, or replay";

export type Asking = Readonly<{
  file: string;
  digest: string;
  warn(text: string): void;
  /** Told when there may be a daemon, and this user may not ask it. */
  barred?: ((why: string) => void) | undefined;
}>;

/** Whether a daemon runs on this state folder; one that goes by another config is warned of. */
export async function findDaemon(stateDir: string, { file, digest, warn, barred }: Asking): Promise<boolean> {
  const status = await askDaemon(stateDir, { command: "status" }, barred);
  if (status === null) return false;
  if (status.paused !== null) warn(`the daemon (pid ${status.pid}) is ${pausedText(status.paused)}`);
  if (status.config !== digest) {
    const same = resolve(file) === status.file;
    const way = same ? "to make it read that, send it SIGHUP" : `its own is ${status.file}; ${otherConfig}`;
    warn(
      `the daemon (pid ${status.pid}) goes by the config that it has read (digest ${status.config}), ` +
        `not by ${file} as it is now (digest ${digest}); ${way}`,
    );
  }
  return true;
}
