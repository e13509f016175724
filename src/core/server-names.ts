import type { Conditions, Config, Rule } from "../config/schema.ts";
import { anyGlob, glob } from "./glob.ts";
import type { Doubt, Survey, SurveyedRole, TableQuestion } from "./survey.ts";

// Names in rules that no server knows: most of them are misspelt, and in an exception they spare nobody.

export type Surveyed = Readonly<{ target: string; survey: Survey }>;

/** The known word that was most likely meant, or null. */
export type Nearest = (word: string, known: readonly string[]) => string | null;

export type NameContext = Readonly<{
  here: Surveyed;
  /** All the targets that could be asked: a name that one of a rule's targets knows is none that is misspelt. */
  all: readonly Surveyed[];
  nearest: Nearest;
}>;

/** The table patterns of these rules, each once. */
export function tableQuestions(rules: readonly Rule[]): readonly TableQuestion[] {
  const found = new Map<string, TableQuestion>();
  for (const rule of rules)
    for (const { pattern } of tablePatterns(rule)) {
      const question = { pattern, databases: rule.match.databases ?? null };
      found.set(JSON.stringify(question), question);
    }
  return [...found.values()];
}

export function appliesTo({ targets }: Rule, target: string): boolean {
  return targets === undefined || targets.includes(target);
}

/** What rules and protection name and the server does not have. */
export function nameDoubts(
  { rules, protect }: Pick<Config, "rules" | "protect">,
  context: NameContext,
): readonly Doubt[] {
  const { here, all, nearest } = context;
  const ofRules = rules
    .filter((rule) => appliesTo(rule, here.target))
    .flatMap((rule) => {
      const places = all.filter(({ target }) => appliesTo(rule, target));
      const texts = [
        ...roleTexts(rule, context, places),
        ...databaseTexts(rule, context, places),
        ...tableTexts(rule, context, places),
        ...superuserTexts(rule, here, protect),
        ...crowdTexts(rule, here),
      ];
      return texts.map((text): Doubt => ({ rule: rule.name, text: `rule ${rule.name}: ${text}` }));
    });
  const lists = [
    ["protect.users", protect.users, "role", all.flatMap(rolesOf), rolesOf(here)],
    ["protect.databases", protect.databases, "database", all.flatMap(databasesOf), databasesOf(here)],
  ] as const;
  const ofProtect = lists.flatMap(([key, patterns, what, everywhere, known]) =>
    (what === "role" && all.some(rolesHidden) ? [] : unknownOf(patterns, everywhere)).map((pattern): Doubt => {
      return { rule: null, text: `${key}: ${noneText(what, pattern, here)}${meant(pattern, known, nearest)}` };
    }),
  );
  return [...ofRules, ...ofProtect];
}

const rolesOf = ({ survey }: Surveyed): readonly string[] => survey.roles.map(({ name }) => name);
const rolesHidden = ({ survey }: Surveyed): boolean => survey.rolesHidden === true;
const databasesOf = ({ survey }: Surveyed): readonly string[] => survey.databases;

function unknownOf(patterns: readonly string[] | undefined, known: readonly string[]): readonly string[] {
  return (patterns ?? []).filter((pattern) => !known.some(glob(pattern)));
}

function noneText(what: string, pattern: string, { target }: Surveyed): string {
  return isWild(pattern)
    ? `no ${what} matches ${pattern} on target ${target}`
    : `no ${what} ${pattern} on target ${target}`;
}

