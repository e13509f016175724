import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Abandoned } from "./abandoned.ts";

/** Three witnesses of the same run: who was abandoned, the journal, the server's own log. */
export type Witnesses = Readonly<{
  abandoned: readonly Abandoned[];
  journal: readonly JournalEvent[];
  /** The server's, with `[PID]` in each line's prefix. */
  log: string;
}>;

/** In words, what should not be: empty when exactly the abandoned ones were touched, and each of them was freed. */
export function disagreements({ abandoned, journal, log }: Witnesses): readonly string[] {
  const found: string[] = [];
  const names = new Map(abandoned.map(({ kind, pid, started }) => [`${pid} ${started}`, kind]));
  const open = new Map<string, string>();
  const released = new Set<string>();
  for (const event of journal) {
    if (event.event === "intent") {
      const { victim } = event.decision.evidence;
      const name = victim.kind === "session" ? `${victim.pid} ${startOf(victim.transaction)}` : victim.gid;
      open.set(event.id, name);
      if (!names.has(name)) found.push(`the journal has an intent against ${name}, which was not abandoned`);
    } else if (event.event === "outcome") {
      if (event.outcome.kind === "released") released.add(open.get(event.id) ?? "");
    }
  }
  for (const [name, kind] of names)
    if (!released.has(name)) found.push(`the journal does not say that ${name} (${kind}) was released`);
  const signalled = signalledPids(log);
  const pids = new Set(abandoned.map(({ pid }) => pid));
  for (const pid of signalled) if (!pids.has(pid)) found.push(`the server's log says that ${pid} was signalled`);
  for (const pid of pids) if (!signalled.has(pid)) found.push(`the server's log has no signal to ${pid}`);
  return found;
}

function startOf(transaction: { kind: string; startedAt?: string | null }): string {
  return transaction.startedAt ?? "without a transaction";
}

function signalledPids(log: string): ReadonlySet<string> {
  const line =
    /\[(\d+)\].*(?:terminating connection due to administrator command|canceling statement due to user request)/g;
  return new Set(Array.from(log.matchAll(line), ([, pid]) => pid ?? ""));
}
