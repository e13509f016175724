import type { z } from "zod";
import { alternatives, configJsonSchema, type JsonSchema } from "./json-schema.ts";
import { didYouMean, either, type Finding, type Path, quote, renderValue } from "./mistake.ts";
import { configSchema, notYet, notYetValues } from "./schema.ts";
import { fieldAt, placeKey } from "./values.ts";

type Issue = z.core.$ZodIssue;

/** What a file is to look like; the JSON Schema says which keys there are. */
export type Form = Readonly<{ schema: z.ZodType; jsonSchema: () => JsonSchema }>;
const configForm: Form = { schema: configSchema, jsonSchema: configJsonSchema };

/** Every place where the value has not the schema's form. */
export function schemaFindings(
  value: unknown,
  written: ReadonlyMap<string, string>,
  form: Form = configForm,
): readonly Finding[] {
  const parsed = form.schema.safeParse(value, { error: defaultForm });
  if (parsed.success) return [];
  const schema = form.jsonSchema();
  return parsed.error.issues.flatMap((issue) => findingsOf(issue, [], { value, written, schema }));
}

type Context = Readonly<{ value: unknown; written: ReadonlyMap<string, string>; schema: JsonSchema }>;

const kinds: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
};

/** What is expected where the schema does not say it itself; nothing for a union, whose branches say it. */
function defaultForm(issue: z.core.$ZodRawIssue): string {
  if (issue.code === "invalid_type") return kinds[issue.expected] ?? issue.expected;
  if (issue.code === "invalid_value") return either(issue.values.map(String));
  if (issue.code !== "invalid_union") return "another value";
  return Array.isArray(issue["options"]) ? either(issue["options"].map(String)) : "";
}

function findingsOf(issue: Issue, above: Path, context: Context): readonly Finding[] {
  const path = [...above, ...issue.path.map((segment) => (typeof segment === "symbol" ? "?" : segment))];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key, context));
  const value = valueAt(context.value, path);
  const expected = issue.code === "invalid_union" ? unionForm(issue, value) : issue.message;
  if (typeof expected !== "string") return expected.flatMap((inner) => findingsOf(inner, path, context));
  if (typeof value === "string" && listed(notYetValues, path).includes(value))
    return [{ path, at: "value", text: `expected ${expected}: ${quote(value)} is not there yet` }];
  const got = renderValue(value, path, context.written.get(placeKey(path)));
  const meant = typeof value === "string" && !context.written.has(placeKey(path)) ? meantWord(issue, value) : "";
  return [{ path, at: "value", text: `expected ${expected}, got ${got}${meant}` }];
}

/** Near values of a fixed set of words. */
function meantWord(issue: Issue, value: string): string {
  const branches = issue.code === "invalid_union" ? issue.errors.flat() : [issue];
  const words = branches.flatMap((branch) => (branch.code === "invalid_value" ? branch.values.map(String) : []));
  const types = issue.code === "invalid_union" && "options" in issue ? issue["options"] : [];
  return didYouMean(value, [...words, ...(Array.isArray(types) ? types.map(String) : [])]);
}

/** The issues of the branch that was meant; or, where none fits at all, the form of the whole. */
function unionForm(issue: z.core.$ZodIssueInvalidUnion, value: unknown): string | readonly Issue[] {
  const composite = typeof value === "object" && value !== null;
  const fits = (branch: readonly Issue[]): number => {
    const root = branch.filter((inner) => inner.path.length === 0);
    if (root.some((inner) => inner.code === "invalid_type" || (inner.code === "invalid_value" && composite))) return 0;
    return root.some((inner) => inner.code !== "unrecognized_keys") ? 1 : 2;
  };
  const best = issue.errors.toSorted((one, other) => fits(other) - fits(one))[0];
  if (best !== undefined && (fits(best) === 2 || (issue.message === "" && best.length > 0))) return best;
  return issue.message === "" ? "another value" : issue.message;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, segment) => fieldAt(at, segment), value);
}

function unknownKey(path: Path, key: string, context: Context): Finding {
  const finding = (text: string): Finding => ({ path: [...path, key], at: "key", text });
  if (listed(notYet, path).includes(key)) return finding(`expected nothing here: ${quote(key)} is not there yet`);
  const schema = schemaAt(context.schema, context.value, path);
  const known = Object.keys(schema?.properties ?? {});
  const meant = didYouMean(key, known);
  const below = Object.entries(schema?.properties ?? {}).find(([, inner]) => inner.properties?.[key] !== undefined);
  if (meant === "" && below !== undefined)
    return finding(`expected a known key, got ${quote(key)}; it belongs under ${quote(below[0])}`);
  return finding(
    meant === "" ? `expected ${either(known)}, got ${quote(key)}` : `expected a known key, got ${quote(key)}${meant}`,
  );
}

/** The schema of a map in the config. */
function schemaAt(schema: JsonSchema, value: unknown, path: Path): JsonSchema | undefined {
  const branches = alternatives(schema, value);
  const [segment, ...rest] = path;
  if (segment === undefined) return branches.find((branch) => branch.properties !== undefined);
  for (const branch of branches) {
    const inner = typeof segment === "number" ? branch.items : branch.properties?.[segment];
    const found = inner === undefined ? undefined : schemaAt(inner, valueAt(value, [segment]), rest);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What is listed for a path; `*` in the list's keys stands for one segment. */
function listed(lists: Readonly<Record<string, readonly string[]>>, path: Path): readonly string[] {
  const fits = (pattern: string): boolean => {
    const segments = pattern === "" ? [] : pattern.split(".");
    return (
      segments.length === path.length && segments.every((want, index) => want === "*" || want === `${path[index]}`)
    );
  };
  return Object.entries(lists).flatMap(([pattern, words]) => (fits(pattern) ? words : []));
}
