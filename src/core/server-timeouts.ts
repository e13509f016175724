import type { Conditions, Config, Rule } from "../config/schema.ts";
import { anyGlob } from "./glob.ts";
import { mayBlockAcross, possibleStates, type State } from "./possible-states.ts";
import { spokenDuration } from "./spoken-duration.ts";
import type { Doubt, ServerTimeout, Survey, TimeoutKind } from "./survey.ts";

// Who acts first: a rule, or a timeout of the server's own. A session can set its own, which nobody else sees: the
// sentences say so.

/** A threshold of a rule, by the clock of some age. */
type Demand = Readonly<{ key: string; age: "idle" | "query" | "wait" | "transaction"; ms: number }>;
type Place = Readonly<{ role: string; database: string }>;
type Killer = Readonly<{ demand: Demand; timeout: ServerTimeout }>;

/** What ends a state, by the age that it bounds. */
const enders: Readonly<Record<State, Readonly<Partial<Record<Demand["age"], readonly TimeoutKind[]>>>>> = {
  active: {
    query: ["statement", "transaction"],
    wait: ["lock", "statement", "transaction"],
    transaction: ["transaction"],
  },
  idle: { idle: ["idle"] },
  "idle in transaction": { idle: ["idle in transaction", "transaction"], transaction: ["transaction"] },
  // transaction_timeout lets go of a transaction that has failed.
  "idle in transaction (aborted)": { idle: ["idle in transaction"] },
};

/** The value in force: the most specific one wins, as the server has it; null: unknown. */
export function timeoutFor(
  timeouts: readonly ServerTimeout[],
  kind: TimeoutKind,
  { role, database }: Place,
): ServerTimeout | null {
  const mine = timeouts.filter(
    (one) =>
      one.kind === kind &&
      (one.role === null || one.role === role) &&
      (one.database === null || one.database === database),
  );
  const weight = (one: ServerTimeout) => (one.role === null ? 0 : 2) + (one.database === null ? 0 : 1);
  return mine.toSorted((one, other) => weight(other) - weight(one))[0] ?? null;
}

/** Where the server's own timeouts come before a rule, or so near that it acts too early. */
export function timeoutDoubts(rules: readonly Rule[], survey: Survey, protect: Config["protect"]): readonly Doubt[] {
  return rules.flatMap((rule) => {
    const say = (text: string): Doubt => ({ rule: rule.name, text: `rule ${rule.name} ${text}` });
    const places = placesOf(rule, survey, protect);
    const texts = [...lateTexts(rule, places, survey), ...waiterTexts(rule, survey), ...hastyTexts(rule, survey)];
    return texts.map(say);
  });
}

/** Roles and databases of sessions that the rule could be about; of those without settings of their own one stands for all. */
function placesOf(rule: Rule, survey: Survey, protect: Config["protect"]): readonly Place[] {
  const users = wanted(rule.match.users, [...(rule.except?.users ?? []), ...(protect.users ?? [])]);
  const databases = wanted(rule.match.databases, [...(rule.except?.databases ?? []), ...(protect.databases ?? [])]);
  const roles = survey.roles
    .filter(({ name, login, superuser }) => login && name !== survey.ownRole && !(superuser && protect.superusers))
    .map(({ name }) => name)
    .filter(users);
  const set = (key: "role" | "database") => new Set(survey.timeouts.map((one) => one[key]));
  const someDatabases = representatives(survey.databases.filter(databases), set("database"));
  return representatives(roles, set("role")).flatMap((role) => someDatabases.map((database) => ({ role, database })));
}

function wanted(globs: readonly string[] | undefined, spared: readonly string[]): (name: string) => boolean {
  const within = globs === undefined ? () => true : anyGlob(globs);
  const without = anyGlob(spared);
  return (name) => within(name) && !without(name);
}

