import type { Rule } from "../config/schema.ts";
import type { Action } from "./decision.ts";
import { type History, type Incident, retried, wasTold } from "./history.ts";
import { sameValue } from "./same-value.ts";
import { unreachable } from "./unreachable.ts";

/** Why a ladder that had begun is not climbed any further. */
const dropCauses = ["rule-changed", "rule-removed", "connection-changed", "target-removed"] as const;
export type DropCause = (typeof dropCauses)[number];

export function isDropCause(code: unknown): code is DropCause {
  return dropCauses.some((cause) => cause === code);
}

/** `before`: the step that is not taken any more; null: all were taken. `rule`: as it was. */
export type Dropped = Readonly<{ incident: Incident; rule: Rule; before: Action | null; cause: DropCause }>;

export type CarriedOver = Readonly<{ history: History; dropped: readonly Dropped[] }>;

/**
 * What stays true of the memory when other rules come into force between two looks. A ladder goes on under the very rule that
 * began it; under a changed one it begins anew, so that nobody is hit by a step that no config ever had in this order.
 */
export function carryOver(history: History, old: readonly Rule[], next: readonly Rule[]): CarriedOver {
  const [before, now] = [byName(old), byName(next)];
  const isKept = (name: string) => isSame(before.get(name), now.get(name));
  const incidents = new Map<string, Incident>();
  const dropped: Dropped[] = [];
  for (const [key, incident] of history.incidents) {
    // Whoever reloads may have granted a right just before.
    if (isKept(incident.rule)) incidents.set(key, retried(incident, Number.NEGATIVE_INFINITY));
    else dropped.push(...ladderOf(incident, before, now.has(incident.rule) ? "rule-changed" : "rule-removed"));
  }
  const blocking = new Map([...history.blocking].filter(([name]) => countsTheSame(before.get(name), now.get(name))));
  const probes = new Map([...history.probes].filter(([name]) => isKept(name)));
  return { history: { ...history, incidents, blocking, probes }, dropped };
}

/** All that has begun, when the target itself is another one or is not watched any more. */
export function dropAll(history: History, rules: readonly Rule[], cause: DropCause): readonly Dropped[] {
  const before = byName(rules);
  return [...history.incidents.values()].flatMap((incident) => ladderOf(incident, before, cause));
}

function byName(rules: readonly Rule[]): ReadonlyMap<string, Rule> {
  return new Map(rules.map((rule) => [rule.name, rule]));
}

/** Who is told of it, and where else it counts, changes nothing of what it does here. */
function isSame(one: Rule | undefined, other: Rule | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const meaning = ({ notify: _notify, targets: _targets, ...rest }: Rule) => rest;
  return sameValue(meaning(one), meaning(other));
}

/** How long somebody has blocked is counted for one rule; under another count the figure means nothing. */
function countsTheSame(one: Rule | undefined, other: Rule | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const counted = ({ match, steps }: Rule) => [match.blocks, match.waits, match.prepared, steps.some(isSignal)];
  return sameValue(counted(one), counted(other));
}

function isSignal(step: Rule["steps"][number]): boolean {
  return typeof step !== "object" && step !== "notify";
}

function ladderOf(incident: Incident, rules: ReadonlyMap<string, Rule>, cause: DropCause): readonly Dropped[] {
  const rule = rules.get(incident.rule);
  if (rule === undefined || !hasBegun(incident, rule)) return [];
  const before = rule.steps.slice(incident.done ? rule.steps.length : incident.step).find(isAction) ?? null;
  return [{ incident, rule, before, cause }];
}

function isAction(step: Rule["steps"][number]): step is Action {
  return typeof step !== "object";
}

/** A step was taken, or its first wait is running. */
function hasBegun(incident: Incident, { steps: [first] }: Rule): boolean {
  return incident.step > 0 || incident.done || wasTold(incident) || (incident.matched && typeof first === "object");
}

export function droppedText({ incident, before, cause }: Dropped): string {
  const [key = ""] = incident.subject.split(" ");
  const whom = /^\d+$/.test(key) ? ` for session ${key}` : "";
  const where = before === null ? "at its end" : `before its ${before}`;
  return `rule ${incident.rule}: ${causeText(cause)}; its ladder${whom} is dropped ${where}${afterwards(cause)}`;
}

function causeText(cause: DropCause): string {
  switch (cause) {
    case "rule-changed":
      return "the reloaded config changed it";
    case "rule-removed":
      return "the reloaded config has it for this target no more";
    case "connection-changed":
      return "the reloaded config changed the connection to this target";
    case "target-removed":
      return "the reloaded config has this target no more";
    default:
      return unreachable(cause);
  }
}

function afterwards(cause: DropCause): string {
  const ends = cause === "rule-removed" || cause === "target-removed";
  return ends ? ", and nothing more is done" : "; if it still matches, a new one begins from the first step";
}
