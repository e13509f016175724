import { z } from "zod";
import { ruleTestSchema } from "./rule-test-schema.ts";
import { configSchema } from "./schema.ts";

/** The part of JSON Schema that the config's schema makes use of. */
export type JsonSchema = Readonly<{
  title?: string;
  description?: string;
  type?: string;
  const?: unknown;
  enum?: readonly unknown[];
  default?: string | number | boolean | readonly string[] | Readonly<Record<string, never>>;
  properties?: Readonly<Record<string, JsonSchema>>;
  required?: readonly string[];
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  oneOf?: readonly JsonSchema[];
  minimum?: number;
  maximum?: number;
}>;

/** What editors check and complete a config with. */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema, { io: "input" });
  return {
    $schema: schema.$schema,
    $id: "urn:lockwarden:config",
    title: "Lockwarden configuration",
    ...schema,
  } as JsonSchema;
}

/** What editors check and complete rule tests with. */
export function ruleTestJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(ruleTestSchema, { io: "input" });
  return {
    $schema: schema.$schema,
    $id: "urn:lockwarden:rule-test",
    title: "Lockwarden rule tests",
    ...schema,
  } as JsonSchema;
}

/** The alternatives that a value may be read as; of maps that tell themselves apart by `type`, the one of that type. */
export function alternatives(schema: JsonSchema, value: unknown): readonly JsonSchema[] {
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches === undefined) return [schema];
  const all = branches.flatMap((branch) => alternatives(branch, value));
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : undefined;
  const typed = all.filter((branch) => branch.properties?.["type"]?.const === type);
  return type === undefined || typed.length === 0 ? all : typed;
}
