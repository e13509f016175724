import type { Subject } from "./condition.ts";
import type { Expected } from "./expectation.ts";
import { type History, subjectKey } from "./history.ts";
import type { CompiledRule, Evaluation } from "./rules.ts";
import type { Session } from "./session.ts";
import type { Snapshot } from "./snapshot.ts";

/** One look and what came of it; `history`: before this look. */
export type Judged = Readonly<{
  snapshot: Snapshot;
  evaluation: Evaluation;
  rules: readonly CompiledRule[];
  history: History;
}>;

/** Why nothing was decided about somebody of whom a test expected it: of each rule the first thing that spoke against it. */
export function whyNot({ who, rule }: Expected, { snapshot, evaluation, rules }: Judged): string {
  if (!("pid" in who)) return `no rule is about prepared transaction ${who.gid}`;
  const session = snapshot.sessions.find(({ key }) => key === who.pid);
  if (session === undefined) return `there is no session ${who.pid} at this moment`;
  const subject = evaluation.subjectOf(session);
  const nobody = outOfQuestion(session);
  if (nobody !== null) return nobody;
  const asked = rules.filter((one) => rule === null || one.rule.name === rule);
  return asked.map((one) => `rule ${one.rule.name}: ${against(one, subject)}`).join("; ");
}

function outOfQuestion(session: Session): string | null {
  if (session.own) return "it is Lockwarden's own: no rule is ever about it";
  if (session.role !== "client") return `it is no client backend but ${session.backendType ?? "unknown"}`;
  if (session.group !== null) return `it is a parallel worker: its leader ${session.group} is judged for it`;
  return subjectKey(session) === null ? "its transaction does not show" : null;
}

function against(rule: CompiledRule, subject: Subject): string {
  const { session, graph } = subject;
  if (graph.inCycle(session.key)) return "it is in a deadlock, which the server itself resolves";
  if (rule.ownWait === null && !graph.isRoot(session.key))
    return "it waits itself, and a rule without waits is only about the root of a chain";
  for (const condition of rule.match) {
    const distance = condition.distance(subject);
    if (distance < Number.POSITIVE_INFINITY) continue;
    const unknown = Number.isNaN(distance) ? "; an unknown value never matches" : "";
    return `${condition.name}: expected ${condition.wanted}, got ${condition.seen(subject)}${unknown}`;
  }
  return "nothing speaks against it"; // one that matches is always decided about
}
