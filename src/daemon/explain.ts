import { explain } from "../core/explain.ts";
import type { Basis, Explanation, Scope } from "../core/explanation.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { queryText } from "../query-text.ts";
import { circumstancesOf } from "./tick.ts";
import type { Interlude } from "./watch.ts";

/** One target's part of an explanation. */
export type TargetExplanation = Explanation | Readonly<{ target: string; error: string }>;

/** A look of its own at everybody and every lock; nothing comes of it but the answer. */
export async function explainNow(interlude: Interlude, scope: Scope, basis: Basis): Promise<Explanation> {
  const snapshot = await interlude.link.read({ sessions: "all", locks: true }, interlude.signal);
  return explainSeen(snapshot, interlude, { scope, basis });
}

/** What a look that is over already would lead to. */
export async function explainSeen(
  snapshot: Snapshot,
  interlude: Omit<Interlude, "link" | "signal">,
  { scope, basis }: Readonly<{ scope: Scope; basis: Basis }>,
): Promise<Explanation> {
  const { settings, history } = interlude;
  const circumstances = circumstancesOf(interlude, snapshot);
  const show = await queryText(settings.queryText);
  return explain({ snapshot, rules: settings.rules, history, circumstances, basis, scope, show });
}

/** What a client asks about; anything that is no scope is everything of interest. */
export function scopeOf(asked: unknown): Scope {
  const { session, all } = typeof asked === "object" && asked !== null ? (asked as Partial<Scope>) : {};
  return { session: typeof session === "string" ? session : null, all: all === true };
}
