import { randomUUID } from "node:crypto";
import { patterns } from "../config/patterns.ts";
import type { Config, Target } from "../config/schema.ts";
import { request } from "../control-socket.ts";
import { noHistory } from "../core/history.ts";
import { type JournalGate, journalGate } from "../daemon/journal-gate.ts";
import { createLog } from "../daemon/log.ts";
import type { Log } from "../daemon/log-port.ts";
import { reportLines, reportOf, type TargetReport } from "../daemon/once-report.ts";
import { settingsFor } from "../daemon/settings.ts";
import { standardOutput } from "../daemon/standard-output.ts";
import { createTeller, type Teller } from "../daemon/teller.ts";
import { tick } from "../daemon/tick.ts";
import { engineFor } from "../engines/registry.ts";
import { openJournal } from "../journal.ts";
import { ownStateDir } from "../state-dir.ts";
import type { CommandSpec } from "./command.ts";
import { stateDirOf, usableConfig } from "./config.ts";
import { type ExitCode, exitCodes } from "./output.ts";

/** A tick may verify several acts; past this the daemon is not well. */
const daemonMs = 120_000;
/** For notices to reach their channels; what does not stays in the spool for the daemon. */
const deliveryMs = 10_000;

export const once: CommandSpec = {
  name: "once",
  summary: "one look at every target, acting as the config says, then exit; asks the daemon while one runs",
  config: true,
  json: true,
  async run({ config: file, json }, output) {
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const stateDir = stateDirOf(loaded.config);
    const reports = (await throughDaemon(stateDir)) ?? (await alone(loaded.config, loaded.digest, stateDir));
    if (typeof reports === "string") {
      output.err(`lockwarden once: ${reports}`);
      return exitCodes.failed;
    }
    if (json) output.out(JSON.stringify({ targets: reports }));
    else for (const line of reports.flatMap(reportLines)) output.out(line);
    return exitCodeOf(reports);
  },
};

async function throughDaemon(stateDir: string): Promise<readonly TargetReport[] | null> {
  const reply = await request(stateDir, { command: "once" }, { timeoutMs: daemonMs });
  return reply.kind === "nobody" ? null : (reply.answer as readonly TargetReport[]);
}

async function alone(config: Config, digest: string, stateDir: string): Promise<readonly TargetReport[] | string> {
  const owned = await ownStateDir(stateDir);
  if (owned.kind === "busy") return owned.text;
  const log = createLog({ level: "warn", destination: standardOutput(2) });
  const newId = (): string => randomUUID();
  const now = (): Date => new Date();
  const journal = journalGate({ open: () => openJournal(stateDir), log, shout: () => undefined, newId, now });
  const teller = await createTeller({ channels: config.channels, stateDir, journal, log, newId });
  try {
    return await Promise.all(
      config.targets.map((target) => lookAt(target, { config, digest, journal, teller, log, newId, now })),
    );
  } finally {
    await teller.close(deliveryMs);
    await journal.close();
    await owned.close();
  }
}

type Alone = Readonly<{
  config: Config;
  digest: string;
  journal: JournalGate;
  teller: Teller;
  log: Log;
  newId(): string;
  now(): Date;
}>;

/** One look over a connection of its own; it may only act when no daemon has the lease. */
async function lookAt(target: Target, { config, digest, log, teller, ...rest }: Alone): Promise<TargetReport> {
  const settings = settingsFor(config, digest, target, patterns);
  const { signal } = new AbortController();
  try {
    const link = await engineFor(target).connect(target, signal);
    try {
      const leader = (await link.lease(signal)) !== "taken";
      const report = (level: "info" | "warn" | "error", facts: object, text: string) =>
        log[level]({ target: target.name, ...facts }, text);
      const memory = { history: noHistory };
      const { judgements } = await tick({
        ...rest,
        settings,
        link,
        memory,
        leader,
        paused: false,
        tell: teller.tell,
        report,
        alive: () => undefined,
        signal,
      });
      return reportOf(target.name, judgements);
    } finally {
      await link.close();
    }
  } catch (error) {
    return { target: target.name, error: error instanceof Error ? error.message : String(error), decisions: [] };
  }
}

function exitCodeOf(reports: readonly TargetReport[]): ExitCode {
  if (reports.some((report) => "error" in report)) return exitCodes.target;
  const failed = new Set<string | null>(["survived", "denied", "failed", "unknown"]);
  return reports.some((report) => report.decisions.some(({ outcome }) => failed.has(outcome)))
    ? exitCodes.failed
    : exitCodes.done;
}
