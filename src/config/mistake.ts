import { quoted } from "../core/plain-text.ts";

/** Where in the config: keys and list indexes from the top. */
export type Path = readonly (string | number)[];

/** Something wrong, or doubtful, in the config; `at` says whether the key or its value is pointed at, `offset` that neither is. */
export type Finding = Readonly<{ path: Path; at: "key" | "value"; text: string; offset?: number }>;

/** A finding at its place in the file; line and column are null when the file could not even be read. */
export type Mistake = Readonly<{
  file: string;
  line: number | null;
  column: number | null;
  path: string;
  text: string;
}>;

export function renderMistake({ file, line, column, path, text }: Mistake): string {
  const place = line === null ? `${file}:` : `${file}:${line}:${column ?? 1}`;
  return path === "" ? `${place} ${text}` : `${place} ${path}: ${text}`;
}

/** A mistake for programs. Where nothing stands, or it is not said what, `got` is null. */
export type MistakeReport = Mistake & Readonly<{ expected: string; got: string | null }>;

/** `expected …, got …` taken apart. */
export function mistakeReport(mistake: Mistake): MistakeReport {
  const text = mistake.text.replace(/^in that file: /, "");
  const [, expected = text, got = null] = /^expected (.*?)(?:, got (.*))?$/su.exec(text) ?? [];
  return { ...mistake, expected, got };
}

/** Keys whose values are never shown, wherever they stand and whatever is below them. */
const secretKeys: ReadonlySet<string | number> = new Set(["password", "url", "smtp"]);

export function isSecret(path: Path): boolean {
  return path.some((segment) => secretKeys.has(segment));
}

const longestShown = 60;

function cut(text: string): string {
  const letters = Array.from(text);
  return letters.length <= longestShown ? text : `${letters.slice(0, longestShown).join("")}…`;
}

/** Quoted, cut, one line, and without the account of a URL that was put into the wrong key. */
export function quote(text: string): string {
  return quoted(cut(text.replace(/\/\/.*@/su, "//…@")));
}

export function renderPath(path: Path): string {
  return path.map((segment) => (/^[\w-]+$/u.test(`${segment}`) ? cut(`${segment}`) : quote(`${segment}`))).join(".");
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "a map";
  return typeof value === "string" ? "a text" : `a ${typeof value}`;
}

/** What stands there, short; `written` is the text before environment variables were put in. */
export function renderValue(value: unknown, path: Path, written: string | undefined): string {
  const kind = kindOf(value);
  if (value === undefined || value === null || typeof value === "object") return kind;
  if (isSecret(path)) return `${kind} that is not shown here`;
  // An environment variable may hold a secret under any key.
  if (written !== undefined) return `the value of ${quote(written)}`;
  return typeof value === "string" ? quote(value) : cut(`${value as number | boolean | bigint}`);
}

/** `a`, `a or b`, `a, b or c`. */
export function either(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}`;
}

function editDistance(one: string, other: string): number {
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [row, letter] of Array.from(one).entries()) {
    const current = [row + 1];
    for (let column = 0; column < other.length; column++) {
      const replaced = (previous[column] ?? 0) + (letter === other[column] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[other.length] ?? 0;
}

/** The known word that somebody most likely meant, or null when none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  if (word.length > 64) return null;
  const plain = word.toLowerCase().replaceAll("-", "_");
  let best: string | null = null;
  let least = (word.length <= 3 ? 1 : Math.max(2, Math.floor(word.length / 3))) + 1;
  for (const candidate of known) {
    const distance = candidate === word ? least : editDistance(plain, candidate.toLowerCase().replaceAll("-", "_"));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** ` (did you mean x?)`, or nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === null ? "" : `; did you mean ${quote(near)}?`;
}
