import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { Decision } from "../../src/core/decision.ts";
import { type Judgement, opinionOf, type RecordedLook } from "../../src/core/recorded-look.ts";
import type { Trial } from "../../src/core/replay.ts";
import { compileRules } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { circumstancesOf } from "./judge.ts";

/** A config on trial; in enforce, and asking the very probes that were asked then, unless it is said otherwise. */
export function trial(
  source: Readonly<{ rules: readonly object[]; protect?: object; limits?: object }>,
  more: Partial<Trial> = {},
): Trial {
  const config = configSchema.parse({ ...source, targets: [{ name: "app", url: "postgres://lockwarden@db/app" }] });
  return {
    rules: compileRules(config.rules, patterns),
    circumstances: { ...circumstancesOf(config), mode: "enforce" },
    sameProbe: () => true,
    heldBack: () => null,
    ...more,
  };
}

/** A look as the flight recorder keeps it. */
export function recorded(
  snapshot: Snapshot,
  decisions: readonly Decision[],
  more: Partial<Judgement> = {},
): RecordedLook {
  const judgement: Judgement = {
    run: "r1",
    connection: 1,
    config: "old",
    mode: "enforce",
    paused: false,
    leader: true,
    journalled: true,
    opinions: decisions.map((decision) => opinionOf(decision, null)),
    missed: 0,
    freedom: null,
    ...more,
  };
  return { snapshot, judgement };
}
