import { renderMistake } from "../../src/config/mistake.ts";
import { decisionText, expectedText } from "../../src/core/expectation.ts";
import { cronMistake } from "../../src/daemon/schedule.ts";
import { runRuleTests } from "../../src/rule-tests.ts";

/** Runs a file's text as /etc/r.test.yaml, on a disk that holds only `files`: its mistakes, or what failed, one a line. */
export function outcomesOf(text: string, files: Readonly<Record<string, string>> = {}): readonly string[] {
  const all: Readonly<Record<string, string>> = { ...files, "/etc/r.test.yaml": text };
  const ran = runRuleTests("/etc/r.test.yaml", {
    env: {},
    cronMistake,
    read: (file) => {
      const found = all[file];
      return found === undefined ? { kind: "bad", reason: "no such file" } : { kind: "ok", text: found };
    },
  });
  if (ran.kind === "bad") return ran.mistakes.map((one) => renderMistake(one).replace("/etc/r.test.yaml", "r"));
  return ran.results.flatMap(({ failed }) =>
    (failed?.failures ?? []).map(({ expected, got, why }) => {
      const wanted = expected === null ? "nothing" : expectedText(expected);
      return `look ${failed?.look}: ${wanted} / ${got === null ? "nothing" : decisionText(got)}: ${why}`;
    }),
  );
}
