// Just enough of SQL's lexical rules to find names and to leave strings and comments alone.

export type Token = Readonly<{ kind: "word" | "quoted" | "string" | "parameter" | "space" | "other"; text: string }>;

const patterns: readonly (readonly [Token["kind"], RegExp])[] = [
  ["space", /\s+|--[^\n]*|\/\*[\s\S]*?\*\//y],
  ["string", /[eE]'(?:[^'\\]|''|\\[\s\S])*'|[nNbBxX]?'(?:[^']|'')*'|\$(\w*)\$[\s\S]*?\$\1\$/y],
  ["quoted", /"(?:[^"]|"")*"/y],
  ["parameter", /\$\d+/y],
  ["word", /[\p{L}_][\p{L}\p{N}_$]*/uy],
  ["other", /\d+(?:\.\d+)?|::|\|\||[\s\S]/y],
];

export function tokensOf(sql: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < sql.length; ) {
    const token = tokenAt(sql, at);
    tokens.push(token);
    at += token.text.length;
  }
  return tokens;
}

function tokenAt(sql: string, at: number): Token {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(sql)?.[0];
    if (text !== undefined) return { kind, text };
  }
  return { kind: "other", text: sql.slice(at, at + 1) };
}

/** The statements of a text, each with its own closing semicolon if it has one. */
export function statementsOf(tokens: readonly Token[]): readonly (readonly Token[])[] {
  const statements: Token[][] = [[]];
  for (const token of tokens) {
    statements.at(-1)?.push(token);
    if (token.text === ";") statements.push([]);
  }
  return statements.filter((statement) => statement.length > 0);
}

/** Without white space, comments and a closing semicolon. */
export function meaningful(statement: readonly Token[]): readonly Token[] {
  return statement.filter(({ kind, text }) => kind !== "space" && text !== ";");
}

export function lower(token: Token | undefined): string {
  return token?.kind === "word" ? token.text.toLowerCase() : (token?.text ?? "");
}

/** What a string constant says. */
export function unquote(text: string): string {
  const at = text.indexOf("'");
  return text.slice(at + 1, -1).replaceAll("''", "'");
}
