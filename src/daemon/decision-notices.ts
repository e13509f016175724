import type { Decision, Outcome } from "../core/decision.ts";
import type { Incident } from "../core/history.ts";
import { nextText } from "../core/ladder.ts";
import { type News, newsOfDecision, newsOfOutcome, subjectText, toldBy } from "../core/news.ts";
import type { Notice } from "../notify/channel.ts";
import { ruleNamed } from "./settings.ts";
import { sendNotice, type Telling, writeObserved } from "./telling.ts";
import type { Together } from "./together.ts";

// What people are told of one decision, or of how an act ended: each is told once, and the incident remembers it.

export type DecisionTelling = Telling &
  Readonly<{
    /** The memory's own, changed in place: with a copy for each of many decisions a storm would take minutes. */
    incidents: Map<string, Incident>;
    together: Together;
  }>;

/** Without an incident it has not matched yet: a protected one is told when it would have been a victim. */
export function newsFor(decision: Decision, { incidents, leader }: DecisionTelling): News | null {
  const incident = incidents.get(decision.incident);
  if (incident === undefined || decision.kind === "wait") return null;
  // Whoever led before may have died before it told: rather twice than never.
  const isKnown = incident.told === toldBy(decision) && !(leader && incident.unheard === true);
  return isKnown ? null : newsOfDecision(decision);
}

/** Written down and told, where it is news. */
export async function tellDecision(decision: Decision, context: DecisionTelling): Promise<void> {
  const news = newsFor(decision, context);
  if (news === null) return;
  if (decision.kind !== "act") await writeObserved(decision, context);
  publish(news, decision, null, context);
}

/** `last`: the rule has no further step. `told`: what people heard of it last. */
type Ended = Readonly<{ decision: Decision; outcome: Outcome; last: boolean; told: string | null }>;

/** In the log, and told where it is news. */
export function tellOutcome({ decision, outcome, last, told }: Ended, context: DecisionTelling): void {
  context.report(
    outcome.kind === "released" ? "info" : "warn",
    factsOf(decision, outcome),
    `${decision.action} ${subjectText(decision)}: ${outcome.kind}: ${outcome.text}`,
  );
  const refusals = context.incidents.get(decision.incident)?.refusals ?? 0;
  const news = newsOfOutcome(decision, outcome, { last, told, refusals });
  if (news !== null) publish(news, decision, outcome, context);
}

function publish(news: News, decision: Decision, outcome: Outcome | null, context: DecisionTelling): void {
  const { incidents, settings, leader } = context;
  // How an act ended is told at once, and of each: limits keep these few.
  const bundle = leader && outcome === null ? context.together.take(news, decision) : null;
  const incident = incidents.get(decision.incident);
  if (incident !== undefined) incidents.set(incident.key, toldNow(incident, news, { leader, bundle }));
  if (bundle !== null) return;
  const { phase, text } = news;
  const said = { incident: decision.incident, phase, decision, outcome, text, details: nextStep(decision, settings) };
  sendNotice(said, ruleNamed(decision.rule, settings)?.notify, context);
}

function toldNow(
  { together: _before, ...incident }: Incident,
  { told }: News,
  { leader, bundle }: Readonly<{ leader: boolean; bundle: string | null }>,
): Incident {
  return { ...incident, told, unheard: !leader, ...(bundle !== null && { together: bundle }) };
}

/** Whoever is told before a rule acts hears what it will do next, and when. */
function nextStep(decision: Decision, settings: Telling["settings"]): NonNullable<Notice["details"]> {
  const rule = ruleNamed(decision.rule, settings);
  if (rule === undefined || decision.kind !== "act" || decision.action !== "notify") return [];
  const acts = settings.mode === "enforce" && rule.mode !== "observe";
  const held = acts ? null : ((rule.mode === "observe" ? null : settings.barred) ?? "mode is observe");
  return [{ title: "NEXT", lines: [nextText(rule, decision.step, held)] }];
}

function factsOf(decision: Decision, outcome: Outcome): object {
  const { victim } = decision.evidence;
  const session =
    victim.kind === "session"
      ? { pid: victim.pid, sessionId: victim.sessionId, user: victim.user, database: victim.database }
      : { gid: victim.gid };
  return {
    rule: decision.rule,
    action: decision.action,
    ...session,
    outcome: outcome.kind,
    tookMs: outcome.tookMs,
    freed: outcome.freed.length,
  };
}
