import { parseDuration } from "../config/duration.ts";
import type { Config, Mode, Target } from "../config/schema.ts";
import { barredText, lackingSteps } from "../core/abilities.ts";
import type { Patterns } from "../core/condition.ts";
import type { Signal } from "../core/decision.ts";
import { compileProtection, type Protection } from "../core/guards.ts";
import { type CompiledRule, compileRules } from "../core/rules.ts";
import type { Link, Look, Missing } from "../engines/engine.ts";

/** One config, made ready for one target; never changed, only replaced. */
export type Settings = Readonly<{
  target: Target;
  /** Digest of the whole config. */
  digest: string;
  mode: Mode;
  rules: readonly CompiledRule[];
  protection: Protection;
  protect: Config["protect"];
  limits: Config["limits"];
  verifyMs: number;
  queryText: Config["query_text"];
  sessions: Look["sessions"];
  /** Some rule is about prepared transactions: they are read even while nobody waits for one. */
  prepared: boolean;
  /** Some rule asks whether a transaction has written. */
  written: boolean;
  /** Looks are never further apart than this; Infinity when no rule acts. */
  shortestThresholdMs: number;
  /** Steps that the server has no way to take; nothing is known of that before a connection. */
  cannot: readonly Signal[];
  /** Why nobody is signalled on the server that was connected to, though the config asks for it; null: nothing bars it. */
  barred: string | null;
}>;

/** Looking more often than this would be a load of its own. */
const shortestLookMs = 100;

export function settingsFor(config: Config, digest: string, target: Target, patterns: Patterns): Settings {
  const rules = compileRules(
    config.rules.filter((rule) => rule.targets === undefined || rule.targets.includes(target.name)),
    patterns,
  );
  return {
    target,
    digest,
    mode: config.mode === "observe" || target.mode === "observe" ? "observe" : "enforce",
    rules,
    protection: compileProtection(config.protect, patterns),
    protect: config.protect,
    limits: config.limits,
    verifyMs: config.verify_for,
    queryText: config.query_text,
    prepared: rules.some(({ rule }) => rule.match.prepared !== undefined),
    written: rules.some(
      ({ rule }) => asksWritten(rule.match) || (rule.except !== undefined && asksWritten(rule.except)),
    ),
    sessions: rules.some(needsIdleSessions) ? "all" : "transactions",
    shortestThresholdMs: shortestThreshold(rules, parseDuration(target.poll) === null),
    cannot: [],
    barred: null,
  };
}

/** What holds on the server that was connected to: where nobody may be signalled, what would be done is only told. */
export function settingsOn(
  settings: Settings,
  { capabilities, facts }: Pick<Link, "capabilities" | "facts">,
): Settings {
  const there = { ...settings, cannot: lackingSteps(capabilities) };
  if (capabilities.acts) return there;
  return { ...there, mode: "observe", barred: settings.mode === "observe" ? null : barredText(facts.recovery) };
}

export function ruleNamed(name: string, { rules }: Pick<Settings, "rules">): CompiledRule["rule"] | undefined {
  return rules.find(({ rule }) => rule.name === name)?.rule;
}

/** Whether anybody may be acted on by it. */
export function enforces({ mode, rules }: Pick<Settings, "mode" | "rules">): boolean {
  return mode === "enforce" && rules.some(({ acts, rule }) => acts && rule.mode !== "observe");
}

/** What is missing and needed: whoever only observes need not be able to act. */
export function lackingOf(missing: readonly Missing[], settings: Pick<Settings, "mode" | "rules">): readonly Missing[] {
  return missing.filter(({ needed }) => needed === "to see" || (needed === "to act" && enforces(settings)));
}

function asksWritten({ has_written }: CompiledRule["rule"]["match"]): boolean {
  return has_written !== undefined;
}

/** Could it match a session that has no transaction and waits for nothing? */
function needsIdleSessions({ rule: { match } }: CompiledRule): boolean {
  if (match.prepared !== undefined) return false;
  const states = match.state;
  if (states?.includes("idle") === true) return true;
  const inTransaction =
    match.transaction_for ??
    match.query_for ??
    match.idle_for ??
    match.blocks ??
    match.waits ??
    match.xmin_age ??
    match.holds;
  return states === undefined && inTransaction === undefined && match.has_written !== true;
}

/**
 * The shortest age in a rule that acts: with looks no further apart, each candidate is seen before its moment.
 * A cron schedule says itself when to look: there only what a look has seen is followed up.
 */
function shortestThreshold(rules: readonly CompiledRule[], cron: boolean): number {
  if (cron) return Number.POSITIVE_INFINITY;
  const ages = rules
    .filter((rule) => rule.acts)
    .flatMap(({ rule: { match } }) => [
      match.idle_for,
      match.transaction_for,
      match.query_for,
      match.connected_for,
      match.blocks?.for,
      match.waits?.for,
      match.prepared?.for,
    ])
    .filter((age) => age !== undefined);
  return Math.max(shortestLookMs, Math.min(Number.POSITIVE_INFINITY, ...ages));
}
