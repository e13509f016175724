import type { Config } from "./config/schema.ts";
import type { Decision, Evidence } from "./core/decision.ts";
import { once } from "./core/once.ts";
import type { Session, Statement } from "./core/session.ts";
import { type Quoting, standardText } from "./core/standard-text.ts";

/** A session's query text as it may leave the process; null when nothing may, or there is none. */
export type QueryText = (session: Statement) => string | null;

/** Longest query text that is kept, in characters; the server's own default cut is 1,024 bytes. */
const longest = 2_000;
const mostCuts = 10;
const mostKnown = 5_000;

/** Loads PostgreSQL's own scanner (once, when it is first needed). */
export async function queryText(mode: Config["query_text"]): Promise<QueryText> {
  if (mode === "none") return () => null;
  if (mode === "plain") return ({ query }) => query?.slice(0, longest) ?? null;
  const scanner = await import("libpg-query");
  await scanner.loadModule();
  return remembering((query, quoting) => {
    const text = query.slice(0, longest);
    return masked(quoting === undefined ? text : standardText(text, quoting), scanner.scanSync);
  });
}

/** Scanning takes time; in a jam the same statements are shown again and again, as everybody waits behind everybody. */
function remembering(show: (query: string, quoting: Quoting | undefined) => string): QueryText {
  const known = new Map<string, string>();
  return ({ query, quoting }) => {
    if (query === null) return null;
    const key = `${quoting ?? "standard"} ${query}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    if (known.size >= mostKnown) known.clear();
    const shown = show(query, quoting);
    known.set(key, shown);
    return shown;
  };
}

type Scan = (text: string) => { tokens: readonly { start: number; end: number; tokenName: string }[] };

/** Every constant becomes `?`, every comment goes. What cannot be scanned is cut back until it can, or to its first word. */
function masked(text: string, scan: Scan): string {
  // With standard_conforming_strings off this would end elsewhere than the scanner believes.
  if (text.includes("\\'")) return firstWord(text);
  const openings = Array.from(text.matchAll(/['"$]|\/\*/g), ({ index }) => index);
  let left = openings.length;
  for (let cuts = 0; cuts < mostCuts; cuts++) {
    const rest = text.slice(0, openings[left] ?? text.length);
    if (rest.trim() === "") break;
    try {
      return rebuild(Buffer.from(rest), scan(rest).tokens) + (cuts === 0 ? "" : " …");
    } catch {
      // Cut off by the server in the middle of a token: its message would show what is to be hidden.
      if (left === 0) break;
      // One opening, one more, then ever more at once: whoever writes hundreds of them must not keep others waiting.
      left = Math.max(0, left - Math.ceil(2 ** (cuts - 2)));
    }
  }
  return firstWord(text);
}

function rebuild(bytes: Buffer, tokens: ReturnType<Scan>["tokens"]): string {
  let result = "";
  let at = 0;
  for (const { start, end, tokenName } of tokens) {
    if (result !== "" && start > at) result += " ";
    at = end;
    const token = bytes.toString("utf8", start, end);
    if (tokenName === "SQL_COMMENT" || tokenName === "C_COMMENT") continue;
    result += isConstant(token) ? "?" : token;
  }
  return result.trim();
}

function isConstant(token: string): boolean {
  return (
    token.includes("'") ||
    (/^[.\d]/.test(token) && token !== "." && token !== "..") ||
    /^\$(?:[^\d$][^$]*)?\$/.test(token)
  );
}

function firstWord(text: string): string {
  const word = /^\s*([A-Za-z]{1,30})\b/.exec(text)?.[1];
  return word === undefined ? "…" : `${word} …`;
}

/** The decision with every query text in its evidence as it may leave the process; masked when somebody asks for it. */
export function maskDecision<D extends Decision>(decision: D, show: QueryText): D {
  const evidence = once(() => maskEvidence(decision.evidence, show));
  const parts = {
    ...Object.getOwnPropertyDescriptors<Decision>(decision),
    evidence: { get: evidence, enumerable: true },
    // Its own getter knows only the decision that it belongs to.
    reason: { get: () => decision.reason, enumerable: true },
  };
  return Object.defineProperties({}, parts) as D;
}

function maskEvidence(evidence: Evidence, show: QueryText): Evidence {
  const hide = (session: Session): Session => ({
    ...session,
    query: show(session),
  });
  const victim = evidence.victim.kind === "session" ? hide(evidence.victim) : evidence.victim;
  return { ...evidence, victim, waiters: evidence.waiters.map(hide) };
}