function isWild(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

function meant(pattern: string, known: readonly string[], nearest: Nearest): string {
  const near = isWild(pattern) ? null : nearest(pattern, known);
  return near === null ? "" : `: did you mean ${near}?`;
}

type Part = "match" | "except";
const parts: readonly Part[] = ["match", "except"];

function conditionsOf(rule: Rule, part: Part): Conditions {
  return rule[part] ?? {};
}

function roleTexts(rule: Rule, { here, nearest }: NameContext, places: readonly Surveyed[]): readonly string[] {
  if (places.some(rolesHidden)) return [];
  const everywhere = places.flatMap(({ survey }) => survey.roles);
  const known = here.survey.roles.filter(({ login }) => login).map(({ name }) => name);
  return parts.flatMap((part) => {
    const { users, blocks } = conditionsOf(rule, part);
    const lists = [
      [`${part}.users`, users],
      [`${part}.blocks.users`, blocks?.users],
    ] as const;
    return lists.flatMap(([key, patterns]) =>
      (patterns ?? []).flatMap((pattern) => {
        const found = everywhere.filter(({ name }) => glob(pattern)(name));
        if (found.length === 0) return [`${key}: ${noneText("role", pattern, here)}${meant(pattern, known, nearest)}`];
        return found.some(({ login }) => login) ? [] : [`${key}: ${groupText(found, pattern)}`];
      }),
    );
  });
}

function groupText(found: readonly SurveyedRole[], pattern: string): string {
  const what = isWild(pattern) || found.length > 1 ? `none of the roles that ${pattern} matches` : `role ${pattern}`;
  const may = found.length > 1 || isWild(pattern) ? "may log in" : "may not log in";
  return `${what} ${may}: a session goes by the role that logged in, whatever groups it is in`;
}

function databaseTexts(rule: Rule, { here, nearest }: NameContext, places: readonly Surveyed[]): readonly string[] {
  const everywhere = places.flatMap(databasesOf);
  return parts.flatMap((part) =>
    unknownOf(conditionsOf(rule, part).databases, everywhere).map((pattern) => {
      return `${part}.databases: ${noneText("database", pattern, here)}${meant(pattern, databasesOf(here), nearest)}`;
    }),
  );
}

type TablePattern = Readonly<{ key: string; pattern: string }>;

function tablePatterns(rule: Rule): readonly TablePattern[] {
  return parts.flatMap((part) =>
    (["holds", "blocks", "waits"] as const).flatMap((key) =>
      (conditionsOf(rule, part)[key]?.tables ?? []).map((pattern) => ({ key: `${part}.${key}.tables`, pattern })),
    ),
  );
}

/** Temporary tables come and go. */
const passing = /(^|\.)pg_temp/;

function tableTexts(rule: Rule, { here, nearest }: NameContext, places: readonly Surveyed[]): readonly string[] {
  // That there are no such databases is said already.
  if (rule.match.databases !== undefined && !here.survey.databases.some(anyGlob(rule.match.databases))) return [];
  return tablePatterns(rule).flatMap(({ key, pattern }) => {
    if (passing.test(pattern) || places.some((place) => mayHave(rule, pattern, place))) return [];
    const within = tablesIn(rule, pattern, here);
    const where = rule.match.databases === undefined ? "" : ", in the databases that the rule is about";
    const why = within.length > 0 ? meantTable(pattern, within, nearest) : noDatabase(pattern, here, nearest);
    return [`${key}: ${noneText("table", pattern, here)}${where}${why}`];
  });
}

function noDatabase(pattern: string, here: Surveyed, nearest: Nearest): string {
  const first = pattern.slice(0, pattern.indexOf("."));
  if (isWild(first) || databasesOf(here).includes(first)) return "";
  return `, as there is no database ${first}${meant(first, databasesOf(here), nearest)}`;
}

/** The databases in which the rule could find such a table. */
function tablesIn({ match }: Rule, pattern: string, { survey }: Surveyed) {
  const about = match.databases === undefined ? () => true : anyGlob(match.databases);
  return survey.tables.filter(({ database }) => about(database) && mayBeIn(pattern, database));
}

/** A name with a database before it is of that database alone. */
export function mayBeIn(pattern: string, database: string): boolean {
  if (!isQualified(pattern)) return true;
  const first = pattern.slice(0, pattern.indexOf("."));
  // A * may stand for dots too, and a database's own name may have them.
  return isWild(first) || database === first || database.startsWith(`${first}.`);
}

export function isQualified(pattern: string): boolean {
  return pattern.split(".").length > 2;
}

/** Found, or not known to be missing. */
function mayHave(rule: Rule, pattern: string, place: Surveyed): boolean {
  return tablesIn(rule, pattern, place).some(({ found, refused }) => refused !== null || found.includes(pattern));
}

function meantTable(
  pattern: string,
  within: readonly Readonly<{ database: string; names: readonly string[] }>[],
  nearest: Nearest,
): string {
  if (isWild(pattern)) return "";
  const known = within.flatMap(({ database, names }) =>
    isQualified(pattern) ? names.map((name) => `${database}.${name}`) : names,
  );
  const schema = pattern.slice(0, pattern.lastIndexOf(".") + 1);
  const last = pattern.slice(schema.length);
  // What all names of a schema have in common must not make them look alike.
  const inSchema = known.filter((name) => name.startsWith(schema)).map((name) => name.slice(schema.length));
  const near = nearest(last, inSchema);
  const best = known.find((name) => name.endsWith(`.${last}`)) ?? (near === null ? null : `${schema}${near}`);
  return best === null ? "" : `: did you mean ${best}?`;
}

/** `users` that protect.superusers spares, all of them. */
function superuserTexts({ match }: Rule, { survey }: Surveyed, protect: Config["protect"]): readonly string[] {
  if (match.users === undefined || !protect.superusers) return [];
  const found = survey.roles.filter(({ name, login }) => login && anyGlob(match.users ?? [])(name));
  if (found.length === 0 || !found.every(({ superuser }) => superuser)) return [];
  const names = found.slice(0, 5).map(({ name }) => name);
  return [`match.users: only superusers (${names.join(", ")}), which protect.superusers spares: the rule never acts`];
}

function crowdTexts({ match: { blocks } }: Rule, { survey, target }: Surveyed): readonly string[] {
  const { mostSessions } = survey;
  if (blocks === undefined || mostSessions === null || blocks.waiters < mostSessions) return [];
  return [
    `match.blocks.waiters: ${blocks.waiters} sessions never wait on target ${target}, which takes ${mostSessions} connections at most`,
  ];
}
