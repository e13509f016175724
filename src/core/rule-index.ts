import type { Condition, Word } from "./condition.ts";
import type { CompiledRule } from "./rules.ts";
import type { Session } from "./session.ts";

// Of fifty rules a session could match two or three: most of the others are ruled out by one word of it, such as its state or
// its user. Each word is asked about once, and then leaves a set of rules: a bit for each.

const bits = 32;
const read: Readonly<Record<Word, (session: Session) => string | null>> = {
  state: (session) => session.state,
  transaction: (session) => session.transaction.kind,
  user: (session) => session.user,
  database: (session) => session.database,
  application: (session) => session.application,
  backendType: (session) => session.backendType,
};
const words = Object.keys(read) as readonly Word[];

type Gate = Readonly<{ rule: number; may: (session: Session) => boolean }>;

/** The rules that no word of a session rules out, in their order: all that match are among them. For one look, as it remembers words. */
export function ruleIndex(rules: readonly CompiledRule[]): (session: Session) => readonly CompiledRule[] {
  const size = Math.ceil(rules.length / bits);
  const columns = words.flatMap((word) => {
    const gates = rules.flatMap(({ match }, rule) => gatesOf(match, word, rule));
    return gates.length === 0 ? [] : [{ read: read[word], gates, known: new Map<string | null, Int32Array>() }];
  });
  const left = new Int32Array(size);
  return (session) => {
    left.fill(-1);
    for (const column of columns) {
      const word = column.read(session);
      let allowed = column.known.get(word);
      if (allowed === undefined) {
        allowed = allowedBy(column.gates, session, size);
        column.known.set(word, allowed);
      }
      for (let at = 0; at < size; at++) left[at] = (left[at] ?? 0) & (allowed[at] ?? 0);
    }
    return rulesIn(left, rules);
  };
}

function gatesOf(match: readonly Condition[], word: Word, rule: number): readonly Gate[] {
  return match.flatMap(({ gate }) => (gate?.word === word ? [{ rule, may: gate.may }] : []));
}

function allowedBy(gates: readonly Gate[], session: Session, size: number): Int32Array {
  const allowed = new Int32Array(size).fill(-1);
  for (const { rule, may } of gates) {
    const at = Math.floor(rule / bits);
    if (!may(session)) allowed[at] = (allowed[at] ?? 0) & ~(1 << (rule % bits));
  }
  return allowed;
}

function rulesIn(set: Int32Array, rules: readonly CompiledRule[]): readonly CompiledRule[] {
  const found: CompiledRule[] = [];
  for (let at = 0; at < set.length; at++) {
    for (let left = set[at] ?? 0; left !== 0; left &= left - 1) {
      const rule = rules[at * bits + (bits - 1 - Math.clz32(left & -left))];
      if (rule !== undefined) found.push(rule);
    }
  }
  return found;
}
