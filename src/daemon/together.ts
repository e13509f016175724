import type { Decision } from "../core/decision.ts";
import { type History, type Incident, wasTold } from "../core/history.ts";
import type { News } from "../core/news.ts";
import { isUntouchable } from "../core/untouchable.ts";
import { ruleNamed } from "./settings.ts";
import { type Said, sendNotice, type Telling } from "./telling.ts";

// A rule may match hundreds at once. Of one look the first ones, which are the oldest, are told each by itself, and the rest in
// one notice; how they end likewise.

/** Beyond so many of one rule and kind in one look, the rest is told together. */
const mostSingle = 10;
/** Of the rest so many are named, the others only counted. */
const mostNamed = 20;

type Bundle = {
  readonly id: string;
  readonly rule: string;
  readonly news: News;
  readonly lines: string[];
  count: number;
};

/** For one look. */
export type Together = Readonly<{
  /** The notice that tells of it together with others; null: it is told by itself. */
  take(news: News, decision: Decision): string | null;
  /** Tells what has been taken. */
  tell(): void;
}>;

export function together(context: Telling): Together {
  const counts = new Map<string, number>();
  const bundles = new Map<string, Bundle>();
  return {
    take(news, { rule }) {
      const key = `${news.told} ${rule}`;
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      if (count <= mostSingle) return null;
      const bundle = bundles.get(key) ?? { id: context.newId(), rule, news, lines: [], count: 0 };
      bundles.set(key, bundle);
      bundle.count++;
      if (bundle.lines.length < mostNamed) bundle.lines.push(news.text);
      return bundle.id;
    },
    tell() {
      for (const bundle of bundles.values()) tellBundle(bundle, context);
      bundles.clear();
    },
  };
}

function tellBundle({ id, rule, news, lines, count }: Bundle, context: Telling): void {
  if (wasTold({ told: news.told })) (context.memory.bundles ??= new Map()).set(id, { rule, count });
  const more = count - lines.length;
  const named = [...lines, ...(more > 0 ? [`and ${more} more`] : [])];
  const details = [{ title: `TOGETHER (${count}), the oldest first`, lines: named }];
  const text = `${count} more of rule ${rule}, the oldest of them: ${news.text}`;
  send(context, rule, { incident: id, phase: news.phase, text, details });
}

/** People who were told that somebody is stuck are told when it ended by itself. */
export function tellEnded(before: History, context: Telling): void {
  const { incidents } = context.memory.history;
  const counts = new Map<string, number>();
  for (const incident of before.incidents.values()) {
    if (incidents.has(incident.key) || !wasTold(incident) || incident.together !== undefined) continue;
    const { rule, key } = incident;
    const count = (counts.get(rule) ?? 0) + 1;
    counts.set(rule, count);
    if (count <= mostSingle)
      send(context, rule, { incident: key, phase: "resolved", text: `rule ${rule}: ${endText(incident)}` });
  }
  for (const [rule, count] of counts) {
    const more = count - mostSingle;
    const text = `rule ${rule}: ${more} more of those that people were told of have ended`;
    if (more > 0) send(context, rule, { incident: context.newId(), phase: "resolved", text });
  }
  tellBundlesEnded(context);
}

function endText({ subject }: Incident): string {
  return isUntouchable(subject) ? "it blocks nobody any more" : "the transaction ended";
}

function tellBundlesEnded(context: Telling): void {
  const { bundles, history } = context.memory;
  if (bundles === undefined || bundles.size === 0) return;
  const left = new Set<string>();
  for (const incident of history.incidents.values()) if (incident.together !== undefined) left.add(incident.together);
  for (const [id, { rule, count }] of bundles) {
    if (left.has(id)) continue;
    bundles.delete(id);
    const text = `rule ${rule}: the ${count} that were told of together have ended, or are told of by themselves`;
    send(context, rule, { incident: id, phase: "resolved", text });
  }
}

function send(context: Telling, rule: string, said: Said): void {
  sendNotice(said, ruleNamed(rule, context.settings)?.notify, context);
}
