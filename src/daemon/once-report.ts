import type { Decision } from "../core/decision.ts";
import type { Judgement } from "./tick.ts";

/** One target's part of what `once` prints; the form of design: programs rely on it. */
export type TargetReport =
  | Readonly<{ target: string; decisions: readonly DecisionReport[] }>
  | Readonly<{ target: string; error: string; decisions: readonly [] }>;

type DecisionReport = Readonly<{
  decision: Decision["kind"];
  by: string | null;
  inMs: number | null;
  rule: string;
  action: string;
  reason: string;
  code: string;
  session: Readonly<Record<string, string | number | null>>;
  outcome: string | null;
  outcomeText: string | null;
}>;

export function reportOf(target: string, judgements: readonly Judgement[]): TargetReport {
  return { target, decisions: judgements.map(decisionReport) };
}

function decisionReport({ decision, outcome }: Judgement): DecisionReport {
  const { victim } = decision.evidence;
  return {
    decision: decision.kind,
    by: decision.kind === "spare" ? decision.by : null,
    inMs: decision.kind === "wait" ? Math.ceil(decision.inMs) : null,
    rule: decision.rule,
    action: decision.action,
    reason: decision.reason.text,
    code: decision.reason.code,
    session:
      victim.kind === "session"
        ? {
            pid: victim.pid,
            sessionId: victim.sessionId,
            user: victim.user,
            database: victim.database,
            application: victim.application,
            client: victim.client,
            state: victim.state,
          }
        : { gid: victim.gid, user: victim.user, database: victim.database },
    outcome: outcome?.kind ?? null,
    outcomeText: outcome?.text ?? null,
  };
}

/** For people: one line per decision. */
export function reportLines(report: TargetReport): string[] {
  if ("error" in report) return [`${report.target}: ${report.error}`];
  if (report.decisions.length === 0) return [`${report.target}: nothing to do`];
  return report.decisions.map(
    ({ decision, rule, action, session, reason, outcome, outcomeText }) =>
      `${report.target}: ${rule}: ${{ act: action, wait: "watches", spare: "spares" }[decision]} ` +
      `${session["pid"] === undefined ? session["gid"] : `${session["pid"]},${session["sessionId"]}`} (${session["user"] ?? "unknown user"}): ` +
      `${reason}${outcome === null ? "" : ` → ${outcome}: ${outcomeText}`}`,
  );
}
