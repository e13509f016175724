import { Composer, LineCounter, Parser, type YAMLError } from "yaml";
import type { Finding } from "./mistake.ts";
import { type Places, type Values, valuesOf } from "./values.ts";

/** Something wrong with the text itself, at an offset into it. */
export type TextMistake = Readonly<{ offset: number; text: string }>;

export type Position = Readonly<{ line: number; column: number }>;

export type ConfigDocument = Readonly<{
  value: unknown;
  places: Places;
  /** Texts that took an environment variable, as written, by place. */
  written: ReadonlyMap<string, string>;
  /** Places whose value could not be made; nothing more is said about them. */
  spoiled: ReadonlySet<string>;
  findings: readonly Finding[];
}>;

export type Parsed = Readonly<{ position: (offset: number) => Position }> &
  (Readonly<{ kind: "ok"; document: ConfigDocument }> | Readonly<{ kind: "bad"; mistakes: readonly TextMistake[] }>);

const deepest = 64;

/** Reads YAML without trusting it. `keys`: what is expected in it, in words. */
export function parseYaml(text: string, env: NodeJS.ProcessEnv, keys = configKeys): Parsed {
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const bad = (mistakes: readonly TextMistake[]): Parsed => ({ kind: "bad", mistakes, position });
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  // Composing recurses, and a regular expression that is compiled at the end of the stack aborts the whole process.
  const deep = tooDeep(tokens);
  if (deep !== null) return bad([{ offset: deep, text: `expected at most ${deepest} levels, got more` }]);
  const composer = new Composer({
    schema: "core",
    uniqueKeys: false, // they are found with the values, where all else goes on
    prettyErrors: false, // they quote the source, secrets included
    resolveKnownTags: false,
    merge: false,
  });
  const [document, second] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined || document.contents === null)
    return bad([{ offset: 0, text: `expected ${keys.all}, got an empty file` }]);
  if (second !== undefined) return bad([{ offset: second.range[0], text: "expected one YAML document, got several" }]);
  const mistakes = [...document.errors, ...document.warnings];
  if (mistakes.length > 0) return bad(mistakes.map(textMistake));
  return valuesParsed(valuesOf(document.contents, env), position, keys);
}

export type ExpectedKeys = Readonly<{ all: string; needed: string }>;
const configKeys: ExpectedKeys = { all: "targets, rules and channels", needed: "targets and rules" };

function valuesParsed(values: Values, position: (offset: number) => Position, { needed }: ExpectedKeys): Parsed {
  if (values.kind === "bad") return { kind: "bad", mistakes: [values.mistake], position };
  if (typeof values.value === "object" && values.value !== null && !Array.isArray(values.value))
    return { kind: "ok", document: values, position };
  const got = Array.isArray(values.value) ? "a list" : "a single value";
  return {
    kind: "bad",
    mistakes: [{ offset: 0, text: `expected a map with ${needed}, got ${got}` }],
    position,
  };
}

/** Offset of the first token that is nested too deeply; without recursion. */
function tooDeep(tokens: readonly unknown[]): number | null {
  const open = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (typeof token !== "object" || token === null) continue;
    if (depth >= deepest) return "offset" in token && typeof token.offset === "number" ? token.offset : 0;
    if ("value" in token) open.push({ token: token.value, depth });
    if (!("items" in token) || !Array.isArray(token.items)) continue;
    for (const item of token.items as readonly { key?: unknown; value?: unknown }[])
      open.push({ token: item.key, depth: depth + 1 }, { token: item.value, depth: depth + 1 });
  }
  return null;
}

// The library's own messages quote what stands there, which may be a secret: only its fixed ones are repeated.
const yamlForms: Readonly<Record<YAMLError["code"], string>> = {
  ALIAS_PROPS: "an alias without tag or anchor",
  BAD_ALIAS: "quotes around a value that starts with * or &",
  BAD_COLLECTION_TYPE: "no tag",
  BAD_DIRECTIVE: "no such % directive",
  BAD_DQ_ESCAPE: "a valid escape after the backslash; in single quotes a backslash is only itself",
  BAD_INDENT: "the indentation of the lines around it",
  BAD_PROP_ORDER: "anchors and tags after the -, ? or : sign",
  BAD_SCALAR_START: "quotes around a value that starts with @, ` or %",
  BLOCK_AS_IMPLICIT_KEY: "one KEY: VALUE on a line, and quotes around a value that contains a colon and a space",
  BLOCK_IN_FLOW: "no indented lists or maps inside brackets or braces",
  DUPLICATE_KEY: "each key once",
  IMPOSSIBLE: "valid YAML",
  KEY_OVER_1024_CHARS: "a key of at most 1024 characters",
  MISSING_CHAR: "valid YAML",
  MULTILINE_IMPLICIT_KEY: "a key on one line, followed by a colon",
  MULTIPLE_ANCHORS: "one anchor at most",
  MULTIPLE_DOCS: "one YAML document",
  MULTIPLE_TAGS: "one tag at most",
  NON_STRING_KEY: "a text as key",
  RESOURCE_EXHAUSTION: "less nesting",
  TAB_AS_INDENT: "spaces as indentation, not tabs",
  TAG_RESOLVE_FAILED: "no tag; a value that starts with ! goes in quotes",
  UNEXPECTED_TOKEN: "valid YAML",
};

/** What opened is named by the library in words of its own. */
const unclosed = /^Flow (?:map|sequence) .* end with a ([}\]])$/u;

function textMistake(error: YAMLError): TextMistake {
  const [, closing] = unclosed.exec(error.message) ?? [];
  if (closing !== undefined)
    return {
      offset: error.pos[0],
      text: `expected a ${closing} that closes what was opened above, got something else`,
    };
  const form = `expected ${yamlForms[error.code]}`;
  const detail = error.code === "MISSING_CHAR" ? `: ${error.message.toLowerCase()}` : "";
  return { offset: error.pos[0], text: `${form}, got something else${detail}` };
}
