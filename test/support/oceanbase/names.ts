import { isWord, type Token } from "./tokens.ts";
import type { Mode } from "./world.ts";

/**
 * The names of a result's columns: aliases and columns as they are written (in capitals in Oracle mode, unless quoted),
 * expressions by their text. Of a `*` PostgreSQL's own, in capitals as the views have them.
 */
export function columnNames(tokens: readonly Token[], given: readonly string[], mode: Mode): string[] {
  const items = selectList(tokens);
  if (items.length === given.length && items.every((item) => item.at(-1)?.value !== "*"))
    return items.map((item) => nameOf(item, mode));
  return given.map((name) => written(name, tokens, mode));
}

/** The items between the first SELECT outside of parentheses and its FROM. */
function selectList(tokens: readonly Token[]): Token[][] {
  const items: Token[][] = [];
  let depth = 0;
  let inside = false;
  for (const token of tokens) {
    if (token.kind === "mark" && token.value === "(") depth++;
    if (token.kind === "mark" && token.value === ")") depth--;
    if (depth === 0 && isWord(token, "SELECT") && !inside) {
      inside = true;
      items.push([]);
      continue;
    }
    if (depth === 0 && inside && isWord(token, "FROM")) break;
    if (!inside || isWord(token, "DISTINCT")) continue;
    if (depth === 0 && token.kind === "mark" && token.value === ",") items.push([]);
    else items.at(-1)?.push(token);
  }
  return items;
}

function nameOf(item: readonly Token[], mode: Mode): string {
  const last = item.at(-1);
  const before = item.at(-2);
  const isName = last !== undefined && (last.kind === "word" || last.kind === "name");
  const standsAlone = before === undefined || before.kind !== "mark" || [".", ")"].includes(before.value);
  if (isName && standsAlone && !isWord(last, "END")) return cased(last, mode);
  const text = item
    .map((token, at) => spaced(token, item[at - 1]) + (token.kind === "string" ? `'${token.value}'` : token.value))
    .join("");
  return mode === "oracle" ? text.toUpperCase() : text;
}

function spaced(token: Token, before: Token | undefined): string {
  return token.kind !== "mark" && before !== undefined && before.kind !== "mark" ? " " : "";
}

function cased(token: Token, mode: Mode): string {
  return mode === "oracle" && token.kind === "word" ? token.value.toUpperCase() : token.value;
}

function written(name: string, tokens: readonly Token[], mode: Mode): string {
  const token = tokens.findLast(
    ({ kind, value }) => (kind === "word" || kind === "name") && value.toLowerCase() === name,
  );
  if (token !== undefined) return cased(token, mode);
  return mode === "oracle" || tokens.some(({ value }) => /^gv\$|^dba_|^innodb_/i.test(value))
    ? name.toUpperCase()
    : name;
}