function representatives(names: readonly string[], special: ReadonlySet<string | null>): readonly string[] {
  const plain = names.find((name) => !special.has(name));
  return [...names.filter((name) => special.has(name)), ...(plain === undefined ? [] : [plain])];
}

const aborted: State = "idle in transaction (aborted)";

function demandsOf(match: Conditions): readonly Demand[] {
  const { idle_for: idle, query_for: query, transaction_for: transaction, waits, blocks } = match;
  // A block that a transaction began ends with it.
  const blocked = blocks !== undefined && !mayBlockAcross(blocks) ? blocks.for : undefined;
  const all: readonly (readonly [string, Demand["age"], number | undefined])[] = [
    ["idle_for", "idle", idle],
    ["query_for", "query", query],
    ["waits.for", "wait", waits?.for],
    ["transaction_for", "transaction", transaction],
    ["blocks.for", "transaction", blocked],
  ];
  return all.flatMap(([key, age, ms]) => (ms === undefined ? [] : [{ key, age, ms }]));
}

/** What ends the rule's candidates before it comes to them; `but`: those whom nothing ends. */
type Late = Readonly<{ killers: readonly Killer[]; but: string }>;

/** The first timeout in each state in which the rule could be met so much later; null: in some state there is none. */
function lateIn(rule: Rule, place: Place, timeouts: readonly ServerTimeout[], laterMs: number): Late | null {
  const killers: Killer[] = [];
  let but = "";
  for (const state of possibleStates(rule.match)) {
    const first = firstKiller(rule.match, state, { place, timeouts, laterMs });
    // A failed transaction is no reason to be silent about all the others.
    if (first === null && state === aborted) but = " but on failed transactions";
    else if (first === null) return null;
    else if (!killers.some(({ timeout }) => timeout === first.timeout)) killers.push(first);
  }
  return killers.length === 0 ? null : { killers, but };
}

type Moment = Readonly<{ place: Place; timeouts: readonly ServerTimeout[]; laterMs: number }>;

function firstKiller(match: Conditions, state: State, { place, timeouts, laterMs }: Moment): Killer | null {
  const whole = state === aborted ? timeoutFor(timeouts, "transaction", place) : null;
  const found = demandsOf(match).flatMap((demand) =>
    (enders[state][demand.age] ?? []).flatMap((kind): readonly Killer[] => {
      const timeout = timeoutFor(timeouts, kind, place);
      if (timeout === null || timeout.ms === 0 || timeout.ms > demand.ms + laterMs) return [];
      // The server leaves out the timer that would come after that of the transaction, which then does nothing either.
      return whole !== null && whole.ms > 0 && whole.ms <= timeout.ms ? [] : [{ demand, timeout }];
    }),
  );
  return found.toSorted((one, other) => one.timeout.ms - other.timeout.ms)[0] ?? null;
}

/** Where the server is first, one sentence for each of its settings. */
function lateTexts(rule: Rule, places: readonly Place[], { timeouts }: Survey): readonly string[] {
  const later = firstAct(rule);
  const verb = rule.steps.some((step) => step === "cancel" || step === "terminate") ? "act" : "tell";
  const found = new Map<string, { count: number; late: Late; never: boolean }>();
  for (const place of places) {
    const at = lateIn(rule, place, timeouts, 0);
    const late = at ?? (later === null ? null : lateIn(rule, place, timeouts, later.ms));
    if (late === null) continue;
    const key = JSON.stringify([at !== null, late]);
    const before = found.get(key)?.count ?? 0;
    found.set(key, { count: before + 1, late, never: at !== null });
  }
  return [...found.values()].map(({ count, late: { killers, but }, never }) => {
    const whom = `${count === places.length ? "" : ` on ${subjectOf(killers)}`}${but}`;
    const asked = new Set(killers.map(({ demand }) => `${demand.key} ${spokenDuration(demand.ms)}`));
    const threshold = [...asked].join(" and ");
    if (never || later === null)
      return `can never ${verb}${whom}: ${firstText(killers)}; the rule asks for ${threshold}`;
    const due = `${threshold} and then ${spokenDuration(later.ms)}`;
    return `never comes to ${later.step}${whom}: ${firstText(killers)}; that step asks for ${due}`;
  });
}

