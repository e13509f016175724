import { lower, type Token, unquote } from "./tokens.ts";
import type { KillGrammar } from "./versions.ts";

// ALTER SYSTEM KILL SESSION 'n, m' [IMMEDIATE], as gram.y of both generations reads it: it becomes a plain SELECT, whose
// column tells which function ran. The old one looks at the first number only.

export type Refusal = Readonly<{ code: string; message: string }>;

/** The statement that it is made into, or why not; null: this is another statement. */
export function killSession(tokens: readonly Token[], grammar: KillGrammar): string | Refusal | null {
  const [first, second, verb, noun, argument, option, extra] = tokens;
  if (lower(first) !== "alter" || lower(second) !== "system") return null;
  if (lower(noun) !== "session" || !["kill", "disconnect"].includes(lower(verb))) return null;
  if (argument?.kind !== "string") return stumble(argument);
  if (option !== undefined && lower(option) !== "immediate") return stumble(option);
  if (extra !== undefined) return stumble(extra);
  if (lower(verb) === "disconnect")
    return { code: "42704", message: `unsupported action "DISCONNECT" for statement " alter system "` };
  const numbers = /^\s*(\d+)\s*,\s*(\d+)\s*$/.exec(unquote(argument.text));
  if (numbers === null) return { code: "42704", message: "missing or invalid session ID" };
  return grammar === "session"
    ? `select gauss.pg_terminate_session('${numbers[1]}', '${numbers[2]}')`
    : `select gauss.pg_terminate_backend('${numbers[1]}')`;
}

export function stumble(at: Token | undefined): Refusal {
  const message = at === undefined ? "syntax error at end of input" : `syntax error at or near "${at.text}"`;
  return { code: "42601", message };
}
