import { type Case, type CaseKind, type Comparison, caseKind, type Deed } from "./core/replay-difference.ts";
import { unreachable } from "./core/unreachable.ts";

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
  rules: readonly Readonly<{ rule: string; before: number; after: number }>[];
  cases: readonly Readonly<{ kind: CaseKind; heldBack: string | null } & Case>[];
  notes: readonly string[];
  torn: readonly string[];
  broken: readonly string[];
}>;

export type ReportSource = Readonly<{
  before: ReplayReport["before"];
  after: ReplayReport["after"];
  comparisons: ReadonlyMap<string, Comparison>;
  /** All rules, of the new config first. */
  rules: readonly string[];
  /** Why the new config as it stands would not do it; null when it would. */
  heldBack(target: string, rule: string): string | null;
  notes: readonly string[];
  torn: readonly string[];
  broken: readonly string[];
}>;

export function replayReport(source: ReportSource): ReplayReport {
  const { before, after, comparisons, heldBack, notes, torn, broken } = source;
  const cases = [...comparisons.values()]
    .flatMap((comparison) => [...comparison.cases.values()])
    .map((one) => ({
      kind: caseKind(one),
      heldBack: one.after === null ? null : heldBack(one.target, one.after.rule),
      ...one,
    }))
    .toSorted((one, other) => (momentOf(one) < momentOf(other) ? -1 : 1));
  const names = [...new Set([...source.rules, ...cases.flatMap((one) => one.before?.rule ?? [])])];
  const rules = names.map((rule) => ({
    rule,
    before: cases.filter((one) => one.before?.rule === rule).length,
    after: cases.filter((one) => one.after?.rule === rule).length,
  }));
  const targets = [...comparisons].map(([target, { looks, fromMs, toMs, missed, stale, unjudged }]) => ({
    target,
    looks,
    from: textOf(fromMs),
    to: textOf(toMs),
    missed,
    stale,
    unjudged,
  }));
  return { before, after, targets, rules, cases, notes, torn, broken };
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

/** For people. */
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
    ...rules.map(({ rule, before, after }) => `${rule}: ${acts(before)} before, ${after} now`),
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
  const left = missed === 0 ? "" : `; ${missed} more were left out when they were recorded`;
  return `${target}: ${looks === 1 ? "1 look" : `${looks} looks`} from ${from ?? "?"} to ${to ?? "?"}${left}`;
}

function acts(count: number): string {
  return count === 1 ? "1 act" : `${count} acts`;
}

function caseLines(one: ReplayReport["cases"][number]): readonly string[] {
  const { session, target, before, after } = one;
  const who =
    session.gid === null
      ? sessionText(session)
      : `prepared transaction ${session.gid} (${session.user ?? "unknown user"})`;
  const held = one.heldBack === null ? [] : [`    but ${one.heldBack}: it would only be told`];
  return [`  ${target}: ${who}`, ...deedLines("before", before, one), ...deedLines("now", after, one), ...held];
}

function sessionText({ pid, sessionId, user, application }: Case["session"]): string {
  return `session ${pid ?? "?"},${sessionId} (${user ?? "unknown user"}, ${application || "no application name"})`;
}

function deedLines(side: "before" | "now", deed: Deed | null, one: ReplayReport["cases"][number]): readonly string[] {
  if (deed !== null) {
    const due = deed.dueAt === null ? "" : ` (due at ${deed.dueAt})`;
    return [`    ${side}: ${deed.action} by ${deed.rule} at ${deed.at}${due}: ${deed.reason}`];
  }
  return [`    ${side}: ${one.instead ?? nothingSaid(one.kind)}`];
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
