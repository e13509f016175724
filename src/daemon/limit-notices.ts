import { momentText, openBreaker, openedBy } from "../core/breaker.ts";
import { type CrowdNews, crowdsNow, crowdText, mostNamed } from "../core/crowd.ts";
import type { Decision } from "../core/decision.ts";
import type { OpenBreaker } from "../core/history.ts";
import { breakerClosed, breakerOpened } from "../core/journal-past.ts";
import { maskDecision, type QueryText } from "../query-text.ts";
import { sendNotice, type Telling, writeObserved } from "./telling.ts";

/** The breaker has opened or closed since people were told of it. `atMs` by the server's clock. */
export async function tellBreaker(context: Telling, atMs: number): Promise<void> {
  const { memory, settings } = context;
  const { breaker } = settings.limits;
  const { breaker: told } = memory.history;
  const open = openBreaker(memory.history, breaker, atMs);
  const { name } = settings.target;
  if (told !== null && (open === null || open.sinceMs >= told.untilMs)) {
    await sayBreaker(
      context,
      breakerClosed,
      told,
      `the breaker is closed again: Lockwarden acts on ${name} as its rules say`,
    );
  }
  if (open !== null && breaker !== false && (told === null || open.sinceMs >= told.untilMs)) {
    const until = `Lockwarden touches nobody on ${name} until ${momentText(open.untilMs)}, and goes on by itself then`;
    await sayBreaker(context, breakerOpened, open, `the breaker is open: ${openedBy(breaker)}; ${until}`);
  }
  if (told !== open) memory.history = { ...memory.history, breaker: open };
}

async function sayBreaker(
  context: Telling,
  code: string,
  { sinceMs, untilMs }: OpenBreaker,
  text: string,
): Promise<void> {
  const { settings, journal, newId, now, report } = context;
  const target = settings.target.name;
  const at = now().toISOString();
  const reason = { code, text, facts: { sinceMs, untilMs } };
  // What it cannot write the journal says itself.
  await journal.write({ v: 1, id: newId(), at, target, event: "breaker", reason }).catch(() => undefined);
  report("warn", reason.facts, text);
  const details = code === breakerOpened ? [{ title: "WHAT TO DO", lines: whileOpen(target) }] : [];
  const incident = `breaker ${target} ${sinceMs}`;
  sendNotice({ incident, phase: "system", text, details }, undefined, context);
}

function whileOpen(target: string): readonly string[] {
  return [
    "Find out why so many were stuck: lockwarden tree and lockwarden history.",
    `To end one of them by hand all the same: lockwarden kill 'PID,SESSIONID' --target ${target}`,
    "To close the breaker now: limits.breaker: false in the config, and reload it.",
  ];
}

/** One notice for all whom limits hold back, for each set of channels; one more when nobody is held back any more. */
export async function tellCrowds(decisions: readonly Decision[], context: Telling, show: QueryText): Promise<void> {
  const { memory, settings, newId } = context;
  const { crowds, news } = crowdsNow(memory.history.crowds, decisions, { rules: settings.rules, newId });
  if (crowds !== memory.history.crowds) memory.history = { ...memory.history, crowds };
  for (const one of news) await tellCrowd(one, context, show);
}

async function tellCrowd(news: CrowdNews, context: Telling, show: QueryText): Promise<void> {
  const named = news.members.slice(0, mostNamed).map((one) => maskDecision(one, show));
  // On record as far as it is told by name.
  for (const decision of named) await writeObserved(decision, context);
  const { text, details } = crowdText(news, named, context.settings);
  const decision = news.members.length === 1 ? (named[0] ?? null) : null;
  const { incident, phase, channels } = news;
  sendNotice({ incident, phase, decision, text, details }, channels, context);
}
