import type { Conditions, Config, Rule } from "../config/schema.ts";
import { glob } from "./glob.ts";
import { backupApplications } from "./guards.ts";
import { areOfNoTable, needsTransaction, possibleStates } from "./possible-states.ts";

/** Something in a rule that keeps it from ever firing; the path begins at the rule. */
export type NeverFires = Readonly<{ path: readonly string[]; text: string }>;

/** Only these are ever selected. */
const clientBackend = "client backend";

/** What no session can ever meet, or what spares whoever meets it. Certain ones only: what is unclear is not said. */
export function neverFires({ match, except }: Rule, protect: Config["protect"]): readonly NeverFires[] {
  return [
    ...contradictions(match),
    ...(except === undefined ? [] : exceptionDoubts(match, except)),
    ...protectionDoubts(match, protect),
  ];
}

function contradictions(match: Conditions): readonly NeverFires[] {
  const { state, backend_types: types, blocks, waits } = match;
  const found: NeverFires[] = [];
  if (types !== undefined && !types.some((type) => glob(type)(clientBackend)))
    found.push({
      path: ["match", "backend_types"],
      text: `expected a pattern for ${clientBackend}, got only others: no other backend is ever selected, so the rule never fires`,
    });
  const missing = needsTransaction(match);
  if (state?.every((one) => one === "idle") === true && missing !== null)
    found.push({
      path: ["match", missing],
      text: `expected a state with a transaction beside ${missing}, got only idle: ${idleReasons[missing]}, so the rule never fires`,
    });
  for (const [key, wait] of [
    ["blocks", blocks],
    ["waits", waits],
  ] as const)
    if (wait?.tables !== undefined && areOfNoTable(wait.locktypes))
      found.push({
        path: ["match", key, "tables"],
        text: `expected locktypes of a table beside tables, got only ${wait.locktypes.join(", ")}: such a lock is of no table, so the rule never fires`,
      });
  return found;
}

const idleReasons: Readonly<Record<NonNullable<ReturnType<typeof needsTransaction>>, string>> = {
  transaction_for: "such a session has no transaction",
  xmin_age: "such a session has no snapshot",
  has_written: "such a session has no transaction",
  blocks: "such a session holds no locks but advisory ones (locktypes: advisory)",
  holds: "such a session holds no locks but advisory ones, in ShareLock or ExclusiveLock",
};

/** An `except` that holds for whoever `match` selects; any one of its conditions spares. */
function exceptionDoubts(match: Conditions, except: Conditions): readonly NeverFires[] {
  const spared = (key: string): NeverFires => ({
    path: ["except", key],
    text: `expected to spare some of those that match selects, got all of them: the rule never fires`,
  });
  const found: NeverFires[] = [];
  const states = possibleStates(match);
  if (states.length > 0 && states.every((state) => except.state?.includes(state))) found.push(spared("state"));
  for (const key of ["users", "databases", "applications"] as const)
    if (except[key] !== undefined && areCovered(match[key] ?? ["*"], except[key])) found.push(spared(key));
  if (except.backend_types?.some((type) => glob(type)(clientBackend)) === true) found.push(spared("backend_types"));
  if (match.clients !== undefined && match.clients.every((one) => except.clients?.includes(one)))
    found.push(spared("clients"));
  for (const key of ["transaction_for", "query_for", "connected_for", "xmin_age"] as const)
    if (reaches(match[key], except[key])) found.push(spared(key));
  // Plain idle counts only where its own conditions name it.
  if (match.state?.includes("idle") !== true && reaches(match.idle_for, except.idle_for))
    found.push(spared("idle_for"));
  for (const key of ["has_written", "query"] as const)
    if (match[key] !== undefined && match[key] === except[key]) found.push(spared(key));
  for (const key of ["holds", "waits", "blocks"] as const)
    if (includes(match[key], except[key])) found.push(spared(key));
  return found;
}

/** Whoever reaches the one age has reached the other. */
function reaches(match: number | undefined, except: number | undefined): boolean {
  return match !== undefined && except !== undefined && except <= match;
}

type LockConditions = Conditions["holds"] | Conditions["waits"] | Conditions["blocks"];

/** Whatever meets `match` meets `except`: it asks for no more in any respect. */
function includes(match: LockConditions, except: LockConditions): boolean {
  if (match === undefined || except === undefined) return false;
  const asked = match as Readonly<Record<string, unknown>>;
  return Object.entries<unknown>(except).every(([key, value]) => {
    const mine = asked[key];
    if (value === undefined) return true;
    if (typeof value === "number") return typeof mine === "number" && value <= mine;
    return isList(mine) && isList(value) && mine.every((one) => value.includes(one));
  });
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function protectionDoubts(match: Conditions, protect: Config["protect"]): readonly NeverFires[] {
  const backups: readonly string[] = protect.backups ? backupApplications : [];
  const lists = [
    ["users", protect.users ?? [], "protect.users"],
    ["databases", protect.databases ?? [], "protect.databases"],
    ["applications", [...backups, ...(protect.applications ?? [])], "protect (applications, or backups by default)"],
  ] as const;
  return lists.flatMap(([key, spared, where]) => {
    const all = spared.includes("*");
    if (!all && (match[key] === undefined || !areCovered(match[key], spared))) return [];
    const text = `expected ${key} that ${where} does not protect, got only protected ones: the rule never acts`;
    return [{ path: match[key] === undefined ? ["match"] : ["match", key], text }];
  });
}

function areCovered(patterns: readonly string[], by: readonly string[]): boolean {
  return patterns.every((pattern) => by.some((wider) => covers(wider, pattern)));
}

/** Everything that the pattern matches, the wider one matches too; false where that is not certain. */
function covers(wider: string, pattern: string): boolean {
  if (wider === pattern) return true;
  // A * of the pattern must fall to a * of the wider one, never to its ?.
  if (wider.includes("?") && pattern.includes("*")) return false;
  return glob(wider)(pattern);
}

/** For each rule the earlier one that selects the same sessions and acts on them first; null: there is none. */
export function shadows(rules: readonly Rule[]): readonly (Rule | null)[] {
  const acts = ({ steps, mode }: Rule) =>
    mode !== "observe" && steps.some((step) => step === "cancel" || step === "terminate");
  const selection = rules.map(({ match, except, victims }) => canonical([match, except ?? {}, victims]));
  return rules.map((rule, index) => {
    const earlier = rules.slice(0, index).find((one, before) => {
      const same = selection[before] === selection[index] && acts(one) && acts(rule);
      return same && (one.targets === undefined || rule.targets?.every((name) => one.targets?.includes(name)) === true);
    });
    return earlier ?? null;
  });
}

/** The same text for the same conditions: neither keys nor alternatives have an order. */
function canonical(value: unknown): string {
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return JSON.stringify(value.toSorted());
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return `{${entries
    .map(([key, one]) => `${key}:${canonical(one)}`)
    .toSorted()
    .join()}}`;
}
