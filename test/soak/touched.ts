import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Abandoned, Kind } from "./abandoned.ts";

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
  const names = new Map(abandoned.map((one) => [nameOf(one), one.kind]));
  const { touched, released } = deedsIn(journal);
  for (const name of touched)
    if (!names.has(name)) found.push(`the journal has an intent against ${name}, which was not abandoned`);
  for (const [name, kind] of names)
    if (!released.has(name)) found.push(`the journal does not say that ${name} (${kind}) was released`);
  const signalled = signalledPids(log);
  const pids = new Set(abandoned.map(({ pid }) => pid));
  for (const pid of signalled) if (!pids.has(pid)) found.push(`the server's log says that ${pid} was signalled`);
  for (const pid of pids) if (!signalled.has(pid)) found.push(`the server's log has no signal to ${pid}`);
  return found;
}

/** How old each abandoned transaction was when its locks were seen to be free, in ms. */
export function agesAtRelease(
  abandoned: readonly Abandoned[],
  journal: readonly JournalEvent[],
): ReadonlyMap<Kind, readonly number[]> {
  const { released } = deedsIn(journal);
  const ages = new Map<Kind, number[]>();
  for (const one of abandoned) {
    const age = released.get(nameOf(one));
    if (age !== undefined) ages.set(one.kind, [...(ages.get(one.kind) ?? []), age]);
  }
  return ages;
}

type Deeds = Readonly<{ touched: ReadonlySet<string>; released: ReadonlyMap<string, number> }>;

function deedsIn(journal: readonly JournalEvent[]): Deeds {
  const open = new Map<string, Readonly<{ name: string; ageMs: number }>>();
  const released = new Map<string, number>();
  for (const event of journal) {
    if (event.event === "intent") {
      const { victim } = event.decision.evidence;
      const transaction = victim.kind === "session" && victim.transaction.kind === "open" ? victim.transaction : null;
      const name = victim.kind === "session" ? `${victim.pid} ${transaction?.startedAt ?? "-"}` : victim.gid;
      open.set(event.id, { name, ageMs: transaction?.ageMs ?? 0 });
    } else if (event.event === "outcome" && event.outcome.kind === "released") {
      const intent = open.get(event.id);
      if (intent !== undefined) released.set(intent.name, intent.ageMs + event.outcome.tookMs);
    }
  }
  return { touched: new Set(Array.from(open.values(), ({ name }) => name)), released };
}

function nameOf({ pid, started }: Abandoned): string {
  return `${pid} ${started}`;
}

function signalledPids(log: string): ReadonlySet<string> {
  const line =
    /\[(\d+)\].*(?:terminating connection due to administrator command|canceling statement due to user request)/g;
  return new Set(Array.from(log.matchAll(line), ([, pid]) => pid ?? ""));
}
