import type { Finding, Path } from "./mistake.ts";
import { protocolOf } from "./target-url.ts";
import { fieldAt } from "./values.ts";

// Keys of a target that mean something to some servers only. Where `engine` is left out, the server says at connect what it is.

/** Keys that its engine would pass over in silence. */
export function engineKeyFindings(target: unknown, path: Path): readonly Finding[] {
  const named = fieldAt(target, "engine");
  const engine = named ?? (protocolOf({ url: fieldAt(target, "url") }) === "oceanbase" ? "oceanbase" : undefined);
  const wrong = (key: string, wanted: string): readonly Finding[] =>
    fieldAt(target, key) === undefined
      ? []
      : [
          {
            path: [...path, key],
            at: "value",
            text: `expected ${key} ${wanted}, got it on ${String(engine)}: leave it out`,
          },
        ];
  return [
    ...(engine === "postgres" || engine === "oceanbase"
      ? wrong("kill_with", "only on a target of engine opengauss or gaussdb")
      : []),
    ...(engine === "oceanbase" ? wrong("leader_database", "only where daemons agree by a lock in a database") : []),
  ];
}
