import type { Mode } from "./world.ts";

/** A word, a quoted name, a string, a number, a @@variable, or any other mark. Blanks and comments are left out. */
export type Token = Readonly<{
  kind: "word" | "name" | "string" | "number" | "variable" | "mark";
  /** A name or a string without its quotes and escapes; a word as it stands. */
  value: string;
}>;

const pieces =
  /(\s+|--[^\n]*|\/\*.*?\*\/)|([A-Za-z_][\w$#]*)|(\d+(?:\.\d+)?)|(@@[\w.]+)|(<=>|<=|>=|<>|!=|\|\||:=)|(['"`])|(.)/gsy;

/**
 * The words of a statement. In Oracle mode a double quote opens a name and a backslash is a plain character:
 * what a driver escapes MySQL's way ends elsewhere there.
 */
export function tokenize(sql: string, mode: Mode): Token[] {
  const tokens: Token[] = [];
  pieces.lastIndex = 0;
  for (let at = 0; at < sql.length; at = pieces.lastIndex) {
    pieces.lastIndex = at;
    const [, blank, word, number, variable, operator, quote, other] = pieces.exec(sql) ?? [];
    if (word !== undefined) tokens.push({ kind: "word", value: word });
    else if (number !== undefined) tokens.push({ kind: "number", value: number });
    else if (variable !== undefined) tokens.push({ kind: "variable", value: variable });
    else if (quote !== undefined) {
      const quoted = readQuoted(sql, at, mode);
      tokens.push({ kind: isNameQuote(quote, mode) ? "name" : "string", value: quoted.value });
      pieces.lastIndex = quoted.end;
    } else if (blank === undefined) tokens.push({ kind: "mark", value: operator ?? other ?? "" });
  }
  while (tokens.at(-1)?.value === ";" && tokens.at(-1)?.kind === "mark") tokens.pop();
  return tokens;
}

function isNameQuote(quote: string, mode: Mode): boolean {
  return quote === "`" || (quote === '"' && mode === "oracle");
}

function readQuoted(sql: string, start: number, mode: Mode): { value: string; end: number } {
  const quote = sql[start];
  let value = "";
  for (let at = start + 1; at < sql.length; at++) {
    const character = sql[at] ?? "";
    if (character === "\\" && mode === "mysql" && quote !== "`") value += sql[++at] ?? "";
    else if (character !== quote) value += character;
    else if (sql[at + 1] === quote) value += sql[++at] ?? "";
    else return { value, end: at + 1 };
  }
  return { value, end: sql.length };
}

/** Whether the statement begins with these words, in any case. */
export function begins(tokens: readonly Token[], ...words: readonly string[]): boolean {
  return words.every((word, at) => isWord(tokens[at], word));
}

export function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === "word" && token.value.toUpperCase() === word;
}
