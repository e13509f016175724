import { subjectText, victimText } from "../core/news.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Unruled } from "../core/unruled.ts";
import type { Judgement } from "./tick.ts";

const mostSaid = 20;

/** What one look came to, without figures that change by themselves: it is logged when it changes. */
export function sentenceOf(snapshot: Snapshot, judgements: readonly Judgement[], unruled: readonly Unruled[]): string {
  // With hidden sessions, or more than one look reads, it is known only of the others.
  const nobody = snapshot.gaps.length > 0 ? "nobody that can be seen waits for a lock" : "nobody waits for a lock";
  const waiting = snapshot.contended ? "somebody waits for a lock" : nobody;
  const parts = judgements.slice(0, mostSaid).map(({ decision, outcome, coming }) => {
    const what = `${decision.rule}: ${subjectText(decision)}`;
    if (outcome !== null) return `${what} ${decision.action}: ${outcome.kind}`;
    if (coming !== undefined) return `${what} ${decision.action}: sent`;
    if (decision.kind === "wait") return `${what} is watched`;
    return decision.kind === "spare" ? `${what} is spared (${decision.by})` : `${what} is told`;
  });
  const said = [...parts, ...(unruled.length === 0 ? [] : [unruledText(unruled)])];
  return [waiting, ...(said.length === 0 ? ["nothing to do"] : said)].join("; ");
}

function unruledText(unruled: readonly Unruled[]): string {
  const named = unruled.slice(0, 5).map(({ blocker, relation }) => {
    return `${victimText(blocker)} blocks others${relation === null ? "" : ` on ${relation}`}`;
  });
  const more = unruled.length > named.length ? ["so do more"] : [];
  return `${[...named, ...more].join(" and ")}, and no rule matches: lockwarden explain says why`;
}
