import { glob } from "./glob.ts";
import type { Relation } from "./session.ts";
import type { LockWait } from "./snapshot.ts";

/** True for a relation, or one of its ancestors, that one of the patterns names: `schema.table` or `database.schema.table`. */
export function tablePattern(patterns: readonly string[]): (relation: Relation) => boolean {
  const tests = patterns.map((pattern) => {
    const test = glob(pattern);
    const inDatabase = pattern.split(".").length > 2;
    return (relation: Relation) =>
      [`${relation.schema}.${relation.name}`, ...relation.ancestors].some((name) =>
        test(inDatabase ? `${relation.database}.${name}` : name),
      );
  });
  // Thousands of locks are on few tables, and an engine hands out one record for each table.
  const known = new WeakMap<Relation, boolean>();
  return (relation) => {
    const before = known.get(relation);
    if (before !== undefined) return before;
    const found = tests.some((test) => test(relation));
    known.set(relation, found);
    return found;
  };
}

/**
 * Is the wait about such a table? Where the server does not say which of several it is, a rule that acts needs
 * all of the candidates to match (`certain`), one that only tells needs any.
 */
export function waitsOn(wait: LockWait, table: (relation: Relation) => boolean, certain: boolean): boolean {
  if (wait.relation !== null) return table(wait.relation);
  if (wait.candidates.length === 0) return false;
  return certain ? wait.candidates.every(table) : wait.candidates.some(table);
}

/** The contended relation for people: `public.user_session`, `public.a or public.b`, null when nothing is known. */
export function relationText(wait: LockWait): string | null {
  const relations = wait.relation !== null ? [wait.relation] : wait.candidates;
  if (relations.length === 0) return null;
  return relations.map((relation) => `${relation.schema}.${relation.name}`).join(" or ");
}
