import type { Server } from "./connection.ts";

// Statements are shown with every constant masked, by the rules of standard SQL. What the two modes write differently is
// rewritten so that nothing of a constant is taken for anything else.

/** One literal, quoted name or comment that begins here, and where it ends; null: none does. */
type Piece = Readonly<{ text: string; end: number }>;

/** The same statement with its constants in single quotes, and without comments that only the server knows. */
export function statementText(text: string, mode: Server["mode"]): string {
  const pieceAt = mode === "mysql" ? mysqlPiece : oraclePiece;
  let result = "";
  for (let at = 0; at < text.length; ) {
    const piece = pieceAt(text, at) ?? comment(text, at);
    result += piece?.text ?? text.charAt(at);
    at = piece?.end ?? at + 1;
  }
  return result;
}

function mysqlPiece(text: string, at: number): Piece | null {
  const first = text.charAt(at);
  if (first === "#") return rest(text, at);
  if (first === "'" || first === '"') return quoted(text, { at, close: first, escapes: true, as: "'" });
  return first === "`" ? quoted(text, { at, close: "`", escapes: false, as: '"' }) : null;
}

function oraclePiece(text: string, at: number): Piece | null {
  const first = text.charAt(at);
  const isWordBefore = /[\w$#]/.test(text.charAt(at - 1));
  if (!isWordBefore && /^n?q'/i.test(text.slice(at, at + 3))) return alternative(text, text.indexOf("'", at));
  if (first !== "'" && first !== '"') return null;
  return quoted(text, { at, close: first, escapes: false, as: first });
}

type Quoted = Readonly<{ at: number; close: string; escapes: boolean; as: string }>;

/** A doubled quote is one of it. What does not end stays open, so that whoever masks it sees that it was cut off. */
function quoted(text: string, { at, close, escapes, as }: Quoted): Piece {
  let content = "";
  for (let next = at + 1; next < text.length; next++) {
    const here = text.charAt(next);
    if (escapes && here === "\\") content += text.charAt(++next);
    else if (here !== close) content += here;
    else if (text.charAt(next + 1) === close) content += text.charAt(++next);
    else return { text: `${as}${doubled(content, as)}${as}`, end: next + 1 };
  }
  return { text: `${as}${doubled(content, as)}`, end: text.length };
}

const closing: Readonly<Record<string, string>> = { "[": "]", "(": ")", "{": "}", "<": ">" };

/** q'[it's]' */
function alternative(text: string, quote: number): Piece {
  const open = text.charAt(quote + 1);
  const close = `${closing[open] ?? open}'`;
  const end = text.indexOf(close, quote + 2);
  const content = doubled(text.slice(quote + 2, end === -1 ? undefined : end), "'");
  return end === -1 ? { text: `'${content}`, end: text.length } : { text: `'${content}'`, end: end + close.length };
}

function doubled(content: string, quote: string): string {
  return content.replaceAll(quote, quote + quote);
}

function comment(text: string, at: number): Piece | null {
  if (text.startsWith("--", at)) return rest(text, at);
  if (!text.startsWith("/*", at)) return null;
  const end = text.indexOf("*/", at + 2);
  return { text: " ", end: end === -1 ? text.length : end + 2 };
}

/** As far as the end of the line. */
function rest(text: string, at: number): Piece {
  const end = text.indexOf("\n", at);
  return { text: " ", end: end === -1 ? text.length : end };
}
