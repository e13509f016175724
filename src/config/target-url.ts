import { oceanbaseUrlMistakes } from "./oceanbase-url.ts";
import { postgresUrlMistakes } from "./postgres-url.ts";

/** `oceanbase`: MySQL's protocol. `postgres`: PostgreSQL's, and of what descends from it. */
export type Protocol = "postgres" | "oceanbase";

/** How to speak to a target; the url's scheme says it where `engine` does not. */
export function protocolOf({ engine, url }: Readonly<{ engine?: unknown; url?: unknown }>): Protocol {
  if (engine === undefined) return typeof url === "string" && /^oceanbase:/iu.test(url) ? "oceanbase" : "postgres";
  return engine === "oceanbase" ? "oceanbase" : "postgres";
}

const ofPostgres: ReadonlySet<unknown> = new Set(["postgres", "opengauss", "gaussdb"]);

const notMysql = (got: string) =>
  `expected engine: oceanbase beside a mysql:// URL, got ${got} engine: MySQL and MariaDB themselves are not supported`;

/** What is wrong with the url of a target that names this engine, or none; an empty list: nothing. */
export function targetUrlMistakes(engine: unknown): (url: string) => readonly string[] {
  return (url) => {
    const scheme = /^[a-z]+(?=:\/\/)/iu.exec(url)?.[0].toLowerCase();
    const ofMysql = scheme === "oceanbase" || scheme === "mysql";
    if (protocolOf({ engine, url }) === "oceanbase") {
      return scheme === "postgres" || scheme === "postgresql"
        ? [
            "expected oceanbase://USER@TENANT#CLUSTER@HOST:PORT, as engine is oceanbase, got a postgres:// URL: correct one of both",
          ]
        : oceanbaseUrlMistakes(url);
    }
    if (!ofMysql) return postgresUrlMistakes(url);
    // What `engine` says is wrong itself, and said so.
    if (engine !== undefined && !ofPostgres.has(engine)) return scheme === "oceanbase" ? [] : [notMysql("another")];
    return engine === undefined
      ? [notMysql("no")]
      : [`expected a postgres:// URL, as engine says, got ${scheme}://: engine: oceanbase goes with it`];
  };
}
