import type { Decision, Outcome } from "../core/decision.ts";
import { subjectText, victimText } from "../core/news.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Unruled } from "../core/unruled.ts";

/** `coming`: it is sent, and its outcome is not known yet. */
type Judged = Readonly<{ decision: Decision; outcome: Outcome | null; coming?: unknown }>;
type Words = Readonly<{ one: string; many: string }>;

/** In a storm hundreds fare alike: a line that names them all is read by nobody. */
const mostNamed = 3;

/** One line for a look, without figures that change by themselves: it is logged when it changes. */
export function lookSentence(
  { gaps, contended }: Pick<Snapshot, "gaps" | "contended">,
  judged: readonly Judged[],
  unruled: readonly Unruled[],
): string {
  // With hidden sessions, or more than one look reads, it is known only of the others.
  const nobody = gaps.length > 0 ? "nobody that can be seen waits for a lock" : "nobody waits for a lock";
  const said = [...groups(judged), ...(unruled.length === 0 ? [] : [unruledText(unruled)])];
  return [contended ? "somebody waits for a lock" : nobody, ...(said.length === 0 ? ["nothing to do"] : said)].join(
    "; ",
  );
}

/** Those of one rule who fare alike, in the order of the first of each. */
function groups(judged: readonly Judged[]): readonly string[] {
  const found = new Map<string, Readonly<{ rule: string; words: Words; whom: string[] }>>();
  for (const one of judged) {
    const { rule } = one.decision;
    const words = wordsFor(one);
    const key = JSON.stringify([rule, words.one]);
    const group = found.get(key) ?? { rule, words, whom: [] };
    group.whom.push(subjectText(one.decision));
    found.set(key, group);
  }
  return Array.from(found.values(), ({ rule, words, whom }) => {
    const more = whom.length - mostNamed;
    const rest = more > 0 ? ` and ${more} more` : "";
    return `${rule}: ${whom.slice(0, mostNamed).join(", ")}${rest} ${whom.length === 1 ? words.one : words.many}`;
  });
}

function wordsFor({ decision, outcome, coming }: Judged): Words {
  if (outcome !== null) {
    const ended = `${decision.action}: ${outcome.kind}`;
    return { one: ended, many: ended };
  }
  if (coming !== undefined) return { one: `${decision.action}: sent`, many: `${decision.action}: sent` };
  const what = decision.kind === "wait" ? "watched" : decision.kind === "spare" ? `spared (${decision.by})` : "told";
  return { one: `is ${what}`, many: `are ${what}` };
}

function unruledText(unruled: readonly Unruled[]): string {
  const named = unruled.slice(0, 5).map(({ blocker, relation }) => {
    return `${victimText(blocker)} blocks others${relation === null ? "" : ` on ${relation}`}`;
  });
  const more = unruled.length > named.length ? ["so do more"] : [];
  return `${[...named, ...more].join(" and ")}, and no rule matches: lockwarden explain says why`;
}
