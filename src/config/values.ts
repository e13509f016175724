import { isAlias, isMap, isNode, isScalar, type ParsedNode, type Scalar, type YAMLMap } from "yaml";
import type { TextMistake } from "./document.ts";
import { expandEnvironment } from "./environment.ts";
import { type Finding, type Path, quote } from "./mistake.ts";

/** Offsets of a value and of its key. */
export type Place = Readonly<{ value: number; key: number }>;
export type Places = ReadonlyMap<string, Place>;

/** Names a path in Places. */
export function placeKey(path: Path): string {
  return path.join("\u0000");
}

/** The value of a key, where there is a map at all. */
export function fieldAt(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

/** Plain values of a YAML tree, and where each of them stands. */
export type Values =
  | Readonly<{
      kind: "ok";
      value: unknown;
      places: Places;
      written: ReadonlyMap<string, string>;
      spoiled: ReadonlySet<string>;
      findings: readonly Finding[];
    }>
  | Readonly<{ kind: "bad"; mistake: TextMistake }>;

const mostValues = 20_000;
const deepest = 64;

type Walk = {
  readonly env: NodeJS.ProcessEnv;
  readonly places: Map<string, Place>;
  readonly written: Map<string, string>;
  readonly spoiled: Set<string>;
  readonly findings: Finding[];
  readonly anchors: Map<string, ParsedNode>;
  /** The nodes that the walk is inside of: an alias of one of them has no end. */
  readonly inside: Set<ParsedNode>;
  left: number;
  /** Where the walk ran out of values, or null. */
  exhausted: number | null;
};

export function valuesOf(root: ParsedNode, env: NodeJS.ProcessEnv): Values {
  const walk: Walk = {
    env,
    places: new Map(),
    written: new Map(),
    spoiled: new Set(),
    findings: [],
    anchors: new Map(),
    inside: new Set(),
    left: mostValues,
    exhausted: null,
  };
  const value = valueAt(walk, root, { path: [], value: root.range[0], key: root.range[0] });
  if (walk.exhausted === null) return { kind: "ok", value, ...walk };
  const text = `expected at most ${mostValues} values and ${deepest} levels, aliases counted with what they stand for, got more`;
  return { kind: "bad", mistake: { offset: walk.exhausted, text } };
}

type Spot = Place & Readonly<{ path: Path }>;

function spoil(walk: Walk, { path }: Spot, text: string): void {
  walk.spoiled.add(placeKey(path));
  walk.findings.push({ path, at: "value", text });
}

function valueAt(walk: Walk, node: ParsedNode | null, spot: Spot): unknown {
  walk.left -= 1;
  // Aliases multiply, and they add up their depths.
  if (walk.left < 0 || spot.path.length > deepest) {
    walk.exhausted ??= spot.value;
    return null;
  }
  walk.places.set(placeKey(spot.path), { value: spot.value, key: spot.key });
  if (node === null) return null;
  if (isAlias(node)) return aliased(walk, node.source, spot);
  if (node.anchor !== undefined) walk.anchors.set(node.anchor, node);
  if (isScalar(node)) return scalarValue(walk, node, spot);
  walk.inside.add(node);
  const value = isMap(node) ? mapValue(walk, node, spot) : listValue(walk, node.items, spot);
  walk.inside.delete(node);
  return value;
}

function listValue(walk: Walk, items: readonly unknown[], { path, value }: Spot): unknown[] {
  return items.map((item, index) => {
    const offset = offsetOf(item) ?? value;
    return valueAt(walk, item as ParsedNode | null, { path: [...path, index], value: offset, key: offset });
  });
}

function offsetOf(node: unknown): number | null {
  return isNode(node) ? (node.range?.[0] ?? null) : null;
}

function aliased(walk: Walk, anchor: string, spot: Spot): unknown {
  const node = walk.anchors.get(anchor);
  if (node === undefined || walk.inside.has(node)) {
    spoil(
      walk,
      spot,
      "expected an alias of an anchor that stands before it, got another; a value that starts with * goes in quotes",
    );
    return null;
  }
  return isScalar(node) ? scalarValue(walk, node, spot) : valueAt(walk, node, spot);
}

function scalarValue(walk: Walk, node: Scalar.Parsed, spot: Spot): unknown {
  const { value } = node;
  if (typeof value !== "string") return value;
  const expanded = expandEnvironment(value, walk.env);
  if (expanded.kind === "bad") {
    spoil(walk, spot, expanded.text);
    return value;
  }
  if (expanded.text !== value) walk.written.set(placeKey(spot.path), value);
  return expanded.text;
}

function mapValue(walk: Walk, node: YAMLMap.Parsed, spot: Spot): unknown {
  const entries = new Map<string, unknown>();
  for (const pair of node.items) {
    const keyOffset = offsetOf(pair.key) ?? spot.value;
    const key = isScalar(pair.key) ? (pair.key.source ?? String(pair.key.value)) : "";
    const path = [...spot.path, key];
    const mistake = keyMistake(key, entries);
    if (mistake === null)
      entries.set(key, valueAt(walk, pair.value, { path, value: offsetOf(pair.value) ?? keyOffset, key: keyOffset }));
    else walk.findings.push({ path: key === "" ? spot.path : path, at: "key", offset: keyOffset, text: mistake });
  }
  return Object.fromEntries(entries);
}

function keyMistake(key: string, entries: ReadonlyMap<string, unknown>): string | null {
  if (key === "") return "expected a text as key, got something else";
  if (entries.has(key)) return `expected each key once, got ${quote(key)} again`;
  // It would not become a key of its own.
  return key === "__proto__" ? `expected a known key, got ${quote(key)}` : null;
}
