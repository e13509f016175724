import { whoAmI } from "../state-dir.ts";

/** Who asks, for the journal: the user of this process, and whoever became it by sudo. */
export function asker(env: NodeJS.ProcessEnv = process.env): string {
  const { SUDO_USER: person, SUDO_UID: uid } = env;
  if (process.getuid?.() !== 0 || person === undefined || person === "") return whoAmI();
  return `${whoAmI()}, by sudo of ${person}${uid === undefined ? "" : ` (uid ${uid})`}`;
}
