import { neverFires } from "../core/never-fires.ts";
import { formatDuration } from "./duration.ts";
import type { Finding, Path } from "./mistake.ts";
import { narrowsPrepared, preparedMistakes } from "./prepared-safety.ts";
import { probeMistakes } from "./probe-safety.ts";
import { states as allStates, type Conditions, type Config, type Rule, type Step } from "./schema.ts";

// What a rule means, beyond its form: refused is what could end the wrong session, or could never do anything.

export type Safety = Readonly<{ mistakes: readonly Finding[]; warnings: readonly Finding[] }>;

/** A lock wait of an innocent session may last that long: the server looks for deadlocks only then. */
const deadlockTimeoutMs = 1_000;
const shortestForMs = 2 * deadlockTimeoutMs;

/** Judges one rule; the findings' paths begin at the rule. `protect` null: its form is wrong, so nothing is known of it. */
export function ruleSafety(rule: Rule, protect: Config["protect"] | null): Safety {
  const found = [
    ...conditionMistakes(rule),
    ...activeMistakes(rule),
    ...(rule.steps.some(isActing) && rule.match.prepared === undefined ? actingMistakes(rule) : []),
    ...preparedMistakes(rule),
    ...impossibleMistakes(rule.match),
    ...ladderMistakes(rule),
    ...probeMistakes(rule),
  ];
  const none = { superusers: false, maintenance: false, backups: false };
  const never = neverFires(rule, protect ?? none).map(({ path, text }) => finding(path, text));
  return { mistakes: found, warnings: [...never, ...(rule.steps.some(isActing) ? shortForWarnings(rule.match) : [])] };
}

function isActing(step: Step): boolean {
  return typeof step !== "object" && step !== "notify";
}

function isWait(step: Step | undefined): boolean {
  return typeof step === "object";
}

function finding(path: Path, text: string): Finding {
  return { path, at: "value", text };
}

/** Keys of the conditions that some session does not meet. */
function realConditions(conditions: Conditions): readonly string[] {
  return Object.entries(conditions).flatMap(([key, value]) => (isReal(key, value) ? [key] : []));
}

function isReal(key: string, value: Conditions[keyof Conditions]): boolean {
  if (value === undefined || key === "backend_types") return false; // only client backends are ever victims
  if (key === "prepared") return narrowsPrepared(value as NonNullable<Conditions["prepared"]>);
  if (key === "query") return value !== "";
  if (key === "state")
    return Array.isArray(value) && value.length > 0 && !allStates.every((state) => value.some((one) => one === state));
  if (Array.isArray(value)) return value.length > 0 && !value.some((entry) => /^\*+$|\/0$/u.test(entry));
  if (key === "holds") return Object.values(value).some((list) => Array.isArray(list) && list.length > 0);
  return true;
}

function conditionMistakes({ match, except }: Rule): readonly Finding[] {
  const written = Object.keys(match);
  const none = "got none: the rule would match everybody";
  const every = `got only ${written.join(", ")} that everybody meets`;
  const found = [];
  if (realConditions(match).length === 0)
    found.push(
      finding(["match"], `expected a condition that not every session meets, ${written.length === 0 ? none : every}`),
    );
  if (except !== undefined && Object.keys(except).length === 0)
    found.push(finding(["except"], "expected at least one condition, or no except at all, got none"));
  return found;
}

function activeMistakes({ active = [] }: Rule): readonly Finding[] {
  return active.flatMap(({ days, hours }, index) =>
    days === undefined && hours === undefined
      ? [finding(["active", ...(active.length === 1 ? [] : [index])], "expected days or hours, got neither")]
      : [],
  );
}

function actingMistakes({ match }: Rule): readonly Finding[] {
  const { idle_for, transaction_for, query_for, connected_for, blocks, waits, state = [] } = match;
  const found = [];
  // A session that waits is chosen for its own wait; the holder's transaction begins to block in the moment of the lock.
  if (blocks !== undefined && blocks.for === undefined && idle_for === undefined && waits?.for === undefined)
    found.push(
      finding(
        ["match", "blocks"],
        "expected blocks.for or idle_for beside an action, got neither: of sessions that queue for one row each next holder would be ended in its turn",
      ),
    );
  else if (
    realConditions(match).length > 0 &&
    [idle_for, transaction_for, query_for, connected_for, blocks?.for, waits?.for].every((age) => age === undefined)
  )
    found.push(
      finding(
        ["match"],
        "expected idle_for, transaction_for, query_for, connected_for, blocks.for or waits.for beside an action, got none of them: work of any age would be ended",
      ),
    );
  if (state.includes("idle") && idle_for === undefined)
    found.push(
      finding(
        ["match", "state"],
        "expected idle_for beside the state idle and an action, got none: every pooled connection is idle",
      ),
    );
  if (match.query !== undefined && state.includes("active") && state.some((one) => one !== "active"))
    found.push(
      finding(
        ["match", "query"],
        "expected only the state active beside query and an action, got idle ones too: there it is only the last statement",
      ),
    );
  return found;
}

/** A session that meets these conditions runs no statement. */
function onlyIdle({ state, idle_for }: Conditions): boolean {
  return idle_for !== undefined || (state !== undefined && state.length > 0 && !state.includes("active"));
}

function impossibleMistakes(match: Conditions): readonly Finding[] {
  const { state } = match;
  const found = [];
  if (onlyIdle(match))
    for (const key of ["query_for", "query", "waits"] as const)
      if (match[key] !== undefined)
        found.push(
          finding(
            ["match", key],
            `expected the state active beside ${key}, got only idle ones (idle_for is one): no session is both`,
          ),
        );
  if (match.idle_for !== undefined && state?.every((one) => one === "active") === true)
    found.push(
      finding(["match", "idle_for"], "expected an idle state beside idle_for, got only active: no session is both"),
    );
  if (state?.every((one) => one === "idle") === true)
    for (const key of ["transaction_for", "xmin_age"] as const)
      if (match[key] !== undefined)
        found.push(
          finding(
            ["match", key],
            `expected a state other than idle beside ${key}, got only idle: such a session has no transaction`,
          ),
        );
  return found;
}

function ladderMistakes({ match, steps }: Rule): readonly Finding[] {
  const found = [];
  for (const [index, step] of steps.entries())
    if (isWait(step) && isWait(steps[index + 1]))
      found.push(finding(["steps", index + 1], "expected one wait, got two in a row: merge them"));
  if (isWait(steps.at(-1)))
    found.push(finding(["steps", steps.length - 1], "expected a step after the last wait, got none"));
  if (onlyIdle(match) && steps.includes("cancel") && !steps.includes("terminate"))
    found.push(
      finding(["steps"], "expected terminate, got only cancel: it does nothing to a session that runs no statement"),
    );
  return found;
}

function shortForWarnings(match: Conditions): readonly Finding[] {
  return (["blocks", "waits"] as const).flatMap((key) => {
    const ms = match[key]?.for;
    if (ms === undefined || ms >= shortestForMs) return [];
    const least = `at least ${formatDuration(shortestForMs)} (twice the default deadlock_timeout)`;
    const text = `expected ${least}, got ${formatDuration(ms)}: the server may be about to solve it by itself`;
    return [finding(["match", key, "for"], text)];
  });
}