/** The first step that signals, where the ladder waits before it. */
function firstAct({ steps }: Rule): Readonly<{ step: string; ms: number }> | null {
  let ms = 0;
  for (const step of steps) {
    if (typeof step === "object") ms += step.wait;
    else if (step !== "notify") return ms === 0 ? null : { step, ms };
  }
  return null;
}

function firstText(killers: readonly Killer[]): string {
  const names = killers.map(({ timeout }) => timeoutText(timeout));
  return `the server's ${names.join(" and ")} ${names.length === 1 ? "acts" : "act"} first, unless a session sets its own`;
}

/** `lock_timeout (5 s, set for role web)`. */
export function timeoutText(timeout: ServerTimeout): string {
  const where = originOf(timeout);
  return `${timeout.name} (${spokenDuration(timeout.ms)}${where === null ? "" : `, set for ${where}`})`;
}

function originOf({ role, database }: ServerTimeout): string | null {
  if (role === null) return database === null ? null : `database ${database}`;
  return database === null ? `role ${role}` : `role ${role} in database ${database}`;
}

function subjectOf(killers: readonly Killer[]): string {
  const origins = [...new Set(killers.map(({ timeout }) => originOf(timeout)).filter((one) => one !== null))];
  return origins.length === 0 ? "sessions without a setting of their own" : `sessions of ${origins.join(" and ")}`;
}

/** Waiters that give up in time: nobody is blocked for so long but by one waiter after the other. */
function waiterTexts({ match: { blocks, waits } }: Rule, survey: Survey): readonly string[] {
  if (blocks?.for === undefined || waits !== undefined) return [];
  const wantedMs = blocks.for;
  const users = blocks.users === undefined ? () => true : anyGlob(blocks.users);
  const roles = survey.roles.filter(({ name, login }) => login && users(name) && name !== survey.ownRole);
  const patient = (place: Place) => {
    const ends = (["lock", "statement"] as const).flatMap((kind) => timeoutFor(survey.timeouts, kind, place) ?? []);
    return ends.filter(({ ms }) => ms > 0 && ms <= wantedMs).toSorted((one, other) => one.ms - other.ms)[0] ?? null;
  };
  const places = representatives(
    roles.map(({ name }) => name),
    new Set(survey.timeouts.map(({ role }) => role)),
  ).flatMap((role) => survey.databases.map((database) => ({ role, database })));
  const found = places.map(patient);
  const latest = found.filter((one) => one !== null).toSorted((one, other) => other.ms - one.ms)[0];
  if (latest === undefined || found.includes(null)) return [];
  return [
    `acts only where waiters follow one another: each gives up at the server's ${timeoutText(latest)} at the latest, ` +
      `unless it sets its own; the rule asks for blocks.for ${spokenDuration(wantedMs)}`,
  ];
}

/** What the config's own check takes as the server's value: below it the config is warned already. */
const usualDeadlockMs = 1_000;

function hastyTexts({ match, steps }: Rule, { timeouts }: Survey): readonly string[] {
  if (!steps.some((step) => step === "cancel" || step === "terminate")) return [];
  const slowest = timeouts
    .filter(({ kind }) => kind === "deadlock")
    .toSorted((one, other) => other.ms - one.ms || (one.role === null ? -1 : 1))[0];
  if (slowest === undefined) return [];
  return (["blocks", "waits"] as const).flatMap((key) => {
    const ms = match[key]?.for;
    if (ms === undefined || ms < 2 * usualDeadlockMs || ms >= 2 * slowest.ms) return [];
    return [
      `may act on what the server is about to solve by itself: ${key}.for ${spokenDuration(ms)} is less than twice its ${timeoutText(slowest)}`,
    ];
  });
}
