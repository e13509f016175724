import type { LoadOptions } from "./config/load.ts";
import type { Mistake } from "./config/mistake.ts";
import { patterns } from "./config/patterns.ts";
import { type LoadedRuleTest, loadRuleTests } from "./config/rule-test-file.ts";
import { type FailedLook, runRuleTest } from "./core/rule-test.ts";
import { settingsFor } from "./daemon/settings.ts";

export type RuleTestResult = Readonly<{ test: LoadedRuleTest; failed: FailedLook | null }>;

export type RuleTestsResult = Readonly<{ file: string }> &
  (
    | Readonly<{ kind: "ran"; results: readonly RuleTestResult[] }>
    | Readonly<{ kind: "bad"; mistakes: readonly Mistake[] }>
  );

/** Every test of a file, judged as the daemon would. */
export function runRuleTests(file: string, options: LoadOptions): RuleTestsResult {
  const loaded = loadRuleTests(file, options);
  if (loaded.kind === "bad") return { file, ...loaded };
  return { file, kind: "ran", results: loaded.tests.map((test) => ({ test, failed: run(test) })) };
}

function run({ config, digest, target, mode, test }: LoadedRuleTest): FailedLook | null {
  const { rules, protection, limits } = settingsFor(config, digest, target, patterns);
  return runRuleTest(test, {
    target: target.name,
    rules,
    circumstances: {
      config: digest,
      mode,
      paused: false,
      leader: true,
      journalled: true,
      protection,
      protectMaintenance: config.protect.maintenance,
      limits,
    },
  });
}
