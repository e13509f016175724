import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EmbeddedPostgres } from "./embedded-postgres.ts";

export const ruleName = "stuck-login";
export const tableName = "public.user_session";

export type DemoConfig = Readonly<{ file: string; stateDir: string; text: string }>;

/** An ordinary config, with ages short enough to watch. */
export async function writeConfig(
  folder: string,
  { host, port }: EmbeddedPostgres,
  password: string,
): Promise<DemoConfig> {
  const file = join(folder, "lockwarden.yaml");
  const text = `mode: enforce                # observe: only tell
targets:
  - name: app
    url: postgres://lockwarden@${host}:${port}/app
    password_file: lockwarden.password
rules:
  - name: ${ruleName}
    match:                   # all of these
      state: idle in transaction
      idle_for: 8s
      blocks: { tables: [${tableName}], for: 3s }
    steps: [terminate]
    notify: [console]
channels: [{ name: console, type: log }]
state_dir: state
`;
  await writeFile(join(folder, "lockwarden.password"), `${password}\n`, { mode: 0o600 });
  await writeFile(file, text);
  return { file, stateDir: join(folder, "state"), text };
}
