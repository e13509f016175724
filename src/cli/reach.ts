import { randomUUID } from "node:crypto";
import { patterns } from "../config/patterns.ts";
import type { Config, Target } from "../config/schema.ts";
import type { Asked } from "../core/by-hand.ts";
import { actByHand, type Found, findByHand, type HandResult } from "../daemon/by-hand.ts";
import { journalGate } from "../daemon/journal-gate.ts";
import { createLog } from "../daemon/log.ts";
import { failureText } from "../daemon/once-report.ts";
import { settingsFor, settingsOn } from "../daemon/settings.ts";
import { standardOutput } from "../daemon/standard-output.ts";
import type { Link } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";
import { openJournal } from "../journal.ts";
import { ownStateDir } from "../state-dir.ts";
import { askDaemon, findDaemon } from "./ask-daemon.ts";

export type Reaching = Readonly<{
  config: Config;
  digest: string;
  file: string;
  stateDir: string;
  target: Target;
  warn(text: string): void;
}>;

/** A way to one target: through the daemon while one runs, else over a connection of our own. */
export type Reach = Readonly<{
  find(asked: Asked): Promise<Found>;
  act(asked: Asked, by: string): Promise<HandResult>;
  close(): Promise<void>;
}>;

/** For the daemon to finish what it is at, and to look. */
const spareMs = 120_000;

export function reach(reaching: Reaching): Reach {
  const { config, stateDir, target, warn } = reaching;
  const own = ownWay(reaching);
  let asksDaemon: boolean | null = null;
  return {
    find: async (asked) => {
      asksDaemon ??= await findDaemon(stateDir, { ...reaching, barred: warn });
      const found = asksDaemon ? await askDaemon(stateDir, { command: "find", target: target.name, asked }) : null;
      return found ?? own.find(asked);
    },
    act: async (asked, by) => {
      // While somebody thought about the question, a daemon may have come or gone.
      const timeoutMs = 2 * config.verify_for + spareMs;
      const request = { command: "byHand", target: target.name, asked, by } as const;
      return (await askDaemon(stateDir, request, undefined, timeoutMs)) ?? own.act(asked, by);
    },
    close: own.close,
  };
}

/** Looking needs nothing but the connection, which stays open for the act; acting needs the state folder. */
function ownWay({ config, digest, stateDir, target }: Reaching): Reach {
  const settings = settingsFor(config, digest, target, patterns);
  const { signal } = new AbortController();
  let opened: Promise<Link> | null = null;
  const link = (): Promise<Link> => (opened ??= engineFor(target).connect(target, signal));
  const act = async (asked: Asked, by: string): Promise<HandResult> => {
    const owned = await ownStateDir(stateDir);
    if (owned.kind === "busy") return { outcome: "failed", text: `${owned.text}; nothing was sent`, steps: [] };
    const log = createLog({ level: "warn", pretty: true, destination: standardOutput(2) });
    const newId = (): string => randomUUID();
    const now = (): Date => new Date();
    const journal = journalGate({ open: () => openJournal(stateDir), log, shout: () => undefined, newId, now });
    try {
      const { write } = journal;
      const connected = await link();
      const context = {
        settings: settingsOn(settings, connected),
        link: connected,
        write,
        newId,
        now,
        report: () => undefined,
        signal,
        left: signal,
      };
      return await actByHand({ ...asked, by }, context);
    } catch (error) {
      return { outcome: "unreachable", text: `${failureText(error)}; nothing was sent`, steps: [] };
    } finally {
      await journal.close();
      await owned.close();
      await log.flush();
    }
  };
  return {
    act,
    find: async (asked) => {
      try {
        return await findByHand(asked, { settings, link: await link(), signal });
      } catch (error) {
        return { kind: "unreachable", text: failureText(error) };
      }
    },
    close: async () => {
      // A connection that never came, or is lost, has been told already.
      await opened?.then((one) => one.close()).catch(() => undefined);
    },
  };
}
