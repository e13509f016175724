import { type Config, configSchema } from "../../src/config/schema.ts";
import type { Patterns } from "../../src/core/condition.ts";
import type { Decision } from "../../src/core/decision.ts";
import { compileProtection } from "../../src/core/guards.ts";
import { type History, noHistory } from "../../src/core/history.ts";
import { judge as judgeLook } from "../../src/core/judge.ts";
import type { Circumstances } from "../../src/core/plan.ts";
import { compileRules, evaluate } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";

const patterns: Patterns = {
  regex: (source) => (text) => new RegExp(source).test(text),
  cidr: (ranges) => (address) => ranges.includes(address),
};

/** Of a daemon that may act; all but the moment. */
export function circumstancesOf(config: Pick<Config, "mode" | "protect" | "limits">): Omit<Circumstances, "atMs"> {
  return {
    config: "digest",
    mode: config.mode,
    paused: false,
    leader: true,
    journalled: true,
    protection: compileProtection(config.protect, patterns),
    protectMaintenance: config.protect.maintenance,
    limits: config.limits,
  };
}

export type Judged = Readonly<{ decisions: readonly Decision[]; history: History; circumstances: Circumstances }>;

/** A judge over one config: each call is one look, and remembers the looks before. */
export function judge(
  source: Readonly<{ rules: readonly object[]; protect?: object; limits?: object; mode?: string }>,
  given: Partial<Circumstances> = {},
) {
  const config = configSchema.parse({
    mode: "enforce",
    ...source,
    targets: [{ name: "app", url: "postgres://lockwarden@db/app" }],
  });
  const rules = compileRules(config.rules, patterns);
  let history = noHistory;
  const look = (snapshot: Snapshot): Judged => {
    const evaluation = evaluate(snapshot, rules, history);
    const circumstances = { ...circumstancesOf(config), atMs: snapshot.atMs, ...given };
    const verdict = judgeLook({ snapshot, evaluation }, history, { rules, circumstances });
    history = verdict.history;
    return { ...verdict, circumstances };
  };
  return {
    look,
    /** Only what the rules find, without remembering it. */
    see: (snapshot: Snapshot) => ({ evaluation: evaluate(snapshot, rules, history) }),
    rules,
    config,
    history: () => history,
    setHistory: (next: History) => {
      history = next;
    },
  };
}

/** `act terminate 1`, `wait 5000 terminate 1`, `spare protect 1`. */
export function brief(decision: Decision): string {
  const { victim } = decision.evidence;
  const who = victim.kind === "session" ? victim.pid : victim.gid;
  if (decision.kind === "act") return `act ${decision.action} ${who}`;
  return decision.kind === "wait" ? `wait ${decision.inMs} ${decision.action} ${who}` : `spare ${decision.by} ${who}`;
}
