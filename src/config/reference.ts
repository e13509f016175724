import { configJsonSchema, type JsonSchema, ruleTestJsonSchema } from "./json-schema.ts";
import { either } from "./mistake.ts";

// The pages docs/configuration.md and docs/rule-tests.md: nothing in them is written by hand but these words.

const introduction = `# Configuration

One YAML file, \`/etc/lockwarden/lockwarden.yaml\` unless \`--config\` says otherwise. This page is generated from the schema.

- Unknown keys are mistakes. \`lockwarden check --offline\` shows all mistakes at once as \`FILE:LINE:COLUMN path: expected …, got …\`.
- A duration is one or more of number and unit, such as \`250ms\`, \`30s\`, \`1h30m\`, \`2d\`; up to ten years.
- A size is a whole number and \`kB\`, \`MB\` or \`GB\`, in powers of 1024.
- A glob is a text in which \`*\` stands for any number of characters and \`?\` for one.
- Where a list is possible, a single value may stand for a list of one.
- \`\${NAME}\` in a text takes an environment variable and stays a text; an unset one is a mistake. Inside brackets or braces it needs quotes. \`$\${\` is a literal \`\${\`.
- Relative paths are taken from the config file's folder. A trailing newline in a \`url_file\`, \`smtp_file\` or \`password_file\` is cut.
- Of \`url\` and \`url_file\` exactly one is needed, of \`smtp\` and \`smtp_file\` too; of \`password\` and \`password_file\` at most one.
- A \`url\` may carry sslmode (\`disable\`, \`prefer\`, \`require\`, \`verify-ca\`, \`verify-full\`), sslrootcert, sslcert, sslkey, host and target_session_attrs (\`any\`, \`primary\`, \`read-write\`, \`standby\`, \`prefer-standby\`, \`read-only\`; with several hosts \`primary\` when left out, else \`any\`).

What the keys of a rule mean together is in [rules.md](rules.md). A rule is refused when it could match everybody, when it
acts on work of any age, and when it could never match: an action needs \`idle_for\`, \`transaction_for\`, \`query_for\`,
\`connected_for\`, \`blocks.for\` or \`waits.for\`; with \`blocks\` it needs \`blocks.for\`, \`idle_for\` or \`waits.for\`; on \`state: idle\` it
needs \`idle_for\`. \`rollback-prepared\` needs \`prepared.gid\`, and \`prepared.for\` or \`blocks.for\`.
`;

const ruleTestIntroduction = `# Rule tests

\`lockwarden test FILE…\` tries rules without a server: a file describes sessions and locks at some moments, and says what is to be
decided about them. It is judged by the daemon's own code. \`config/examples\` has one beside each example;
\`config/lockwarden-test.schema.json\` is for your editor. The keys below are generated from the schema.

\`\`\`yaml
config: stuck-login.yaml
tests:
  - name: an abandoned transaction that blocks the login is ended
    looks:
      - at: 0s
        sessions:
          - {pid: 1, user: web, idle_for: 10s, transaction_for: 12s}
          - {pid: 2, user: web, waits: {on: 1, table: public.user_session, for: 2s}}
        expect:
          - {wait: terminate, pid: 1, rule: stuck-login, in: 20s}
      - at: 20s                # ages go on by themselves; only what is other than before is said
        expect:
          - {act: terminate, pid: 1, rule: stuck-login}
      - at: 21s                # 1 is gone, and 2 goes on
        expect: []
\`\`\`

- \`expect\` lists all decisions of a look, in any order. Who is not in it must not be touched, watched or spared: \`[]\` means that nobody is.
- A decision is \`act\`, \`wait\` (it will be, if nothing changes) or \`spare\` (a rule matched, and something held it back).
- What is left out has a default; \`null\` is what the server does not show, and an unknown value matches nobody.
- After an act the victim is gone, and whoever waited only for it goes on. \`outcome: survived\` (or another one) says otherwise; who
  of several gets the lock next is for you to say in the next look.
- No probe is run: \`probes: {stuck-login: works}\` in a test or a look says what the probe of that rule answers from then on: \`works\`
  and \`failed\` spare (\`spare: probe\`), \`stuck\`, which is the default, lets the act go on.
- A look is what the daemon sees at that moment; it also looks in between. Where a rule counts from when something was first seen
  (in the queue for a table, say), write the looks that matter.
- The config's \`mode\` is not heeded: tests judge as \`enforce\` unless they say \`mode: observe\`. Its passwords, files and variables for
  targets and channels need not be there.
- Exit codes: 0 all passed · 1 a test failed · 2 a file is wrong. \`--json\` is for programs.
`;

type Section = Readonly<{ title: string; schema: JsonSchema }>;

/** The reference page, in Markdown. */
export function configReference(): string {
  return page(introduction, sectionsOf({ title: "", schema: configJsonSchema() }));
}

/** The page docs/rule-tests.md. */
export function ruleTestReference(): string {
  const sections = sectionsOf({ title: "", schema: ruleTestJsonSchema() });
  const asInConfig = /^(?:tests\[\]\.)?(?:rules|protect|limits)\b/u;
  return page(
    ruleTestIntroduction,
    sections.filter(({ title }) => !asInConfig.test(title)),
  );
}

function page(text: string, sections: readonly Section[]): string {
  const first = new Map<string, string>();
  const texts = sections.flatMap(({ title, schema }) => {
    const form = JSON.stringify(schema.properties);
    const same = first.get(form);
    const heading = `## ${title === "" ? "Top level" : title}\n`;
    if (same !== undefined) return [`${heading}\nThe same keys as ${same}.\n`];
    first.set(form, title);
    return [`${heading}\n${table(schema)}`];
  });
  return [text, ...texts].join("\n");
}

/** A map's section, then those of the maps below it; what is the same as an earlier one is not gone into again. */
function sectionsOf(section: Section): readonly Section[] {
  const below = Object.entries(section.schema.properties ?? {}).flatMap(([key, inner]) => {
    const path = section.title === "" ? key : `${section.title}.${key}`;
    const map = mapOf(inner);
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

/** The map itself, or the one that `false` switches off. */
function mapOf(schema: JsonSchema): JsonSchema | undefined {
  return [schema, ...(schema.anyOf ?? [])].find(({ properties }) => properties !== undefined);
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

function defaultText(schema: JsonSchema): string {
  const { default: value, items } = schema;
  if (value === undefined || mapOf(schema) !== undefined || items?.oneOf !== undefined) return "";
  return `\`${typeof value === "object" ? `[${Object.values(value).join(", ")}]` : value}\``;
}

function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${schema.const as string}\``;
  if (schema.enum !== undefined) return either(schema.enum.map((word) => `\`${String(word)}\``));
  if (schema.type === "null") return "`null`";
  if (schema.anyOf !== undefined) return schema.title ?? alternativesText(schema.anyOf);
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
    if (branch.properties === undefined) return [typeText(branch)];
    return [branches.some(({ type }) => type === "null") ? "map, below" : inline(branch.properties)];
  });
  return either(words);
}

function inline(properties: Readonly<Record<string, JsonSchema>>): string {
  return `\`{${Object.entries(properties)
    .map(([key, inner]) => `${key}: ${typeText(inner).toUpperCase()}`)
    .join(", ")}}\``;
}
