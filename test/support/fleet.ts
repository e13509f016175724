import type { EmbeddedOptions, EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { majors, server } from "./servers.ts";

export type Member = Readonly<{ major: number; postgres: EmbeddedPostgres }>;

/**
 * A server of each major. Await it before the first test of a file: the runner calls after() hooks when it has run out
 * of tests, even if the file is still waiting and will add more.
 */
export async function fleet(options: EmbeddedOptions = {}): Promise<readonly Member[]> {
  const members: Member[] = [];
  for (const major of majors()) members.push({ major, postgres: await server({ ...options, major }) });
  return members;
}
