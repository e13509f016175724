/** How a server's statements write constants where that is not as standard SQL has it. */
export type Quoting =
  /** 'it\'s', "a constant", `a name`, # a comment. */
  | "backslash"
  /** q'[it's]'. */
  | "alternative";

// Statements are shown with every constant masked, by the rules of standard SQL. What may also be written differently is
// rewritten so that nothing of a constant is taken for anything else. Where it depends on the session's own settings what a
// character means, the rest is cut off.

/** One literal, quoted name or comment that begins here, and where it ends; null: none does. */
type Piece = Readonly<{ text: string; end: number }>;

/** The same statement, its constants empty and its comments gone. */
export function standardText(text: string, quoting: Quoting): string {
  const pieceAt = quoting === "backslash" ? backslashPiece : alternativePiece;
  let result = "";
  for (let at = 0; at < text.length; ) {
    const piece = pieceAt(text, at);
    // A letter before a literal would give it another meaning.
    if (piece !== null && /[\w$&'"\u0080-\uffff]$/.test(result.slice(-1))) result += " ";
    result += piece?.text ?? plain(text.charAt(at), result);
    at = piece?.end ?? at + 1;
  }
  return result;
}

/** Only within a name is it a part of one: by the standard scanner's rules it may begin a literal. */
function plain(character: string, before: string): string {
  if (character !== "$") return character;
  return /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*$/.test(before.slice(-128)) ? "$" : "_";
}

function backslashPiece(text: string, at: number): Piece | null {
  const first = text.charAt(at);
  if (first === "#") return rest(text, at);
  if (text.startsWith("--", at) && /[^\s\p{Cc}]/u.test(text.charAt(at + 2))) return unclearComment(text, at);
  if (first === "'" || first === '"') return literal(text, at);
  return first === "`" ? name(text, at) : comment(text, at);
}

function alternativePiece(text: string, at: number): Piece | null {
  const first = text.charAt(at);
  const isWordBefore = /[\w$#]/.test(text.charAt(at - 1));
  if (!isWordBefore && /^n?q'/i.test(text.slice(at, at + 3))) return alternative(text, text.indexOf("'", at));
  if (first === "'") return literal(text, at);
  return first === '"' ? name(text, at) : comment(text, at);
}

/** A doubled quote is one of it. Whether a backslash escapes is up to the session. */
function literal(text: string, at: number): Piece {
  const close = text.charAt(at);
  let escaping = false;
  for (let next = at + 1; next < text.length; next++) {
    const here = text.charAt(next);
    if (here === close) {
      if (escaping) return cut(text);
      if (text.charAt(next + 1) !== close) return { text: "''", end: next + 1 };
      next++;
    }
    escaping = here === "\\" && !escaping;
  }
  return cut(text);
}

/** Shown, as names are. */
function name(text: string, at: number): Piece {
  const close = text.charAt(at);
  let content = "";
  for (let next = at + 1; next < text.length; next++) {
    const here = text.charAt(next);
    if (here !== close) content += here;
    else if (text.charAt(next + 1) === close) content += text.charAt(++next);
    else return { text: `"${content.replaceAll('"', '""')}"`, end: next + 1 };
  }
  return cut(text);
}

const closing: Readonly<Record<string, string>> = { "[": "]", "(": ")", "{": "}", "<": ">" };

function alternative(text: string, quote: number): Piece {
  const open = text.charAt(quote + 1);
  const close = `${closing[open] ?? open}'`;
  const end = text.indexOf(close, quote + 2);
  return end === -1 ? cut(text) : { text: "''", end: end + close.length };
}

function comment(text: string, at: number): Piece | null {
  if (text.startsWith("--", at)) return rest(text, at);
  if (!text.startsWith("/*", at)) return null;
  const end = text.indexOf("*/", at + 2);
  const content = text.slice(at + 2, end === -1 ? undefined : end);
  // What a server reads as hints or as a part of the statement may have constants of its own, with the end of a comment in them.
  if (/^[!+]/.test(content) && /['"`]/.test(content)) return cut(text);
  return { text: " ", end: end === -1 ? text.length : end + 2 };
}

/** Two signs or a comment: some servers want a blank after it. */
function unclearComment(text: string, at: number): Piece {
  const line = rest(text, at);
  return /['"`]|\/\*/.test(text.slice(at, line.end)) ? cut(text) : line;
}

/** As far as the end of the line. */
function rest(text: string, at: number): Piece {
  const end = text.indexOf("\n", at);
  return { text: " ", end: end === -1 ? text.length : end };
}

/** Left open, so that whoever masks it sees that something is missing. */
function cut(text: string): Piece {
  return { text: "'", end: text.length };
}
