import { either, type Finding, type Path } from "./mistake.ts";
import type { Conditions, Rule, Step } from "./schema.ts";

// A prepared transaction has an owner, a database, locks and an age, and no session: what else is asked of it is a mistake.

const known: ReadonlySet<string> = new Set(["prepared", "users", "databases", "holds", "blocks", "xmin_age"]);
const isWild = (glob: string): boolean => /^[*?]+$/u.test(glob);

function finding(path: Path, text: string): Finding {
  return { path, at: "value", text };
}

/** What is said of a rule with `prepared`, and of one that would need it. */
export function preparedMistakes(rule: Rule): readonly Finding[] {
  const { match, except } = rule;
  if (match.prepared === undefined)
    return [...stepMistakes(rule, isRollback, withoutPrepared), ...exceptMistake(except)];
  return [
    ...foreignKeys(["match"], match, "no prepared transaction ever shows it"),
    ...foreignKeys(
      ["except"],
      except ?? {},
      "it is unknown of every prepared transaction, and would spare all of them",
    ),
    ...stepMistakes(rule, isSignal, "a prepared transaction has no session to signal"),
    ...(rule.steps.some(isRollback) ? rollbackMistakes(match) : []),
  ];
}

/** Something that not every prepared transaction meets. */
export function narrowsPrepared({ gid, for: age }: NonNullable<Conditions["prepared"]>): boolean {
  return age !== undefined || (gid !== undefined && !gid.some(isWild));
}

const withoutPrepared = "the rule is about sessions: add prepared to its match";

function isRollback(step: Step): boolean {
  return step === "rollback-prepared";
}

function isSignal(step: Step): boolean {
  return step === "cancel" || step === "terminate";
}

function stepMistakes({ steps, match }: Rule, isWrong: (step: Step) => boolean, why: string): readonly Finding[] {
  const fitting = match.prepared === undefined ? ["notify", "cancel", "terminate"] : ["notify", "rollback-prepared"];
  return steps.flatMap((step, index) =>
    isWrong(step) && typeof step !== "object"
      ? [finding(["steps", index], `expected ${either([...fitting, "{wait: DURATION}"])}, got ${step}: ${why}`)]
      : [],
  );
}

function exceptMistake(except: Rule["except"]): readonly Finding[] {
  if (except?.prepared === undefined) return [];
  const text = "expected prepared in match too, got it only in except: no session is a prepared transaction";
  return [finding(["except", "prepared"], text)];
}

function foreignKeys(path: Path, conditions: Conditions, why: string): readonly Finding[] {
  return Object.keys(conditions).flatMap((key) =>
    known.has(key)
      ? []
      : [
          finding(
            [...path, key],
            `expected only ${either([...known])} in a rule about prepared transactions, got ${key}: ${why}`,
          ),
        ],
  );
}

function rollbackMistakes({ prepared = {}, blocks }: Conditions): readonly Finding[] {
  const { gid, for: age } = prepared;
  const found = [];
  if (gid === undefined || gid.some(isWild)) {
    const got = gid === undefined ? "none" : "one that every gid meets";
    const why = "transactions of a transaction manager that has only lost its connection would be rolled back";
    found.push(
      finding(["match", "prepared"], `expected a gid that names whose transactions they are, got ${got}: ${why}`),
    );
  }
  if (age === undefined && blocks?.for === undefined)
    found.push(
      finding(
        ["match", "prepared"],
        "expected prepared.for or blocks.for beside rollback-prepared, got neither: a transaction that is about to be committed would be rolled back",
      ),
    );
  return found;
}
