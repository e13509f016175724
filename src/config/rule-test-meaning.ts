import { didYouMean, either, type Finding, type Path, quote } from "./mistake.ts";
import type { WrittenExpectation, WrittenLook, WrittenRuleTests, WrittenTest } from "./rule-test-schema.ts";

// What the parts of a rule test mean together: mostly slips that would make a test say something else than it seems to.

type WrittenSession = WrittenLook["sessions"][number];

export function ruleTestFindings(file: WrittenRuleTests): readonly Finding[] {
  const names = new Set<string>();
  return [
    ...sourceFindings(file),
    ...file.tests.flatMap((test, index) => {
      const path = ["tests", index];
      const again = names.has(test.name);
      names.add(test.name);
      return [
        ...(again
          ? [wrong([...path, "name"], `expected a name that no other test has, got ${quote(test.name)} again`)]
          : []),
        ...sequenceFindings(test, [...path, "looks"]),
        ...presenceFindings(test, [...path, "looks"]),
        ...test.looks.flatMap((look, at) => lookFindings(look, [...path, "looks", at])),
      ];
    }),
  ];
}

function wrong(path: Path, text: string, at: Finding["at"] = "value"): Finding {
  return { path, at, text };
}

const inlineKeys = ["rules", "protect", "limits"] as const;

/** Rules come from a config or from here, so that nobody tests others than will run. */
function sourceFindings(file: WrittenRuleTests): readonly Finding[] {
  const given = (source: WrittenRuleTests | WrittenTest, path: Path): readonly Finding[] =>
    file.config === undefined
      ? []
      : inlineKeys
          .filter((key) => source[key] !== undefined)
          .map((key) => wrong([...path, key], `expected config, or rules in this file, got config and ${key}`, "key"));
  const tests = file.tests.flatMap((test, index) => {
    const none = file.config === undefined && file.rules === undefined && test.rules === undefined;
    const missing = wrong(
      ["tests", index],
      "expected config or rules at the top, or rules in the test, got none of them",
    );
    return [...(none ? [missing] : []), ...given(test, ["tests", index])];
  });
  return [...given(file, []), ...tests];
}

function sequenceFindings({ looks }: WrittenTest, path: Path): readonly Finding[] {
  const late = looks.flatMap(({ at }, index) => {
    const before = looks[index - 1]?.at ?? 0;
    const text = `expected a moment not before the look above, which is ${(before - at) / 1_000} s later, got an earlier one`;
    return at < before ? [wrong([...path, index, "at"], text)] : [];
  });
  const nothing = looks.every(({ expect }) => expect === undefined);
  return nothing ? [...late, wrong(path, "expected expect in at least one look, got none: nothing is tested")] : late;
}

/** Everybody who is named has been described, in this look or above. */
function presenceFindings({ looks }: WrittenTest, path: Path): readonly Finding[] {
  const pids = new Set<string>();
  const gids = new Set<string>();
  const found: Finding[] = [];
  const check = (id: string, among: readonly ReadonlySet<string>[], at: Path): void => {
    if (among.some((known) => known.has(id))) return;
    const known = among.flatMap((ids) => [...ids]);
    const there = known.length === 0 ? "nobody is there yet" : `there are ${either(known.slice(0, 8))}`;
    found.push(wrong(at, `expected somebody who is described in this look or above (${there}), got ${quote(id)}`));
  };
  const checkAll = (ids: readonly string[] | undefined, among: readonly ReadonlySet<string>[], at: Path): void =>
    ids?.forEach((id) => check(id, among, at));
  for (const [index, look] of looks.entries()) {
    const here = [...path, index];
    checkAll(look.gone, [pids, gids], [...here, "gone"]);
    for (const { pid } of look.sessions) pids.add(pid);
    for (const { gid } of look.prepared) gids.add(gid);
    for (const [at, { waits, leader }] of look.sessions.entries()) {
      checkAll(waits?.on, [pids, gids], [...here, "sessions", at, "waits", "on"]);
      if (leader !== undefined) check(leader, [pids], [...here, "sessions", at, "leader"]);
    }
    for (const [at, { pid, gid }] of (look.expect ?? []).entries()) {
      checkAll(pid, [pids], [...here, "expect", at, "pid"]);
      checkAll(gid, [gids], [...here, "expect", at, "gid"]);
    }
  }
  return found;
}

