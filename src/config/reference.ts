import { configJsonSchema, type JsonSchema } from "./json-schema.ts";
import { either } from "./mistake.ts";

// The page docs/configuration.md: nothing in it is written by hand but these words.

const introduction = `# Configuration

One YAML file, \`/etc/lockwarden/lockwarden.yaml\` unless \`--config\` says otherwise. This page is generated from the schema.

- Unknown keys are mistakes. \`lockwarden check --offline\` shows all mistakes at once as \`FILE:LINE:COLUMN path: expected …, got …\`.
- A duration is one or more of number and unit, such as \`250ms\`, \`30s\`, \`1h30m\`, \`2d\`; up to ten years.
- A glob is a text in which \`*\` stands for any number of characters and \`?\` for one.
- Where a list is possible, a single value may stand for a list of one.
- \`\${NAME}\` in a text takes an environment variable and stays a text; an unset one is a mistake. Inside brackets or braces it needs quotes. \`$\${\` is a literal \`\${\`.
- Relative paths are taken from the config file's folder. A trailing newline in a \`url_file\`, \`smtp_file\` or \`password_file\` is cut.
- Of \`url\` and \`url_file\` exactly one is needed, of \`smtp\` and \`smtp_file\` too; of \`password\` and \`password_file\` at most one.
- A \`url\` may carry sslmode (\`disable\`, \`prefer\`, \`require\`, \`verify-ca\`, \`verify-full\`), sslrootcert, sslcert, sslkey and host.

What the keys of a rule mean together is in [rules.md](rules.md). A rule is refused when it could match everybody, when it
acts on work of any age, and when it could never match: an action needs \`idle_for\`, \`transaction_for\`, \`query_for\`,
\`connected_for\`, \`blocks.for\` or \`waits.for\`; with \`blocks\` it needs \`blocks.for\`, \`idle_for\` or \`waits.for\`; on \`state: idle\` it
needs \`idle_for\`. \`rollback-prepared\` needs \`prepared.gid\`, and \`prepared.for\` or \`blocks.for\`.
`;

type Section = Readonly<{ title: string; schema: JsonSchema }>;

/** The reference page, in Markdown. */
export function configReference(): string {
  const sections = sectionsOf({ title: "", schema: configJsonSchema() });
  const first = new Map<string, string>();
  const texts = sections.flatMap(({ title, schema }) => {
    const form = JSON.stringify(schema.properties);
    const same = first.get(form);
    const heading = `## ${title === "" ? "Top level" : title}\n`;
    if (same !== undefined) return [`${heading}\nThe same keys as ${same}.\n`];
    first.set(form, title);
    return [`${heading}\n${table(schema)}`];
  });
  return [introduction, ...texts].join("\n");
}

/** A map's section, then those of the maps below it; what is the same as an earlier one is not gone into again. */
function sectionsOf(section: Section): readonly Section[] {
  const below = Object.entries(section.schema.properties ?? {}).flatMap(([key, inner]) => {
    const path = section.title === "" ? key : `${section.title}.${key}`;
    const map = [inner, ...(inner.anyOf ?? [])].find(({ properties }) => properties !== undefined);
    if (map !== undefined) return sectionsOf({ title: path, schema: map });
    const item = inner.items;
    if (item?.properties !== undefined) return sectionsOf({ title: `${path}[]`, schema: item });
    return (item?.oneOf ?? []).flatMap((variant) =>
      sectionsOf({ title: `${path}[] of type ${String(variant.properties?.["type"]?.const)}`, schema: variant }),
    );
  });
  const isCopy = section.title.endsWith(".except");
  return [section, ...(isCopy ? [] : below)];
}

function table(schema: JsonSchema): string {
  const rows = Object.entries(schema.properties ?? {}).map(([key, inner]) => {
    const needed = schema.required?.includes(key) === true ? "required" : defaultText(inner);
    return row([`\`${key}\``, typeText(inner), needed, inner.description ?? ""]);
  });
  return [row(["key", "value", "default", "meaning"]), row(["---", "---", "---", "---"]), ...rows, ""].join("\n");
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function defaultText({ default: value, properties, items }: JsonSchema): string {
  if (value === undefined || properties !== undefined || items?.oneOf !== undefined) return "";
  return `\`${typeof value === "object" ? `[${Object.values(value).join(", ")}]` : value}\``;
}

function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${schema.const as string}\``;
  if (schema.enum !== undefined) return either(schema.enum.map((word) => `\`${String(word)}\``));
  if (schema.anyOf !== undefined) return alternativesText(schema.anyOf);
  if (schema.items !== undefined)
    return isMapOrMaps(schema.items) ? "list of maps, below" : `list of ${typeText(schema.items)}`;
  if (schema.type === "integer") return `whole number from ${schema.minimum ?? 0} to ${schema.maximum ?? 0}`;
  if (schema.properties !== undefined) return "map, below";
  return schema.title ?? (schema.type === "boolean" ? "`true` or `false`" : "text");
}

function isMapOrMaps(schema: JsonSchema): boolean {
  return schema.properties !== undefined || schema.oneOf !== undefined;
}

function alternativesText(branches: readonly JsonSchema[]): string {
  const [one, other] = branches;
  if (one !== undefined && JSON.stringify(other?.items) === JSON.stringify(one)) return `${typeText(one)}; or a list`;
  const words = branches.flatMap((branch) => {
    if (branch.enum !== undefined) return branch.enum.map((word) => `\`${String(word)}\``);
    return [branch.properties === undefined ? typeText(branch) : inline(branch.properties)];
  });
  return either(words);
}

function inline(properties: Readonly<Record<string, JsonSchema>>): string {
  return `\`{${Object.entries(properties)
    .map(([key, inner]) => `${key}: ${typeText(inner).toUpperCase()}`)
    .join(", ")}}\``;
}
