import { type Mistake, renderMistake } from "../config/mistake.ts";
import { decisionText, expectedText, victimText } from "../core/expectation.ts";
import type { Failure } from "../core/rule-test.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { cronMistake } from "../daemon/schedule.ts";
import { type RuleTestResult, type RuleTestsResult, runRuleTests } from "../rule-tests.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { wrap } from "./wrap.ts";

export const test: CommandSpec = {
  name: "test",
  summary: "unit tests of rules: described sessions and locks, and what is to be decided about them",
  arguments: [{ name: "<file...>", describe: "files of rule tests, such as config/examples/stuck-login.test.yaml" }],
  json: true,
  run({ arguments: names, json }, output): Promise<ExitCode> {
    const files = names.map((name) => runRuleTests(name, { cronMistake }));
    for (const mistake of files.flatMap(mistakesOf)) output.err(quietText(renderMistake(mistake)));
    if (json) output.out(quietJson(JSON.stringify(report(files))));
    else print(files, output);
    return Promise.resolve(exitCode(files));
  },
};

function mistakesOf(file: RuleTestsResult): readonly Mistake[] {
  return file.kind === "bad" ? file.mistakes : [];
}

function resultsOf(file: RuleTestsResult): readonly RuleTestResult[] {
  return file.kind === "ran" ? file.results : [];
}

function exitCode(files: readonly RuleTestsResult[]): ExitCode {
  if (files.some(({ kind }) => kind === "bad")) return exitCodes.usage;
  return files.flatMap(resultsOf).every(({ failed }) => failed === null) ? exitCodes.done : exitCodes.failed;
}

function print(files: readonly RuleTestsResult[], output: Output): void {
  for (const file of files) {
    for (const result of resultsOf(file)) if (result.failed !== null) printFailed(file.file, result, output);
  }
  output.out(summary(files));
}

function summary(files: readonly RuleTestsResult[]): string {
  const results = files.flatMap(resultsOf);
  const failed = results.filter((one) => one.failed !== null).length;
  const ran = files.filter(({ kind }) => kind === "ran").length;
  const wrong = files.length - ran;
  const where = `in ${count(ran, "file")}`;
  const tests =
    failed === 0
      ? `${count(results.length, "test")} passed ${where}`
      : `${failed} of ${count(results.length, "test")} failed ${where}`;
  return wrong === 0 ? tests : `${tests}; ${count(wrong, "file")} could not be run`;
}

function count(many: number, word: string): string {
  return `${many} ${word}${many === 1 ? "" : "s"}`;
}

function printFailed(file: string, { test: { name, positionOf }, failed }: RuleTestResult, output: Output): void {
  if (failed === null) return;
  const say = (text: string, indent: string): void => {
    for (const line of wrap(quietText(text), output.columns, indent)) output.out(line);
  };
  output.out(quietText(`FAILED: ${name}`));
  for (const failure of failed.failures) {
    const { line, column } = positionOf(failed.look, failure.expected?.line ?? null);
    say(`${file}:${line}:${column} at ${failed.afterMs / 1_000} s`, "  ");
    say(`expected: ${expectation(failure)}`, "    ");
    say(`got:      ${outcome(failure)}`, "    ");
    if (failure.why !== "") say(`because:  ${failure.why}`, "    ");
  }
  output.out("");
}

function expectation({ expected, got }: Failure): string {
  if (expected !== null) return expectedText(expected);
  return got === null ? "nothing" : `nothing more about ${victimText(got.evidence.victim)}`;
}

function outcome({ got }: Failure): string {
  return got === null ? "nothing" : decisionText(got);
}

type Report = Readonly<{
  passed: number;
  failed: number;
  files: readonly Readonly<{ file: string; mistakes: readonly Mistake[]; tests: readonly TestReport[] }>[];
}>;

type TestReport = Readonly<{
  name: string;
  line: number;
  column: number;
  passed: boolean;
  failures: readonly Readonly<{
    line: number;
    column: number;
    atMs: number;
    expected: string | null;
    got: string | null;
    because: string;
  }>[];
}>;

function report(files: readonly RuleTestsResult[]): Report {
  const results = files.flatMap(resultsOf);
  const failed = results.filter((one) => one.failed !== null).length;
  return {
    passed: results.length - failed,
    failed,
    files: files.map((file) => ({
      file: file.file,
      mistakes: mistakesOf(file),
      tests: resultsOf(file).map(testReport),
    })),
  };
}

function testReport({ test: { name, position, positionOf }, failed }: RuleTestResult): TestReport {
  const failures = (failed?.failures ?? []).map(({ expected, got, why }) => ({
    ...positionOf(failed?.look ?? 0, expected?.line ?? null),
    atMs: failed?.afterMs ?? 0,
    expected: expected === null ? null : expectedText(expected),
    got: got === null ? null : decisionText(got),
    because: why,
  }));
  return { name, ...position, passed: failed === null, failures };
}
