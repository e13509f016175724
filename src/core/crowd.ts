import type { Limits } from "../config/schema.ts";
import type { Decision, LimitCode } from "./decision.ts";
import { groupBy } from "./group-by.ts";
import { type Crowd, offender } from "./history.ts";
import { victimOf } from "./lazy-decision.ts";
import { limitText } from "./limits.ts";
import { subjectText } from "./news.ts";
import type { CompiledRule } from "./rules.ts";

// Whoever a limit or the breaker holds back is one of many: all of them that the same channels are told of make one
// notice, not one each.

/** A decision that a limit, or the breaker, holds back. */
export type Held = Extract<Decision, { kind: "spare" }> & Readonly<{ limit: LimitCode }>;

export type CrowdNews = Readonly<{
  phase: "opened" | "changed" | "resolved";
  incident: string;
  channels: readonly string[] | undefined;
  /** Oldest transaction first; none when it is over. */
  members: readonly Held[];
}>;

export type CrowdsNow = Readonly<{ crowds: ReadonlyMap<string, Crowd>; news: readonly CrowdNews[] }>;

/** Whom people are to be told of: once for each kind of limit, and once when nobody is held back any more. */
export function crowdsNow(
  before: ReadonlyMap<string, Crowd>,
  decisions: readonly Decision[],
  { rules, newId }: Readonly<{ rules: readonly CompiledRule[]; newId: () => string }>,
): CrowdsNow {
  const held = decisions.filter(isHeld);
  if (held.length === 0 && before.size === 0) return { crowds: before, news: [] };
  const crowds = new Map<string, Crowd>();
  const news: CrowdNews[] = [];
  const toldTo = new Map(rules.map(({ rule }) => [rule.name, channelSet(rule.notify)]));
  const groups = groupBy(held, ({ rule }) => toldTo.get(rule) ?? everybody);
  for (const [key, members] of groups) {
    const known = before.get(key);
    const kinds = new Set(known?.kinds);
    const size = kinds.size;
    for (const one of members) kinds.add(kindOf(one));
    const channels = key === everybody ? undefined : (JSON.parse(key) as string[]);
    const crowd = known ?? { id: newId(), channels, kinds };
    crowds.set(key, { ...crowd, kinds });
    if (kinds.size > size)
      news.push({ phase: known === undefined ? "opened" : "changed", incident: crowd.id, channels, members });
  }
  for (const [key, { id, channels }] of before) {
    if (!crowds.has(key)) news.push({ phase: "resolved", incident: id, channels, members: [] });
  }
  return { crowds, news };
}

function isHeld(decision: Decision): decision is Held {
  return decision.kind === "spare" && decision.limit !== undefined;
}

const everybody = "*";

function channelSet(notify: readonly string[] | undefined): string {
  return notify === undefined ? everybody : JSON.stringify(notify.toSorted());
}

/** The limits per look and per minute take turns in one storm: that is no news. A repeat offender needs a person. */
function kindOf(decision: Held): string {
  if (decision.limit === "breaker") return "breaker";
  return decision.limit === "limit-repeat" ? `repeat ${offender(victimOf(decision))}` : "limit";
}

/** Named one by one; the others are only counted. */
export const mostNamed = 10;

export type CrowdText = Readonly<{
  text: string;
  details: readonly Readonly<{ title: string; lines: readonly string[] }>[];
}>;

/** What people are told of those who are held back. `named`: the first of them, fit to be shown. */
export function crowdText(
  { phase, members }: CrowdNews,
  named: readonly Decision[],
  { rules, limits }: Readonly<{ rules: readonly CompiledRule[]; limits: Limits }>,
): CrowdText {
  const [first] = named;
  if (phase === "resolved" || first === undefined)
    return { text: "nobody is held back by a limit any more", details: [] };
  if (members.length === 1)
    return { text: `did not ${first.action} ${subjectText(first)}: ${first.reason.text}`, details: [] };
  const by = groupBy(members, (one) => `${one.limit} ${one.limit.startsWith("limit-rule") ? one.rule : ""}`);
  const reasons = Array.from(by.values(), (ones) => {
    const [one] = ones;
    const rule = rules.find(({ rule: { name } }) => name === one?.rule)?.rule;
    if (one === undefined || rule === undefined) return "a limit is reached";
    return `${limitText(one.limit, { limits, rule })}${by.size > 1 ? ` (${ones.length})` : ""}`;
  });
  const more = members.length - named.length;
  return {
    text: `left ${members.length} sessions alone: ${reasons.join(", ")}; the oldest: ${subjectText(first)}`,
    details: [
      {
        title: `LEFT ALONE (${members.length}), the oldest first`,
        lines: [
          ...named.map((one) => `${one.action} ${subjectText(one)}: rule ${one.rule}: ${one.reason.text}`),
          ...(more > 0 ? [`and ${more} more`] : []),
        ],
      },
      { title: "WHAT TO DO", lines: adviceOn(members) },
    ],
  };
}

function adviceOn(members: readonly Held[]): readonly string[] {
  const limits = new Set(members.map(({ limit }) => limit));
  const lines: string[] = [];
  if (limits.has("breaker"))
    lines.push("Find out why so many were stuck: nobody is touched until the breaker closes by itself.");
  if (limits.has("limit-repeat"))
    lines.push("A client that comes back and locks again needs a person: see what its application does.");
  if (limits.size > Number(limits.has("breaker")) + Number(limits.has("limit-repeat")))
    lines.push(
      "Lockwarden judges them again at every look: more of them follow, oldest first, as the limits have room.",
    );
  return lines;
}
