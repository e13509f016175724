import type { Finding, Path } from "./mistake.ts";
import { protocolOf } from "./target-url.ts";
import { fieldAt } from "./values.ts";

/** Keys of a target that its engine would pass over in silence. Where `engine` is left out, the server says at connect what it is. */
export function engineKeyFindings(target: unknown, path: Path): readonly Finding[] {
  const [engine, url] = [fieldAt(target, "engine"), fieldAt(target, "url")];
  const other = protocolOf({ engine, url }) === "oceanbase" ? "oceanbase" : engine === "postgres" ? engine : null;
  const wrong = (key: string, where: string): readonly Finding[] => {
    const text = `expected ${key} only where ${where}, got it beside ${other}: leave it out`;
    return fieldAt(target, key) === undefined ? [] : [{ path: [...path, key], at: "key", text }];
  };
  return [
    // Elsewhere there is one way only.
    ...(other === null ? [] : wrong("kill_with", "engine is opengauss or gaussdb")),
    // There daemons agree by a lock of the tenant.
    ...(other === "oceanbase" ? wrong("leader_database", "engine is postgres, opengauss or gaussdb") : []),
  ];
}
