/** The entry for this server: that of the highest version (server_version_num) that is not above its own. */
export function forVersion<T>(table: readonly (readonly [minVersion: number, entry: T])[], versionNumber: number): T {
  let best: readonly [number, T] | null = null;
  for (const row of table) {
    if (row[0] <= versionNumber && (best === null || row[0] > best[0])) best = row;
  }
  if (best === null) throw new Error(`nothing is known for a server of version ${versionNumber}: 12 is the oldest`);
  return best[1];
}

const oldCommands: readonly string[] = ["VACUUM", "CLUSTER", "CREATE INDEX"];

/** What pg_stat_get_progress_info() can be asked for; a name that the server does not know is an error. */
export const progressCommands: readonly (readonly [number, readonly string[]])[] = [
  [120_000, oldCommands],
  [130_000, [...oldCommands, "ANALYZE", "BASEBACKUP"]],
  [140_000, [...oldCommands, "ANALYZE", "BASEBACKUP", "COPY"]],
];
