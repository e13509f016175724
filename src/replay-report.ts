import { type Case, type CaseKind, type Comparison, caseKind, type Deed, touches } from "./core/replay-difference.ts";
import { handleOf } from "./core/session.ts";
import { unreachable } from "./core/unreachable.ts";

/** How often a rule acted, would have but for observe, and told somebody by a notify step. */
export type Tally = Readonly<{ acts: number; heldBack: number; told: number }>;

/** What a replay says, for programs: a stable form. */
export type ReplayReport = Readonly<{
  before: Readonly<{ file: string | null; configs: readonly string[] }>;
  after: Readonly<{ file: string; config: string }>;
  targets: readonly Readonly<{
    target: string;
    looks: number;
    from: string | null;
    to: string | null;
    missed: number;
    stale: number;
    unjudged: number;
  }>[];
  rules: readonly Readonly<{ rule: string; before: Tally; after: Tally }>[];
  cases: readonly Readonly<{ kind: CaseKind } & Case>[];
  notes: readonly string[];
  torn: readonly string[];
  /** The first of them. */
  broken: readonly string[];
  /** How many more there are. */
  moreBroken: number;
}>;

export type ReportSource = Readonly<{
  before: ReplayReport["before"];
  after: ReplayReport["after"];
  comparisons: ReadonlyMap<string, Comparison>;
  /** All rules, of the new config first. */
  rules: readonly string[];
  notes: readonly string[];
  torn: readonly string[];
  broken: readonly string[];
  moreBroken: number;
}>;

export function replayReport(source: ReportSource): ReplayReport {
  const { before, after, comparisons, notes, torn, broken, moreBroken } = source;
  const all = [...comparisons.values()];
  const cases = all
    .flatMap((comparison) => [...comparison.cases.values()])
    .map((one) => ({ kind: caseKind(one), ...one }))
    .toSorted((one, other) => (momentOf(one) < momentOf(other) ? -1 : 1));
  const told = {
    before: all.flatMap((comparison) => [...comparison.told.before].map(ruleOf)),
    after: all.flatMap((comparison) => [...comparison.told.after].map(ruleOf)),
  };
  const names = [...new Set([...source.rules, ...cases.flatMap((one) => one.before?.rule ?? []), ...told.before])];
  const tally = (rule: string, side: "before" | "after"): Tally => {
    const deeds = cases.flatMap((one) => one[side] ?? []).filter((deed) => deed.rule === rule);
    const acts = deeds.filter(touches).length;
    return { acts, heldBack: deeds.length - acts, told: told[side].filter((name) => name === rule).length };
  };
  const rules = names.map((rule) => ({ rule, before: tally(rule, "before"), after: tally(rule, "after") }));
  const targets = [...comparisons].map(([target, { looks, fromMs, toMs, missed, stale, unjudged }]) => ({
    target,
    looks,
    from: textOf(fromMs),
    to: textOf(toMs),
    missed,
    stale,
    unjudged,
  }));
  return { before, after, targets, rules, cases, notes, torn, broken, moreBroken };
}

/** No name of a rule has a space. */
function ruleOf(told: string): string {
  return told.slice(0, told.indexOf(" "));
}

export function differs({ cases }: ReplayReport): boolean {
  return cases.some(({ kind }) => kind !== "same");
}

function momentOf({ before, after }: Case): string {
  return [before?.at, after?.at].filter((at) => at !== undefined).toSorted()[0] ?? "";
}

function textOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** For people; leading blanks indent. */
export function replayLines(report: ReplayReport): readonly string[] {
  const { targets, rules, cases, notes } = report;
  const sections = (["added", "removed", "changed"] as const).flatMap((kind) => {
    const found = cases.filter((one) => one.kind === kind);
    return found.length === 0 ? [] : ["", headings[kind], ...found.flatMap(caseLines)];
  });
  return [
    ...targets.map(targetLine),
    ...sections,
    "",
    ...rules.map(({ rule, before, after }) => `${rule}: ${tallyText(before)} before, ${tallyText(after)} now`),
    ...(differs(report)
      ? []
      : ["no difference: the same sessions would be acted on, at the same looks, by the same rules"]),
    ...notes.map((note) => `note: ${note}`),
  ];
}

const headings = {
  added: "Would be acted on now, and was not before:",
  removed: "Is not acted on any more:",
  changed: "Is acted on otherwise:",
} as const;

function targetLine({ target, looks, from, to, missed }: ReplayReport["targets"][number]): string {
  const more = missed === 1 ? "1 more was" : `${missed} more were`;
  const left = missed === 0 ? "" : `; ${more} left out when recorded`;
  return `${target}: ${looks === 1 ? "1 look" : `${looks} looks`} from ${from ?? "?"} to ${to ?? "?"}${left}`;
}

function tallyText({ acts, heldBack, told }: Tally): string {
  const parts = [
    ...(acts > 0 || (heldBack === 0 && told === 0) ? [acts === 1 ? "1 act" : `${acts} acts`] : []),
    ...(heldBack > 0 ? [`${heldBack} that would have been but for observe`] : []),
    ...(told > 0 ? [`${told} told`] : []),
  ];
  return parts.join(" and ");
}

function caseLines(one: ReplayReport["cases"][number]): readonly string[] {
  const { session, target, before, after } = one;
  const who =
    session.gid === null
      ? sessionText(session)
      : `prepared transaction ${session.gid} (${session.user ?? "unknown user"})`;
  return [`  ${target}: ${who}`, ...deedLines("before", before, one), ...deedLines("now", after, one)];
}

function sessionText({ user, application, ...named }: Case["session"]): string {
  return `session ${handleOf(named)} (${user ?? "unknown user"}, ${application || "no application name"})`;
}

function deedLines(side: "before" | "now", deed: Deed | null, one: ReplayReport["cases"][number]): readonly string[] {
  if (deed === null) return [`    ${side}: ${one.instead ?? nothingSaid(one.kind)}`];
  const due = deed.dueAt === null ? "" : ` (due at ${deed.dueAt})`;
  return [`    ${side}: ${heldText(deed)}${deed.action} by ${deed.rule} at ${deed.at}${due}: ${deed.reason}`];
}

function heldText(deed: Deed): string {
  if (deed.heldBack === null) return "";
  return `${touches(deed) ? "held back" : "only told"} (${deed.heldBack.text}): `;
}

function nothingSaid(kind: CaseKind): string {
  switch (kind) {
    case "added":
      return "no rule was about it";
    case "removed":
      return "no rule is about it";
    case "changed":
    case "same":
      return "";
    default:
      return unreachable(kind);
  }
}
