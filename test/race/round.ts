import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noHistory } from "../../src/core/history.ts";
import { victimOf } from "../../src/core/lazy-decision.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { type EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import type { Link } from "../../src/engines/engine.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { openConnection } from "../../src/engines/postgres/open.ts";
import { openJournal } from "../../src/journal.ts";
import { watchdogRole } from "../bench/server.ts";
import { randomNumbers } from "../bench/statistics.ts";
import { judge } from "../support/judge.ts";
import { target } from "../support/targets.ts";
import type { Suffered, Work } from "./client-process.ts";
import { startClients } from "./clients.ts";
import { type Score, type Signal, score, type Way } from "./score.ts";
import { type Send, type SignalDecision, sendOver, type Wires } from "./ways.ts";

/** One length of transaction and one action, all ways in turns. */
export type Wanted = Readonly<{
  lengthMs: number;
  hitBy: Work["hitBy"];
  /** Guarded ones that hit somebody or nobody; then it ends. */
  signals: number;
  /** It ends then in any case. */
  seconds: number;
  /** Half of the signals come late, as on a machine that is busy: when the session has gone on to another transaction. */
  late?: boolean;
}>;

export type Round = Readonly<{
  wanted: Wanted;
  seconds: number;
  transactions: number;
  rows: readonly (Score & Readonly<{ way: Way; turns: number }>)[];
}>;

const clients = 20;
/** Over and over; the executor waits for its disk and for its proof, and would take most of the time. */
const turns: readonly Way[] = [
  "guarded",
  "by pid alone",
  "guarded",
  "guarded",
  "guarded",
  "by pid alone",
  "guarded",
  "through the executor",
];
const rules = {
  cancel: { name: "race", match: { state: "active", applications: "race" }, steps: ["cancel"] },
  terminate: { name: "race", match: { state: "idle in transaction", applications: "race" }, steps: ["terminate"] },
} as const;

export async function runRound(server: EmbeddedPostgres, wanted: Wanted): Promise<Round> {
  const { lengthMs, hitBy } = wanted;
  const ending = AbortSignal.timeout(wanted.seconds * 1_000 + 120_000);
  return withWires(server, ending, async (wires) => {
    const people = await startClients({ url: server.url("app"), clients, lengthMs, hitBy });
    try {
      const begun = performance.now();
      const { signals, taken } = await race(wanted, wires, ending);
      const seconds = (performance.now() - begun) / 1_000;
      return roundOf(wanted, { seconds, signals, taken, suffered: await people.stop() });
    } finally {
      people.end();
    }
  });
}

type Seen = Raced & Readonly<{ seconds: number; suffered: Suffered }>;

function roundOf(wanted: Wanted, { seconds, signals, taken, suffered: { hits, transactions } }: Seen): Round {
  const { byWay, strays } = score(signals, hits);
  if (strays.length > 0)
    throw new Error(
      `expected each hit to be explained by a signal, got ${strays.length} of ${hits.length} that are not`,
    );
  const none = { signals: 0, right: 0, wrong: 0, nobody: 0 };
  const rows = [...new Set(turns)].map((way) => ({ way, turns: taken.get(way) ?? 0, ...(byWay.get(way) ?? none) }));
  return { wanted, seconds, transactions, rows };
}

async function withWires<T>(server: EmbeddedPostgres, signal: AbortSignal, run: (wires: Wires) => Promise<T>) {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-race-"));
  const journal = await openJournal(folder);
  const link = await postgres.connect(target(server.url(watchdogRole)), signal);
  const bare = await openConnection(target(server.url(watchdogRole)), {}, signal);
  try {
    return await run({ link, bare, journal });
  } finally {
    await bare.close();
    await link.close();
    await journal.close();
    await rm(folder, { recursive: true, force: true });
  }
}

type Raced = Readonly<{ signals: readonly Signal[]; taken: ReadonlyMap<Way, number> }>;

/** Look, judge, signal one of them, look again. One victim a look: the second one's judgement would be older. */
async function race(
  { hitBy, signals: enough, seconds, late = false }: Wanted,
  wires: Wires,
  ending: AbortSignal,
): Promise<Raced> {
  const send: Send = sendOver(wires, ending);
  const decide = decider(hitBy);
  const until = performance.now() + seconds * 1_000;
  const random = randomNumbers(2);
  const signals: Signal[] = [];
  const taken = new Map<Way, number>();
  let guarded = 0;
  for (let turn = 0; guarded < enough && performance.now() < until; ) {
    const snapshot = await wires.link.read({ sessions: "transactions", locks: true }, ending);
    const chosen = decide(snapshot);
    if (chosen === null) continue;
    const { decision, pid, judged, signalled } = chosen;
    const way = turns[turn++ % turns.length] ?? "guarded";
    taken.set(way, (taken.get(way) ?? 0) + 1);
    if (late && random() < 0.5) await dawdle(wires.link, chosen, ending);
    if (!(await send(way, decision))) continue;
    signals.push({ way, pid, judged });
    signalled();
    if (way === "guarded") guarded += 1;
  }
  return { signals, taken };
}

/** Until the session is in a transaction that began later; in vain for a second at most. */
async function dawdle(link: Link, { pid, judged }: Pick<Chosen, "pid" | "judged">, ending: AbortSignal): Promise<void> {
  for (const until = performance.now() + 1_000; performance.now() < until; ) {
    const { sessions } = await link.read({ sessions: "transactions", locks: false }, ending);
    const now = sessions.find((one) => one.pid === pid)?.transaction;
    if (now?.kind === "open" && now.startedAt !== null && now.startedAt > judged) return;
  }
}

type Chosen = Readonly<{ decision: SignalDecision; pid: string; judged: string; signalled(): void }>;

/**
 * Any of those that the rule hits, without a memory: each look judges anew. A session that was signalled is left alone until
 * it is in a transaction that began after the signal: so it is clear which signal hit which transaction.
 */
function decider(hitBy: Work["hitBy"]): (snapshot: Snapshot) => Chosen | null {
  const judging = judge({ rules: [rules[hitBy]], limits: { per_tick: 1_000, per_minute: 10_000 } });
  const random = randomNumbers(1);
  /** Pid → by when its signal was out; null: the next look says. */
  const signalledBy = new Map<string, string | null>();
  return (snapshot) => {
    for (const [pid, by] of signalledBy) if (by === null) signalledBy.set(pid, snapshot.at);
    judging.setHistory(noHistory);
    const found: Chosen[] = [];
    for (const decision of judging.look(snapshot).decisions) {
      const victim = victimOf(decision);
      if (decision.kind !== "act" || decision.action === "notify" || victim.kind !== "session") continue;
      const { pid, transaction } = victim;
      if (pid === null || transaction.kind !== "open" || transaction.startedAt === null) continue;
      const judged = transaction.startedAt;
      if (judged <= (signalledBy.get(pid) ?? "")) continue;
      const signalled = () => void signalledBy.set(pid, null);
      found.push({ decision: { ...decision, action: decision.action }, pid, judged, signalled });
    }
    return found[Math.floor(random() * found.length)] ?? null;
  };
}
