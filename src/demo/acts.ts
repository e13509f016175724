import type { Decision, Outcome } from "../core/decision.ts";
import { readJournal } from "../journal-lines.ts";

/** What the daemon did, by its own journal. */
export type Act = Readonly<{ decision: Decision; outcome: Outcome | null }>;

export type Told = Readonly<{ channel: string; text: string }>;

/** Every intent, oldest first, with its outcome as soon as there is one. */
export async function readActs(stateDir: string): Promise<readonly Act[]> {
  const acts = new Map<string, Act>();
  for (const event of (await readJournal(stateDir)).events) {
    if (event.event === "intent") acts.set(event.id, { decision: event.decision, outcome: null });
    const open = acts.get(event.id);
    if (event.event === "outcome" && open !== undefined) acts.set(event.id, { ...open, outcome: event.outcome });
  }
  return [...acts.values()];
}

/** What people were told over the channels of the config, and got. */
export async function readNotices(stateDir: string): Promise<readonly Told[]> {
  const { events } = await readJournal(stateDir);
  return events.filter((event) => event.event === "notice").filter(({ delivered }) => delivered);
}

/** `4711,67a1.1267`, as the server's log and Lockwarden's own lines call it; its pid alone for comparing. */
export function victimOf({ decision }: Act): Readonly<{ pid: string | null; handle: string }> {
  const { victim } = decision.evidence;
  if (victim.kind === "prepared") return { pid: null, handle: victim.gid };
  return { pid: victim.pid, handle: `${victim.pid ?? "?"},${victim.sessionId}` };
}
