import { didYouMean, nearest, quote } from "../config/mistake.ts";
import type { Config, Rule, Target } from "../config/schema.ts";
import { type Abilities, abilityDoubts, abilityNotes } from "../core/abilities.ts";
import type { Probed } from "../core/decision.ts";
import { probedText } from "../core/probe-text.ts";
import { appliesTo, nameDoubts, type Surveyed, tableQuestions } from "../core/server-names.ts";
import { timeoutDoubts, timeoutText } from "../core/server-timeouts.ts";
import type { Doubt, Survey } from "../core/survey.ts";
import { failureText } from "../daemon/once-report.ts";
import type { Missing, ServerFacts } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";
import type { Found, Group } from "./check-report.ts";

/** What the probe of a rule said just now. */
export type RuleProbed = Readonly<{ rule: string; probed: Probed }>;

/** What a target said. */
export type TargetLook = Readonly<{
  target: Target;
  engine: string;
  answer:
    | Readonly<{
        kind: "seen";
        facts: ServerFacts;
        abilities: Abilities;
        missing: readonly Missing[];
        survey: Survey | string;
        probes: readonly RuleProbed[];
      }>
    | Readonly<{ kind: "failed"; error: string }>;
}>;

/** One target of the result, as programs read it. */
export type TargetCheck = Readonly<{
  target: string;
  ok: boolean;
  engine: string;
  version: string | null;
  role: string | null;
  recovery: boolean | null;
  encrypted: boolean | null;
  error: string | null;
  missing: readonly Missing[];
  warnings: readonly Doubt[];
  probes: readonly RuleProbed[];
  /** What could not be looked into. */
  gaps: readonly string[];
  /** What is no flaw, but should be known of this server. */
  notes: readonly string[];
}>;

/** Asks over connections of its own. */
export async function lookAtTarget(target: Target, config: Config): Promise<TargetLook> {
  const { signal } = new AbortController();
  const engine = engineFor(target);
  const rules = config.rules.filter((rule) => appliesTo(rule, target.name));
  const questions = tableQuestions(rules);
  try {
    const link = await engine.connect(target, signal);
    try {
      const missing = await link.check(signal);
      // What it would say is of use, not of need.
      const survey = await link.survey(questions, signal).catch(failureText);
      const probes: RuleProbed[] = [];
      for (const { name, probe } of rules)
        if (probe !== undefined) probes.push({ rule: name, probed: await link.probe(probe, signal) });
      return {
        target,
        engine: link.facts.engine ?? engine.name,
        answer: { kind: "seen", facts: link.facts, abilities: link.capabilities, missing, survey, probes },
      };
    } finally {
      await link.close();
    }
  } catch (error) {
    return { target, engine: engine.name, answer: { kind: "failed", error: failureText(error) } };
  }
}

/** What all targets said together decides what a name in a rule is worth. */
export function judgeTargets(looks: readonly TargetLook[], config: Config): readonly TargetCheck[] {
  const all = looks.flatMap(({ target, answer }): readonly Surveyed[] =>
    answer.kind === "seen" && typeof answer.survey !== "string" ? [{ target: target.name, survey: answer.survey }] : [],
  );
  return looks.map(({ target, engine, answer }): TargetCheck => {
    const head = { target: target.name, engine };
    if (answer.kind === "failed") {
      const nothing = { version: null, role: null, recovery: null, encrypted: null };
      return {
        ...head,
        ...nothing,
        ok: false,
        error: answer.error,
        missing: [],
        warnings: [],
        probes: [],
        gaps: [],
        notes: [],
      };
    }
    const { version, role, recovery, encrypted } = answer.facts;
    const { missing, survey, probes, abilities } = answer;
    const rules = config.rules.filter((rule) => appliesTo(rule, target.name));
    const unable = abilityDoubts(rules, abilities);
    const ok = missing.every((one) => !isNeeded(one, config, target));
    const seen = {
      ...head,
      ok,
      version,
      role,
      recovery,
      encrypted,
      error: null,
      missing,
      probes,
      notes: abilityNotes(rules, abilities),
    };
    if (typeof survey === "string")
      return { ...seen, warnings: unable, gaps: [`rules were not compared with the server: ${survey}`] };
    const here = { target: target.name, survey };
    const warnings = [
      ...unable,
      ...timeoutDoubts(rules, survey, config.protect),
      ...nameDoubts(config, { here, all, nearest }),
      ...preparedDoubts(rules, survey),
    ];
    return { ...seen, warnings: inOrder(warnings, config), gaps: survey.gaps };
  });
}

