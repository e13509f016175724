import type { Decision, Reason } from "../core/decision.ts";
import { victimOf } from "../core/lazy-decision.ts";
import { unreachable } from "../core/unreachable.ts";
import { LinkLost, type Missing } from "../engines/engine.ts";
import type { Judgement } from "./tick.ts";

/** One target's part of what `once` prints; the form of design: programs rely on it. */
export type TargetReport =
  | Readonly<{ target: string; decisions: readonly DecisionReport[] }>
  | Readonly<{ target: string; error: string; decisions: readonly [] }>;

/** One target's look, and what its role lacks of what is needed: told beside the report, and it decides the exit code. */
export type LookReport = Readonly<{ report: TargetReport; lacking: readonly Missing[] }>;

export type DecisionReport = Readonly<{
  decision: Decision["kind"];
  by: Extract<Decision, { kind: "spare" }>["by"] | null;
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

/** A target that could not be looked at. */
export function failureReport(target: string, error: unknown): TargetReport {
  return { target, error: failureText(error), decisions: [] };
}

/** What went wrong, and what to do about it. */
export function failureText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof LinkLost && error.hint !== null ? `${error.message}; ${error.hint}` : error.message;
}

function decisionReport({ decision, outcome }: Judgement): DecisionReport {
  const victim = victimOf(decision);
  const reason = finalReason(decision);
  return {
    decision: decision.kind,
    by: decision.kind === "spare" ? decision.by : null,
    inMs: decision.kind === "wait" ? Math.ceil(decision.inMs) : null,
    rule: decision.rule,
    action: decision.action,
    reason: reason.text,
    code: reason.code,
    session:
      victim.kind === "session"
        ? {
            pid: victim.pid,
            sessionId: victim.sessionId,
            ...(victim.handle !== undefined && { handle: victim.handle }),
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

/** That an intent cannot be written shows only after the act was planned: its reason does not say so yet. */
function finalReason(decision: Decision): Reason {
  const { reason } = decision;
  if (decision.kind !== "spare" || decision.by !== "journal" || reason.code === "journal") return reason;
  const text = `${reason.text}; the journal cannot be written, so nothing was sent`;
  return { ...reason, code: "journal", text };
}

/** For people: one line per decision. */
export function reportLines(report: TargetReport): string[] {
  if ("error" in report) return [`${report.target}: ${report.error}`];
  if (report.decisions.length === 0) return [`${report.target}: nothing to do`];
  return report.decisions.map((one) => {
    const { session, outcome } = one;
    const { gid = null, pid = null, sessionId } = session;
    const handle = sessionId === undefined ? gid : (session["handle"] ?? `${pid ?? "0"},${sessionId}`);
    const result = outcome === null ? "" : ` → ${outcome}: ${one.outcomeText}`;
    const whom = `${handle} (${session["user"] ?? "unknown user"})`;
    return `${report.target}: ${one.rule}: ${verb(one)} ${whom}: ${one.reason}${result}`;
  });
}

function verb({ decision, by, action }: DecisionReport): string {
  switch (decision) {
    case "act":
      return action;
    case "wait":
      return "watches";
    case "spare":
      if (by === "observe" || by === "paused" || by === "follower") return `would ${action}`;
      return by === "journal" ? `did not ${action}` : "spares";
    default:
      return unreachable(decision);
  }
}
