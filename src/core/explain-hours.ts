import type { Rule } from "../config/schema.ts";
import type { Decision } from "./decision.ts";
import type { ConditionExplanation } from "./explanation.ts";
import type { History } from "./history.ts";
import { type Circumstances, plan } from "./plan.ts";
import { type CompiledRule, evaluate, type Finding } from "./rules.ts";
import { type Snapshot, serverClockMs } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";

type Foreseeing = Readonly<{
  snapshot: Snapshot;
  rules: readonly CompiledRule[];
  history: History;
  circumstances: Circumstances;
}>;

/** What the rules outside their hours will find once these begin, if nothing changes until then, and what is decided of it. */
export function foreseen({ snapshot, rules, history, circumstances }: Foreseeing): Readonly<{
  findings: readonly Finding[];
  decisions: readonly Decision[];
}> {
  const resting = new Map<CompiledRule, CompiledRule>();
  for (const rule of rules) {
    const { active, nextChangeMs } = rule.activeAt(serverClockMs(snapshot));
    if (!active && Number.isFinite(nextChangeMs)) resting.set({ ...rule, activeAt: always }, rule);
  }
  if (resting.size === 0) return { findings: [], decisions: [] };
  // Every ladder begins anew with the hours.
  const anew = { ...history, incidents: new Map() };
  const findings = evaluate(snapshot, [...resting.keys()], anew).findings.map((finding) => {
    const rule = resting.get(finding.rule) ?? finding.rule;
    return { ...finding, rule, inMs: Math.max(finding.inMs, rule.activeAt(serverClockMs(snapshot)).nextChangeMs) };
  });
  return { findings, decisions: plan(findings, anew, circumstances) };
}

const always: CompiledRule["activeAt"] = () => ({ active: true, nextChangeMs: Number.POSITIVE_INFINITY });

/** Whether the rule looks for anybody at this moment; nothing for a rule that always does. */
export function hoursRow(rule: CompiledRule, snapshot: Snapshot): readonly ConditionExplanation[] {
  const { active: windows } = rule.rule;
  if (windows === undefined) return [];
  const row = { name: "active", wanted: windows.map(windowText).join(" or "), inMs: null };
  const { active, nextChangeMs } = rule.activeAt(serverClockMs(snapshot));
  const known = Number.isFinite(nextChangeMs);
  if (active) {
    const left = known ? `, for another ${spokenDuration(nextChangeMs)}` : "";
    return [{ ...row, seen: `within its hours${left}`, holds: "yes" }];
  }
  if (!known) return [{ ...row, seen: "outside its hours, which never come", holds: "no" }];
  const seen = `outside its hours; they begin in ${spokenDuration(nextChangeMs)}`;
  return [{ ...row, seen, holds: "later", inMs: Math.ceil(nextChangeMs) }];
}

const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** As it is written in a config: `mon-fri 08:00-18:00 Europe/Berlin`. */
function windowText({ days = [], hours = [], timezone }: NonNullable<Rule["active"]>[number]): string {
  const dayRanges = days.map(({ from, to }) =>
    from === to ? dayNames[from] : `${dayNames[from] ?? ""}-${dayNames[to] ?? ""}`,
  );
  const hourRanges = hours.map(({ from, to }) => `${clock(from)}-${clock(to)}`);
  return [dayRanges.join(" or "), hourRanges.join(" or "), timezone].filter((part) => part !== "").join(" ");
}

function clock(minutes: number): string {
  const twoDigits = (number: number) => String(number).padStart(2, "0");
  return `${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`;
}
