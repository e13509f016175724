/** What a probe's text has that one statement without parameters has not. */
export type StatementFlaw = "several" | "parameter" | null;

// Whatever can hold a semicolon without ending a statement, each as a whole; what is not closed the server refuses.
const wholes: readonly RegExp[] = [
  /--[^\n\r]*/y,
  /(?<![\w$\u0080-\uffff])[eE]'(?:[^'\\]|\\[^]|'')*'/y,
  /'(?:[^']|'')*'/y,
  /"(?:[^"]|"")*"/y,
  /(?<![\w$\u0080-\uffff])\$((?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[^]*?\$\1\$/y,
];

/** Where a comment ends; they nest. */
function commentEnd(sql: string, from: number): number {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = from;
  let depth = 0;
  for (let mark = marks.exec(sql); mark !== null; mark = marks.exec(sql)) {
    depth += mark[0] === "/*" ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return sql.length;
}

function wholeEnd(sql: string, at: number): number | null {
  if (sql.startsWith("/*", at)) return commentEnd(sql, at);
  for (const whole of wholes) {
    whole.lastIndex = at;
    if (whole.test(sql)) return whole.lastIndex;
  }
  return null;
}

/** Nobody writes a longer one; what opens and never closes is looked for again and again. */
const longestJudged = 20_000;

/** Finds no flaw where it cannot be sure: the server has the last word. */
export function statementFlaw(sql: string): StatementFlaw {
  // With standard_conforming_strings off such a text ends elsewhere.
  if (sql.includes("\\'") || sql.length > longestJudged) return null;
  let ended = false;
  for (let at = 0; at < sql.length; ) {
    const end = wholeEnd(sql, at);
    const letter = sql.charAt(at);
    const comment = /^(?:--|\/\*)/.test(sql.slice(at, at + 2));
    if (ended && !comment && !/[\s;]/.test(letter)) return "several";
    if (end === null && isParameter(sql, at)) return "parameter";
    ended ||= letter === ";";
    at = end ?? at + 1;
  }
  return null;
}

/** `$1`, and not within a name. */
function isParameter(sql: string, at: number): boolean {
  return /^\$\d/.test(sql.slice(at, at + 2)) && !/[\w$\u0080-\uffff]/.test(sql.charAt(at - 1));
}
