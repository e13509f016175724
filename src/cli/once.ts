import { randomUUID } from "node:crypto";
import { patterns } from "../config/patterns.ts";
import type { Config, Target } from "../config/schema.ts";
import { historyFrom, type Past } from "../core/journal-past.ts";
import { pausedText } from "../core/pause.ts";
import { type JournalGate, journalGate } from "../daemon/journal-gate.ts";
import { type KillSwitch, standingSwitch } from "../daemon/kill-switch.ts";
import { createLog } from "../daemon/log.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import type { Log } from "../daemon/log-port.ts";
import { type DecisionReport, failureReport, type LookReport, reportLines, reportOf } from "../daemon/once-report.ts";
import { openActs } from "../daemon/open-acts.ts";
import { enforces, lackingOf, settingsFor, settingsOn } from "../daemon/settings.ts";
import { standardOutput } from "../daemon/standard-output.ts";
import { createTeller, type Teller } from "../daemon/teller.ts";
import { tick, withOutcomes } from "../daemon/tick.ts";
import type { Missing } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";
import { openJournal } from "../journal.ts";
import { readPast } from "../journal-past.ts";
import { readPausedFile } from "../paused-file.ts";
import { ownStateDir } from "../state-dir.ts";
import { type Asking, askDaemon, daemonMs, findDaemon } from "./ask-daemon.ts";
import type { CommandSpec } from "./command.ts";
import { stateDirOf, usableConfig } from "./config.ts";
import { type ExitCode, exitCodes } from "./output.ts";

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
    const warn = (text: string): void => output.err(`warning: ${quietText(text)}`);
    const lack = (target: string, lacking: readonly Missing[]): void => {
      for (const { missing, grant } of lacking) warn(`${target}: missing: ${missing}; ${grant}`);
    };
    const asked = await throughDaemon(stateDir, { file, digest: loaded.digest, warn }, loaded.config.verify_for);
    for (const { report, lacking } of asked ?? []) lack(report.target, lacking);
    const looks = asked ?? (await alone(loaded.config, { digest: loaded.digest, stateDir, lack, warn }));
    if (typeof looks === "string") {
      output.err(`lockwarden once: ${looks}`);
      return exitCodes.failed;
    }
    const reports = looks.map(({ report }) => report);
    if (json) output.out(quietJson(JSON.stringify({ targets: reports })));
    else for (const line of reports.flatMap(reportLines)) output.out(quietText(line));
    return exitCodeOf(looks);
  },
};

/** null: no daemon runs on this state folder. */
async function throughDaemon(
  stateDir: string,
  asking: Asking,
  verifyMs: number,
): Promise<readonly LookReport[] | null> {
  if (!(await findDaemon(stateDir, asking))) return null;
  return askDaemon(stateDir, { command: "once" }, undefined, verifyMs + daemonMs);
}

type Circumstances = Readonly<{ digest: string; stateDir: string; lack: Lack; warn(text: string): void }>;

/** Tells what the role lacks, before what comes of it. */
type Lack = (target: string, lacking: readonly Missing[]) => void;

async function alone(
  config: Config,
  { digest, stateDir, lack, warn }: Circumstances,
): Promise<readonly LookReport[] | string> {
  const owned = await ownStateDir(stateDir);
  if (owned.kind === "busy") return owned.text;
  const found = await readPausedFile(stateDir);
  const { state, gate } = standingSwitch(found, new Date());
  if (state !== null) warn(`${pausedText(state)}; nobody is acted on`);
  const log = createLog({ level: "warn", pretty: true, destination: standardOutput(2) });
  const newId = (): string => randomUUID();
  const now = (): Date => new Date();
  const journal = journalGate({ open: () => openJournal(stateDir), log, shout: () => undefined, newId, now });
  const teller = await createTeller({ channels: config.channels, stateDir, journal, log, newId });
  try {
    const past = await readPast(stateDir, config.limits).catch((error: unknown) => {
      log.error({}, error instanceof Error ? error.message : String(error));
      return null;
    });
    // Who was signalled before is not known then: nobody is.
    const safe: JournalGate = past === null ? { ...journal, works: () => false } : journal;
    const context = { past: past ?? new Map(), journal: safe, gate, config, digest, teller, log, newId, now, lack };
    return await Promise.all(config.targets.map((target) => lookAt(target, context)));
  } finally {
    await teller.close(deliveryMs);
    await journal.close();
    await owned.close();
    await log.flush();
  }
}

type Alone = Readonly<{
  config: Config;
  /** Limits are those of the target, whoever acts on it. */
  past: Past;
  digest: string;
  gate: KillSwitch["gate"];
  journal: JournalGate;
  teller: Teller;
  log: Log;
  newId(): string;
  now(): Date;
  lack: Lack;
}>;

/** One look over a connection of its own; it may only act when no daemon has the lease. */
async function lookAt(
  target: Target,
  { config, digest, past, log, teller, lack, ...rest }: Alone,
): Promise<LookReport> {
  const { name } = target;
  const { signal } = new AbortController();
  try {
    const link = await engineFor(target).connect(target, signal);
    const open = openActs();
    try {
      const settings = settingsOn(settingsFor(config, digest, target, patterns), link);
      const lacking = lackingOf(await link.check(signal), settings);
      lack(name, lacking);
      const leader = !enforces(settings) || (await link.lease(signal)) !== "taken";
      const report = (level: "info" | "warn" | "error", facts: object, text: string) =>
        log[level]({ target: name, ...facts }, text);
      const memory = { history: historyFrom(past, name, config.rules), open };
      const paused = rest.gate.paused();
      const { tell } = teller;
      const alive = () => undefined;
      const result = await tick({ ...rest, settings, link, memory, leader, paused, tell, report, alive, signal });
      await open.toTheirEnd(signal);
      return { report: reportOf(name, (await withOutcomes(result)).judgements), lacking };
    } finally {
      await open.giveUp();
      await link.close();
    }
  } catch (error) {
    return { report: failureReport(name, error), lacking: [] };
  }
}

/** A target that cannot be looked at, or denies what is needed, is told before an act that failed. */
function exitCodeOf(looks: readonly LookReport[]): ExitCode {
  const decisions = looks.flatMap(({ report }): readonly DecisionReport[] => report.decisions);
  const denied = decisions.some(({ outcome }) => outcome === "denied");
  if (denied || looks.some(({ report, lacking }) => lacking.length > 0 || "error" in report)) return exitCodes.target;
  const failed = new Set<string | null>(["survived", "failed", "unknown"]);
  return decisions.some(({ outcome, by }) => failed.has(outcome) || by === "journal")
    ? exitCodes.failed
    : exitCodes.done;
}
