import type { Finding, Path } from "./mistake.ts";
import { protocolOf } from "./target-url.ts";
import { fieldAt } from "./values.ts";

// Keys of a target that mean something to some servers only. Where `engine` is left out, the server says at connect what it is.

/** Keys that its engine would pass over in silence. */
export function engineKeyFindings(target: unknown, path: Path): readonly Finding[] {
  const [named, url] = [fieldAt(target, "engine"), fieldAt(target, "url")];
  const isOceanbase = named === "oceanbase" || (named === undefined && protocolOf({ url }) === "oceanbase");
  const engine = isOceanbase ? "oceanbase" : named === "postgres" ? named : null;
  if (engine === null) return [];
  const wrong = (key: string, wanted: string): readonly Finding[] => {
    const text = `expected ${key} ${wanted}, got it on ${engine}: leave it out`;
    return fieldAt(target, key) === undefined ? [] : [{ path: [...path, key], at: "value", text }];
  };
  return [
    ...wrong("kill_with", "only on a target of engine opengauss or gaussdb"),
    ...(isOceanbase ? wrong("leader_database", "only where daemons agree by a lock in a database") : []),
  ];
}