function preparedDoubts(rules: readonly Rule[], { mostPrepared }: Survey): readonly Doubt[] {
  const text = "match.prepared: nobody is ever found, as max_prepared_transactions is 0 on this server";
  return rules
    .filter(({ match }) => mostPrepared === 0 && match.prepared !== undefined)
    .map(({ name }) => ({ rule: name, text: `rule ${name} ${text}` }));
}

/** All of one rule together, in the config's order; what is of no rule last. */
function inOrder(doubts: readonly Doubt[], { rules }: Config): readonly Doubt[] {
  const at = ({ rule }: Doubt) => (rule === null ? rules.length : rules.findIndex(({ name }) => name === rule));
  return doubts.toSorted((one, other) => at(one) - at(other));
}

/** Whoever only observes needs no right to signal. */
function isNeeded({ needed }: Missing, { mode, rules }: Config, target: Target): boolean {
  if (needed !== "to act") return needed === "to see";
  if (mode === "observe" || target.mode === "observe") return false;
  return rules.some(
    (rule) =>
      appliesTo(rule, target.name) &&
      rule.mode !== "observe" &&
      rule.steps.some((step) => step === "cancel" || step === "terminate"),
  );
}

export function targetGroup(checked: TargetCheck, { target, answer }: TargetLook, config: Config): Group {
  if (checked.error !== null)
    return { heading: checked.target, summary: "", found: [{ mark: "error", text: checked.error }] };
  const { engine, version, role, recovery, encrypted } = checked;
  const standing = `${recovery === true ? "a standby" : "primary"}, ${encrypted === true ? "TLS" : "not encrypted"}`;
  const survey = answer.kind === "seen" && typeof answer.survey !== "string" ? answer.survey : null;
  return {
    heading: checked.target,
    summary: `${engine} ${version}, role ${role}, ${standing}`,
    found: [
      ...checked.missing.map((one) => missingFound(one, isNeeded(one, config, target))),
      ...checked.warnings.map(({ text }): Found => ({ mark: "warning", text })),
      ...checked.probes.map((one) => probeFound(one, unknownDatabase(one.rule, config, survey))),
      ...[...checked.gaps, ...checked.notes].map((text): Found => ({ mark: "note", text })),
      ...(survey === null || checked.warnings.length > 0 ? [] : [timeoutsFound(survey)]),
    ],
  };
}

/** A rule whose probe cannot be run acts on nobody. */
function probeFound({ rule, probed }: RuleProbed, unknown: string | null): Found {
  if (probed.kind === "failed" && unknown !== null)
    return {
      mark: "warning",
      text: `rules.${rule}.probe.database: ${unknown}; until there is one the rule acts on nobody`,
    };
  const text = `rule ${rule}: ${probedText(probed)}`;
  if (probed.kind !== "failed") return { mark: "note", text };
  return { mark: "warning", text: `${text}; until it can be run the rule acts on nobody` };
}

/** What is wrong with where a probe is to run; null: nothing, or it is not known. */
function unknownDatabase(name: string, { rules }: Config, survey: Survey | null): string | null {
  const database = rules.find((rule) => rule.name === name)?.probe?.database;
  if (database === undefined || survey === null || survey.databases.includes(database)) return null;
  return `expected a database of this server, got ${quote(database)}${didYouMean(database, survey.databases)}`;
}

function missingFound({ missing, grant, needed }: Missing, isError: boolean): Found {
  const text = needed === "to act" && !isError ? `${missing}; by this config nobody is signalled there` : missing;
  const word = needed === "to see" || needed === "to act" ? "missing: " : "";
  const mark = isError ? "error" : needed === "known" ? "note" : "warning";
  return { mark, text: `${word}${text}`, sql: grant };
}

/** That all is well is said with what it was compared with. */
function timeoutsFound({ timeouts }: Survey): Found {
  // One setting may be a limit of two kinds.
  const on = [...new Set(timeouts.filter(({ kind, ms }) => ms > 0 && kind !== "deadlock").map(timeoutText))];
  const most = 6;
  const more = on.length > most ? ` and ${on.length - most} more` : "";
  const text =
    on.length === 0
      ? "the server ends no session by a timeout of its own, so every rule comes first"
      : `every rule acts before the server's own ${on.slice(0, most).join(", ")}${more}`;
  return { mark: "ok", text };
}
