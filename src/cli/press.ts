import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { notServing } from "../control-socket.ts";
import type { Press } from "../core/pause.ts";
import type { Answers, Request } from "../daemon/control.ts";
import { journalGate } from "../daemon/journal-gate.ts";
import { createKillSwitch, type KillSwitch } from "../daemon/kill-switch.ts";
import { createLog } from "../daemon/log.ts";
import type { Log } from "../daemon/log-port.ts";
import { standardOutput } from "../daemon/standard-output.ts";
import { createTeller } from "../daemon/teller.ts";
import { openJournal } from "../journal.ts";
import { errorText } from "../owned-file.ts";
import { readPausedFile } from "../paused-file.ts";
import { ownStateDir, type StateDir, whoAmI } from "../state-dir.ts";
import { askDaemon } from "./ask-daemon.ts";
import type { StateFolder } from "./state-folder.ts";

export type Pressing = Extract<Request, { command: "pause" | "resume" }>;
export type Pressed<Asked extends Pressing> = Readonly<{ daemon: boolean; answer: Answers[Asked["command"]] }>;

/** The daemon answers within some 10 s even when its disk is dead. */
const daemonMs = 30_000;
/** A daemon that starts, or a command that has the folder for itself, ends soon. */
const busyMs = 30_000;
/** For notices to reach their channels; what does not stays in the spool for the daemon. */
const deliveryMs = 2_000;

/** As the journal and people are told who did it. */
export function whoPresses(env: NodeJS.ProcessEnv = process.env): string {
  const { SUDO_USER: through } = env;
  return through === undefined || through === "" ? whoAmI() : `${whoAmI()}, through sudo ${through}`;
}

/** Through the daemon while one runs; otherwise the state folder is taken, and what the switch leaves is left there. */
export async function press<Asked extends Pressing>(folder: StateFolder, asked: Asked): Promise<Pressed<Asked>> {
  const end = performance.now() + busyMs;
  for (;;) {
    const tried = await tryOnce(folder, asked);
    if (typeof tried !== "string") return tried;
    if (performance.now() > end) throw new Error(tried);
    await sleep(50);
  }
}

/** A text: somebody else has the folder, and cannot be asked now. */
async function tryOnce<Asked extends Pressing>(folder: StateFolder, asked: Asked): Promise<Pressed<Asked> | string> {
  try {
    const answer = await askDaemon<Asked>(folder.path, asked, undefined, daemonMs);
    if (answer !== null) return { daemon: true, answer };
  } catch (error) {
    if (errorText(error).includes(notServing)) return errorText(error);
    const sure = `it may go on acting: to be sure, end it (systemctl stop lockwarden), and ${asked.command} again`;
    throw new Error(`${errorText(error)}; ${sure}`, { cause: error });
  }
  const owned = await ownStateDir(folder.path);
  if (owned.kind === "busy") return owned.text;
  try {
    return { daemon: false, answer: await alone(folder, owned, asked) };
  } finally {
    await owned.close();
  }
}

async function alone<Asked extends Pressing>(
  { config }: StateFolder,
  { path: stateDir }: StateDir,
  asked: Asked,
): Promise<Answers[Asked["command"]]> {
  const log = createLog({ level: "warn", pretty: true, destination: standardOutput(2) });
  const newId = (): string => randomUUID();
  const now = (): Date => new Date();
  // What they would say the answer says.
  const shared = { log: quiet, newId, now };
  const journal = journalGate({ ...shared, open: () => openJournal(stateDir), shout: () => undefined });
  // Without a config nobody knows the channels, and what waits in the spool for them stays there.
  const teller =
    config === null ? null : await createTeller({ channels: config.config.channels, stateDir, journal, log, newId });
  const killSwitch = createKillSwitch({
    ...shared,
    stateDir,
    found: await readPausedFile(stateDir),
    journal,
    shout: (text) => {
      const about = { id: newId(), incident: newId(), at: now().toISOString(), target: null, text };
      teller?.tell({ ...about, phase: "system", decision: null, outcome: null }, undefined);
    },
    changed: () => undefined,
    signal: AbortSignal.abort(),
  });
  try {
    return (await pressOn(killSwitch, asked)) as Answers[Asked["command"]];
  } finally {
    await teller?.close(deliveryMs);
    await journal.close();
    await log.flush();
  }
}

function pressOn(killSwitch: KillSwitch, asked: Pressing): Promise<Answers["pause" | "resume"]> {
  const who: Press = { by: asked.by, reason: asked.reason };
  return asked.command === "pause" ? killSwitch.pause({ ...who, forMs: asked.forMs }) : killSwitch.resume(who);
}

const nothing = (): undefined => undefined;
const quiet: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => quiet,
  flush: () => Promise.resolve(),
};
