import { setImmediate as breathe } from "node:timers/promises";
import { explaining } from "../core/explain.ts";
import type { Basis, Explanation, Scope, SessionExplanation } from "../core/explanation.ts";
import type { Snapshot } from "../core/snapshot.ts";
import { queryText } from "../query-text.ts";
import type { Interlude } from "./askers.ts";
import { circumstancesOf } from "./circumstances.ts";

/** One target's part of an explanation. */
export type TargetExplanation = Explanation | Readonly<{ target: string; error: string }>;

/** A look, and what stands around it. */
export type Explainable = Readonly<{ snapshot: Snapshot; standing: Omit<Interlude, "link" | "signal"> }>;
type Looking = Omit<Interlude, "link"> & Readonly<{ link: Pick<Interlude["link"], "read"> }>;

/** A look of its own at everybody and every lock; nothing comes of it but the answer. */
export async function lookToExplain({ link, signal, ...standing }: Looking): Promise<Explainable> {
  return {
    snapshot: await link.read({ sessions: "all", prepared: standing.settings.prepared, locks: true }, signal),
    standing,
  };
}

/** So long it keeps everything else in this process waiting, at most. */
const breathMs = 20;

/** Sessions times rules, in a daemon: some 40 MB. More would fill its memory, and no client takes a longer answer. */
const mostExplained = 50_000;

type Manner = Readonly<{ scope: Scope; basis: Basis; most?: number }>;

/** What a look leads to, session by session. */
export async function explainLook(
  { snapshot, standing }: Explainable,
  { scope, basis, most = basis === "daemon" ? mostExplained : Number.POSITIVE_INFINITY }: Manner,
): Promise<Explanation> {
  const { settings, history } = standing;
  const circumstances = circumstancesOf(standing, snapshot);
  const show = await queryText(settings.queryText);
  const { rules } = settings;
  const { frame, sessions } = explaining({ snapshot, rules, history, circumstances, basis, scope, show });
  const explained: SessionExplanation[] = [];
  let since = performance.now();
  for (const session of sessions) {
    explained.push(session);
    if (explained.length * rules.length > most)
      throw new Error(
        `expected at most ${most} explanations at once, got more, one for each session and each of ${rules.length} rules; name a session, or leave out --all`,
      );
    if (performance.now() - since < breathMs) continue;
    await breathe();
    since = performance.now();
  }
  return { ...frame, sessions: explained };
}

/** What a client asks about; anything that is no scope is everything of interest. */
export function scopeOf(asked: unknown): Scope {
  const { session, all } = typeof asked === "object" && asked !== null ? (asked as Partial<Scope>) : {};
  return { session: typeof session === "string" ? session : null, all: all === true };
}
