import type { Picture, Way } from "../core/by-hand.ts";
import { isIdle, type SessionState } from "../core/session.ts";
import { few } from "../core/standing.ts";
import { unreachable } from "../core/unreachable.ts";
import { personLines, standingText } from "./explain-text.ts";
import { wrap } from "./wrap.ts";

/** Whom somebody is about to act on, for people. */
export function pictureLines({ target, at, person, standing, behind, lifted }: Picture, columns: number): string[] {
  const say = (text: string) => wrap(text, columns, "  ");
  const moment = at.slice(0, 19).replace("T", " ");
  return [
    ...wrap(`${target} at ${moment} UTC`, columns, ""),
    ...personLines(person, { columns, detailed: true }),
    ...say(standingText(standing)),
    ...(behind.length === 0 ? [] : say(`behind it: ${few(withRest(behind, standing.blocks))}`)),
    ...(lifted === null ? [] : say(`protected, and lifted by --lift-protection: ${lifted}`)),
  ];
}

/** As many names as there are sessions, so that the rest is counted. */
function withRest(names: readonly string[], count: number): readonly string[] {
  return [...names, ...Array.from({ length: Math.max(0, count - names.length) }, () => "")];
}

/** Between the question and the act it may do something else: only the session has to be the same. */
export function questionOf(way: Way, state: SessionState | null): string {
  const byThen = "whatever it is doing by then? [y/N] ";
  switch (way) {
    case "cancel":
      return `cancel its statement, ${byThen}`;
    case "gentle":
      return state === null || isIdle({ state })
        ? `terminate it, ${byThen}`
        : `cancel its statement, then terminate it, ${byThen}`;
    case "immediate":
      return `terminate it, ${byThen}`;
    default:
      return unreachable(way);
  }
}