function lookFindings({ sessions, expect = [] }: WrittenLook, path: Path): readonly Finding[] {
  const seen = new Set<string>();
  const found = sessions.flatMap((session, index) => {
    const at = [...path, "sessions", index];
    const again = seen.has(session.pid);
    seen.add(session.pid);
    const twice = wrong([...at, "pid"], `expected each pid once in a look, got ${session.pid} again`);
    return [...(again ? [twice] : []), ...sessionFindings(session, at)];
  });
  return [...found, ...expect.flatMap((one, index) => expectationFindings(one, [...path, "expect", index]))];
}

/** What no server shows. */
function sessionFindings({ state, waits, pid, ...ages }: WrittenSession, path: Path): readonly Finding[] {
  const found = [];
  const isIdle = (state ?? "active") !== "active" || (typeof ages.idle_for === "number" && state !== "active");
  if (isIdle && waits !== undefined && waits !== null)
    found.push(
      wrong([...path, "waits"], "expected the state active beside waits, got an idle one: it runs no statement"),
    );
  if (state === "active" && typeof ages.idle_for === "number")
    found.push(wrong([...path, "idle_for"], "expected an idle state beside idle_for, got active"));
  if (state === "idle" && typeof ages.transaction_for === "number")
    found.push(wrong([...path, "transaction_for"], "expected none in the state idle: it has no transaction, got one"));
  const least = Math.max(...(isIdle ? [ages.idle_for] : [ages.query_for]).map((age) => age ?? 0));
  const { transaction_for: whole, connected_for: connected } = ages;
  if (typeof whole === "number" && whole < least && state !== "idle")
    found.push(
      wrong([...path, "transaction_for"], `expected at least its ${isIdle ? "idle_for" : "query_for"}, got less`),
    );
  if (typeof connected === "number" && connected < Math.max(least, whole ?? 0))
    found.push(wrong([...path, "connected_for"], "expected at least its other ages, got less"));
  if (waits?.on.includes(pid) === true)
    found.push(wrong([...path, "waits", "on"], `expected somebody else, got the session ${pid} itself`));
  return found;
}

function expectationFindings(one: WrittenExpectation, path: Path): readonly Finding[] {
  const found = [...exactlyOne(one, ["act", "wait", "spare"], path), ...exactlyOne(one, ["pid", "gid"], path)];
  const belongs = [
    ["in", "wait"],
    ["action", "spare"],
    ["outcome", "act"],
  ] as const;
  for (const [key, to] of belongs)
    if (one[key] !== undefined && one[to] === undefined)
      found.push(wrong([...path, key], `expected ${key} only with ${to}, got it without`, "key"));
  return found;
}

function exactlyOne(one: WrittenExpectation, keys: readonly (keyof WrittenExpectation)[], path: Path): Finding[] {
  const given = keys.filter((key) => one[key] !== undefined);
  const expected = `expected ${either(keys)}`;
  if (given.length === 0) return [wrong(path, `${expected}, got none of them`)];
  return given.slice(1).map((key) => wrong([...path, key], `${expected}, got ${given.join(" and ")}`, "key"));
}

/** Words that refer to the config's: names of rules and of targets. */
export function referenceFinding(path: Path, word: string, what: string, known: readonly string[]): readonly Finding[] {
  if (known.includes(word)) return [];
  const few = known.length > 0 && known.length <= 8 ? ` (${either(known)})` : "";
  return [wrong(path, `expected the name of one of the ${what}${few}, got ${quote(word)}${didYouMean(word, known)}`)];
}
